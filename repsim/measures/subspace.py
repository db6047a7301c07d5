"""The subspace of example space that the features of a layer span."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from repsim.measures.inputs import Activations

if TYPE_CHECKING:
    from jaxtyping import Float


class Subspace(NamedTuple):
    """Principal directions of a layer among its examples, the largest first."""

    basis: Float[Tensor, "n r"]  #: orthonormal; the left singular vectors of the centred rows
    sizes: Float[Tensor, " r"]  #: their singular values

    @property
    def rank(self) -> int:
        """The number of directions, r."""
        return self.basis.shape[1]


def narrow(values: Float[Tensor, "n p"]) -> Float[Tensor, "n m"]:
    """The rows in at most n coordinates: turned, where there are more, into the space they span.

    Distances and angles between rows stay as they are. A QR decomposition keeps small directions
    that the Gram matrix of the rows, with its squared condition number, would lose.
    """
    n, p = values.shape
    return values if p <= n else torch.linalg.qr(values.T, mode="r").R.T


def span(x: Activations) -> Subspace:
    """The subspace that the features of ``x`` span, up to its numerical rank.

    Directions count whose singular value is above a fraction of the largest: √(n + p) times the
    machine epsilon of the dtype that x arrived in, which is what rounding every activation amounts
    to, or max(n, p) times that of float64 (``numpy.linalg.matrix_rank``), whichever is larger.
    """
    n, p = x.values.shape
    basis, sizes, _ = torch.linalg.svd(narrow(x.values), full_matrices=False)
    stored = (n + p) ** 0.5 * x.epsilon
    computed = max(n, p) * torch.finfo(torch.float64).eps
    rank = int((sizes > max(stored, computed) * sizes[0]).sum())
    return Subspace(basis[:, :rank], sizes[:rank])
