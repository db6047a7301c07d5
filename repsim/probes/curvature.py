"""The curvature of a linear probe's objective, as a change of coordinates that evens it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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


def curvature(
    weighted: Weighted, n: int, p: int, l2: float, device: torch.device, *, whole: int = WHOLE
) -> Curvature:
    """Σ w x xᵀ / n + l2 on rows x and a bias, as a change of coordinates.

    Args:
        weighted: called for a pass over rows (b, p) and their weights w (b,).
        n: number of rows.
        p: their columns.
        l2: added to the diagonal, except for the bias.
        device: of the rows.
        whole: widest features whose covariance is taken whole.
    """
    if p > whole:
        return _leading(weighted, n, p, l2, device)
    total = torch.zeros(p + 1, p + 1, dtype=torch.float64, device=device)
    for x, w in weighted():
        root = w.sqrt()[:, None]
        rooted = torch.cat([x * root, root], 1).float()  # a metric need not be exact
        total += rooted.T @ rooted
    total /= n
    total.diagonal()[:-1] += l2
    total.diagonal().mul_(1 + _JITTER)
    return Cholesky(torch.linalg.cholesky(total))


def _leading(weighted: Weighted, n: int, p: int, l2: float, device: torch.device) -> Curvature:
    """By subspace iteration from a random start: three passes over the rows."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(p, _LEADING + _SPARE, generator=generator).double().to(device)
    trace = bias = torch.zeros((), dtype=torch.float64, device=device)
    for last in (False, False, True):
        basis = torch.linalg.qr(basis).Q
        image = torch.zeros(p, basis.shape[1], dtype=torch.float64, device=device)
        trace, bias = torch.zeros_like(trace), torch.zeros_like(bias)
        for x, w in weighted():
            rooted = (x * w.sqrt()[:, None]).float()
            image += rooted.T @ (rooted @ basis.float())
            trace += rooted.square().sum(dtype=torch.float64)
            bias += w.sum(dtype=torch.float64)
        if not last:
            basis = image
    values, turn = torch.linalg.eigh(basis.T @ image / n)
    values, turn = values[-_LEADING:].clamp_min(0), turn[:, -_LEADING:]
    rest = (trace / n - values.sum()).clamp_min(0) / (p - _LEADING)
    return Leading(basis @ turn, (values + l2).sqrt(), (rest + l2).sqrt(), (bias / n).sqrt())
