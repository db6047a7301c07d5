"""Distances between the examples of one layer, with the ties that rounding would break."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.errors import DegenerateError, UsageError, choices
from repsim.measures.inputs import Activations, read_pair

if TYPE_CHECKING:
    from jaxtyping import Float


def read_points(
    x: Any, y: Any, distance: str, options: Sequence[str]
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n q"]]:
    """Rows whose Euclidean distances order the pairs of examples of x and y as ``distance`` does.

    ``"euclidean"`` are the rows themselves, centred for precision. ``"cosine"`` (1 - cos) are the
    rows at unit norm, and ``"correlation"`` (1 - r) the same after each row's own mean is
    subtracted: |a - b|² is twice either. Features are not centred for these two.

    Raises:
        UsageError: ``distance`` is not among ``options``.
        DegenerateError: a row without a direction; and as in ``read_pair``.
    """
    if distance not in options:
        raise UsageError(f"unknown distance {distance!r}; {choices(str(distance), options)}")
    of_x, of_y = read_pair(x, y, centre=distance == "euclidean")
    if distance == "euclidean":
        return of_x.values, of_y.values
    return _directions(of_x, distance), _directions(of_y, distance)


def squared_distances(
    points: Float[Tensor, "n p"], rows: slice = slice(None)
) -> tuple[Float[Tensor, "m n"], Float[Tensor, "m n"]]:
    """|a - b|² of some rows to all, and how far apart two such values must be to differ.

    Equal distances are common (class codes, repeated examples) and come out equal up to rounding,
    a few √(n + p) epsilons of |a|² + |b|².
    """
    norms = points.square().sum(1)
    sums = norms[rows, None] + norms
    slack = 4 * sum(points.shape) ** 0.5 * torch.finfo(points.dtype).eps * sums
    return sums.addmm_(points[rows], points.T, alpha=-2), slack


def _directions(rows: Activations, distance: str) -> Float[Tensor, "n p"]:
    values = rows.values
    sizes = torch.linalg.vector_norm(values, dim=1)
    if distance == "correlation":
        values = values - values.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(values, dim=1)
    flat = (lengths <= values.shape[1] * torch.finfo(values.dtype).eps * sizes).nonzero()
    if len(flat):
        what = "zero" if distance == "cosine" else "the same in every feature"
        raise DegenerateError(
            f"{rows.name}: row {int(flat[0])} is {what}, so it has no {distance} distance; try "
            "distance='euclidean'"
        )
    return values / lengths[:, None]
