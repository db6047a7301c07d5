"""The curvature of a linear probe's objective, as a change of coordinates that evens it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

#: Columns up to which the covariance is taken whole; of wider features the leading directions.
WHOLE = 1536

#: Directions of wider features, and more that are drawn to find them.
_LEADING, _SPARE = 192, 64

#: Share of the bias's own curvature that is added to it, so that no division by zero comes.
_JITTER = 1e-9

#: Passes over the rows (b, p) with the weight (b,) of each.
Weighted = Callable[[], Iterable[tuple[Tensor, Tensor]]]


class Curvature(ABC):
    """M = T⁻ᵀ T⁻¹, near the Hessian for one class; weights are W = T v, one row a class."""

    @abstractmethod
    def to_weights(self, v: Float[Tensor, "k q"]) -> Float[Tensor, "k q"]:
        """W of v."""

    @abstractmethod
    def from_weights(self, weights: Float[Tensor, "k q"]) -> Float[Tensor, "k q"]:
        """v of W."""

    @abstractmethod
    def to_gradient(self, gradient: Float[Tensor, "k q"]) -> Float[Tensor, "k q"]:
        """The gradient with respect to v, of that with respect to W."""


@dataclass(frozen=True)
class Cholesky(Curvature):
    """M = L Lᵀ and T = L⁻ᵀ, whole."""

    factor: Float[Tensor, "q q"]

    def to_weights(self, v: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, v, upper=False, left=False)

    def from_weights(self, weights: Tensor) -> Tensor:
        return weights @ self.factor

    def to_gradient(self, gradient: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, gradient.T, upper=False).T


@dataclass(frozen=True)
class Leading(Curvature):
    """M has its leading eigenvectors, the same value in all other directions, and the bias apart.

    T = M^(-1/2), symmetric.
    """

    vectors: Float[Tensor, "p r"]
    roots: Float[Tensor, " r"]  #: of M's leading values
    rest: Float[Tensor, ""]
    bias: Float[Tensor, ""]

    def to_weights(self, v: Tensor) -> Tensor:
        return self._times(v, self.roots.reciprocal(), 1 / self.rest, 1 / self.bias)

    def from_weights(self, weights: Tensor) -> Tensor:
        return self._times(weights, self.roots, self.rest, self.bias)

    def to_gradient(self, gradient: Tensor) -> Tensor:
        return self.to_weights(gradient)

    def _times(self, x: Tensor, roots: Tensor, rest: Tensor, bias: Tensor) -> Tensor:
        body = x[:, :-1]
        moved = rest * body + ((body @ self.vectors) * (roots - rest)) @ self.vectors.T
        return torch.cat([moved, x[:, -1:] * bias], 1)


class Covariance(ABC):
    """Σ w x xᵀ / n over rows x and a bias: what the curvature is without the penalty."""

    @abstractmethod
    def curvature(self, l2: float) -> Curvature:
        """With ``l2`` added to the diagonal, except for the bias."""


@dataclass(frozen=True)
class Whole(Covariance):
    """All of it.

    Attributes:
        matrix: from products in float32.
        exact: gives the same from products in float64.
    """

    matrix: Float[Tensor, "q q"]
    exact: Callable[[], Float[Tensor, "q q"]]

    def curvature(self, l2: float) -> Curvature:
        factor, failed = torch.linalg.cholesky_ex(_penalised(self.matrix, l2))
        if failed:  # of few examples that come often, float32 leaves eigenvalues below -l2
            factor = torch.linalg.cholesky(_penalised(self.exact(), l2))
        return Cholesky(factor)


def _penalised(matrix: Float[Tensor, "q q"], l2: float) -> Float[Tensor, "q q"]:
    total = matrix.clone()
    total.diagonal()[:-1] += l2
    total.diagonal().mul_(1 + _JITTER)
    return total


@dataclass(frozen=True)
class Spectrum(Covariance):
    """The leading eigenvectors, and the mean of the other eigenvalues."""

    vectors: Float[Tensor, "p r"]
    values: Float[Tensor, " r"]
    rest: Float[Tensor, ""]
    bias: Float[Tensor, ""]

    def curvature(self, l2: float) -> Curvature:
        roots, rest = (self.values + l2).sqrt(), (self.rest + l2).sqrt()
        return Leading(self.vectors, roots, rest, self.bias.sqrt())


def covariance(
    weighted: Weighted, p: int, device: torch.device, *, whole: int = WHOLE
) -> Covariance:
    """The weighted covariance of rows and a bias.

    Args:
        weighted: called for a pass over rows (b, p) and their weights w (b,).
        p: columns.
        device: of the rows.
        whole: widest features whose covariance is taken whole.
    """
    if p > whole:
        return _spectrum(weighted, p, device)
    whole_matrix = partial(_whole, weighted, p, device)
    # A metric need not be exact.
    return Whole(whole_matrix(torch.float32), partial(whole_matrix, torch.float64))


def _whole(weighted: Weighted, p: int, device: torch.device, products: torch.dtype) -> Tensor:
    """The weighted covariance, float64, from products in a type."""
    n, total = 0, torch.zeros(p + 1, p + 1, dtype=torch.float64, device=device)
    for x, w in weighted():
        root = w.sqrt()[:, None]
        rooted = torch.cat([x * root, root], 1).to(products)
        total += rooted.T @ rooted
        n += len(x)
    return total / n


def _spectrum(weighted: Weighted, p: int, device: torch.device) -> Spectrum:
    """By subspace iteration from a random start: three passes over the rows."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(p, _LEADING + _SPARE, generator=generator).double().to(device)
    image, n, trace, bias = basis, 0, torch.zeros(()), torch.zeros(())
    for _ in range(3):
        basis = torch.linalg.qr(image).Q
        image = torch.zeros_like(basis)
        n, trace, bias = 0, *torch.zeros(2, dtype=torch.float64, device=device)
        for x, w in weighted():
            rooted = (x * w.sqrt()[:, None]).float()
            image += rooted.T @ (rooted @ basis.float())
            trace += rooted.square().sum(dtype=torch.float64)
            bias += w.sum(dtype=torch.float64)
            n += len(x)
    values, turn = torch.linalg.eigh(basis.T @ image / n)
    values, turn = values[-_LEADING:].clamp_min(0), turn[:, -_LEADING:]
    rest = (trace / n - values.sum()).clamp_min(0) / (p - _LEADING)
    return Spectrum(basis @ turn, values, rest, bias / n)
