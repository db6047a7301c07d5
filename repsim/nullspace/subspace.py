"""Subspaces of the feature space: a head's row space, its all-ones direction, random ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from repsim.ambient import settled

if TYPE_CHECKING:
    from jaxtyping import Float, Real

#: Numbers that one step over resamples or random subspaces holds: 16 MiB of them.
BLOCK = 1 << 21


class RowSpace(NamedTuple):
    """The row space of a head: an orthonormal basis and the spectrum that decided its rank."""

    basis: Float[Tensor, "d r"]
    singular_values: Float[Tensor, " k"]
    tolerance: float

    @property
    def rank(self) -> int:
        """Dimensions of the row space, r."""
        return self.basis.shape[1]

    def split(self, features: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
        """Features as (f_r, f_n), the part the head sees and the part it cannot; (n, d) each."""
        row = (features @ self.basis) @ self.basis.T
        return row, features - row

    def part(self, features: Float[Tensor, "n d"], name: str) -> Float[Tensor, "n d"]:
        """``full`` features as they are, or their ``row`` or ``null`` component."""
        if name == "full":
            return features
        row, null = self.split(features)
        return row if name == "row" else null

    def complement(self) -> Float[Tensor, "d null"]:
        """An orthonormal basis of the null space."""
        return torch.linalg.qr(self.basis, mode="complete").Q[:, self.rank :]


class AllOnes(NamedTuple):
    """The direction of the features that adds the same to every logit, which softmax ignores.

    Attributes:
        direction: f_r1 = A⁺1; zero where no feature moves the sum of the logits.
        residual: |A f_r1 - 1| / |1|; 0 if 1 lies in the column space of A, as the paper assumes.
    """

    direction: Float[Tensor, " d"]
    residual: float


@settled()
def row_space(weight: Real[Tensor, "out d"], *, rank_tolerance: float | None = None) -> RowSpace:
    """Row space of ``weight`` (out, d) by singular value decomposition, in float64.

    Args:
        weight: the head's matrix A, as in ``torch.nn.Linear``.
        rank_tolerance: singular values up to this fraction of the largest count as zero; by default
            max(out, d) times the machine epsilon of ``weight``'s own dtype, as a head stored in
            float32 is no more exact than that. Halves and integers count as float32, since with a
            half's epsilon a head of a thousand columns would have rank 0.
    """
    dtype = weight.dtype if weight.dtype == torch.float64 else torch.float32
    epsilon = torch.finfo(dtype).eps
    relative = max(weight.shape) * epsilon if rank_tolerance is None else rank_tolerance
    _, values, basis = torch.linalg.svd(weight.double(), full_matrices=False)
    tolerance = relative * float(values.max())
    return RowSpace(basis[values > tolerance].T, values, tolerance)


@settled()
def all_ones(weight: Real[Tensor, "out d"], space: RowSpace) -> AllOnes:
    """f_r1 = A⁺1 and how far A f_r1 is from 1 (Mao et al., Proposition 6, eqs. 10-15).

    Args:
        weight: the head's matrix A.
        space: its row space, in which f_r1 is sought: directions that count as zero stay out.
    """
    head = weight.double()
    ones = torch.ones(len(head), dtype=torch.float64, device=head.device)
    # A = (A B) Bᵀ, and A B = U S Vᵀ has full column rank.
    left, values, right = torch.linalg.svd(head @ space.basis, full_matrices=False)
    along = left.T @ ones
    if float(along.norm()) <= 1e-12 * float(ones.norm()):  # 1 is orthogonal to all that A gives
        return AllOnes(torch.zeros_like(head[0]), 1.0)
    direction = space.basis @ (right.T @ (along / values))
    return AllOnes(direction, float((head @ direction - ones).norm() / ones.norm()))


def random_subspaces(
    d: int, r: int, draws: int, seed: int | list[int], inside: Float[Tensor, "d k"] | None = None
) -> Iterator[Float[Tensor, "draws d r"]]:
    """Orthonormal bases of Haar-random subspaces, some at a time.

    The Q of a Gaussian matrix, with the signs that make R's diagonal positive, is uniform over
    orthonormal bases. The draws depend on the seed only, and not on how many come at a time.

    Args:
        d: dimension of the whole space.
        r: dimension of the subspaces.
        draws: how many.
        seed: of the Gaussian matrices; a list of numbers is a seed too.
        inside: an orthonormal basis (d, k) of a space that the subspaces are to lie in, k >= r.

    Yields:
        (some, d, r) float64 of at most ``BLOCK`` numbers, or one subspace.
    """
    rng = np.random.default_rng(seed)
    size = d if inside is None else inside.shape[1]
    step = max(1, BLOCK // max(1, d * r))
    for start in range(0, draws, step):
        drawn = rng.standard_normal((min(step, draws - start), size, r))
        q, upper = torch.linalg.qr(torch.from_numpy(drawn))
        bases = q * upper.diagonal(dim1=-2, dim2=-1).sign()[:, None]
        if inside is not None:  # one product of matrices: many small ones take ten times as long
            flat = bases.to(inside.device).transpose(0, 1).reshape(size, -1)
            bases = (inside @ flat).view(d, -1, r).transpose(0, 1)
        yield bases
