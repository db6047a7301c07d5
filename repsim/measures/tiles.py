"""Symmetric matrices by tiles on and above the diagonal, and the shift that centres them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def row_sums(K: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Σ_{j≠i} K_ij of a symmetric matrix that lies above its diagonal, and is 0 elsewhere.

    A diagonal that is there counts twice.
    """
    return K.sum(1).double() + K.sum(0).double()


def add_row_sums(sums: Float[Tensor, " n"], i: slice, j: slice, tile: Tensor) -> None:
    """Add to ``sums`` what the rows of a tile have of ``row_sums``."""
    sums[i] += tile.sum(1).double()
    sums[j] += tile.sum(0).double()


def upper_tiles(n: int, tile: int) -> list[tuple[slice, slice]]:
    """Tiles of an n × n matrix on and above its diagonal, row by row."""
    cuts = [slice(i, min(i + tile, n)) for i in range(0, n, tile)]
    return [(i, j) for at, i in enumerate(cuts) for j in cuts[at:]]


def centring(rows: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """u such that Σ_{j≠i} (K_ij - u_i - u_j) = 0 for every i, from rows = Σ_{j≠i} K_ij.

    Off the diagonal that is the U-centring of Székely and Rizzo (2014, Definition 2).
    """
    n = len(rows)
    return (rows - rows.sum() / (2 * n - 2)) / (n - 2)
