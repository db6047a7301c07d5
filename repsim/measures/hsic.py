"""The Hilbert-Schmidt independence criterion from sums over two Gram matrices.

Both estimators need the same few sums, whether two Gram matrices lie in memory or those of all
layers of two networks pass by tile by tile. ``GramSums`` holds them for every pair of layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


class HSIC(NamedTuple):
    """HSIC of every pair of layers, and of each layer with itself; of one set or of several."""

    ab: Float[Tensor, "*sets a b"]
    aa: Float[Tensor, "*sets a"]
    bb: Float[Tensor, "*sets b"]

    def cka(self) -> Float[Tensor, "*sets a b"]:
        """HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)); NaN where a self-HSIC is not positive."""
        norms = [torch.where(own > 0, own, torch.nan).sqrt() for own in (self.aa, self.bb)]
        return self.ab / (norms[0][..., :, None] * norms[1][..., None, :])


class Terms(NamedTuple):
    """The contribution of each example to the sums of a pair of layers.

    Σ_{j≠i} K_ij L_ij of Gram matrices whose rows sum to zero off the diagonal.
    """

    ab: Float[Tensor, "n a b"]
    aa: Float[Tensor, "n a"]
    bb: Float[Tensor, "n b"]


@dataclass(frozen=True)
class GramSums:
    """Sums over the Gram matrices K of a layers and L of b layers on the same n examples.

    Off-diagonal and diagonal entries are kept apart: the unbiased estimator uses only the former.
    """

    inner: Float[Tensor, "a b"]  #: Σ_{i≠j} K_ij L_ij
    inner_a: Float[Tensor, " a"]  #: Σ_{i≠j} K_ij²
    inner_b: Float[Tensor, " b"]  #: Σ_{i≠j} L_ij²
    rows_a: Float[Tensor, "a n"]  #: Σ_{j≠i} K_ij
    rows_b: Float[Tensor, "b n"]
    diag_a: Float[Tensor, "a n"]  #: K_ii
    diag_b: Float[Tensor, "b n"]
    terms: Terms | None = None  #: where they were asked for; then rows_a and rows_b are zero

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.rows_a.shape[1]

    @classmethod
    def of(cls, K: Float[Tensor, "n n"], L: Float[Tensor, "n n"]) -> GramSums:
        """The sums of one pair of Gram matrices, in their dtype; differentiable."""
        off_K, off_L = K - torch.diag(K.diagonal()), L - torch.diag(L.diagonal())
        return cls(
            inner=(off_K * off_L).sum()[None, None],
            inner_a=off_K.square().sum()[None],
            inner_b=off_L.square().sum()[None],
            rows_a=off_K.sum(1)[None],
            rows_b=off_L.sum(1)[None],
            diag_a=K.diagonal()[None],
            diag_b=L.diagonal()[None],
        )

    def leave_one_out(self) -> HSIC:
        """The unbiased HSIC without example i, for every i, (n, ...), from the examples' terms.

        HSIC₁ is a U-statistic of order 4, so these say what each example adds to it.

        Needs n ≥ 5 and ``terms``. The shift that makes the rows of the Gram matrices sum to
        zero is that of all n examples; without one of them, its own row is all that is missing from
        the sums of the others.
        """
        assert self.terms is not None
        n = self.n

        def without(inner: Tensor, each: Tensor) -> Tensor:
            # Of Eq. 5 for n - 1: tr falls by twice the terms of i, and 1ᵀK̃L̃1 rises from 0 to them.
            return (inner - 2 * each * ((n - 2) / (n - 3))) / ((n - 1) * (n - 4))

        inner = (self.inner, self.inner_a, self.inner_b)
        return HSIC(*map(without, inner, self.terms))

    def unbiased(self) -> HSIC:
        """HSIC₁ of Song et al. (2012, Eq. 5), with K̃ and L̃ the Gram matrices less their diagonals:

        [tr(K̃L̃) + 1ᵀK̃1 1ᵀL̃1 / ((n-1)(n-2)) - 2/(n-2) 1ᵀK̃L̃1] / (n(n-3)).

        Needs n ≥ 4. May be negative.
        """
        n = self.n

        def estimate(inner: Tensor, cross: Tensor, total: Tensor) -> Tensor:
            return (inner + total / ((n - 1) * (n - 2)) - cross * 2 / (n - 2)) / (n * (n - 3))

        return _for_all(estimate, self.inner, self.inner_a, self.inner_b, self.rows_a, self.rows_b)

    def biased(self) -> HSIC:
        """HSIC₀ = tr(KHLH) / (n-1)² with H = I - 11ᵀ/n; Gretton et al. (2005, Eq. 9)."""
        n = self.n

        def estimate(inner: Tensor, cross: Tensor, total: Tensor) -> Tensor:
            return (inner - cross * 2 / n + total / n**2) / (n - 1) ** 2

        return _for_all(
            estimate,
            self.inner + self.diag_a @ self.diag_b.T,
            self.inner_a + self.diag_a.square().sum(1),
            self.inner_b + self.diag_b.square().sum(1),
            self.rows_a + self.diag_a,
            self.rows_b + self.diag_b,
        )


def _for_all(estimate, inner, inner_a, inner_b, rows_a, rows_b) -> HSIC:  # type: ignore[no-untyped-def]
    """Apply ``estimate(inner, cross, total)`` to the pairs and to each layer with itself."""
    sum_a, sum_b = rows_a.sum(1), rows_b.sum(1)
    return HSIC(
        estimate(inner, rows_a @ rows_b.T, sum_a[:, None] * sum_b),
        estimate(inner_a, rows_a.square().sum(1), sum_a.square()),
        estimate(inner_b, rows_b.square().sum(1), sum_b.square()),
    )
