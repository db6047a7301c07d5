"""Features with mean 0 and standard deviation 1, so that one penalty suits layers of any scale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.errors import NonFiniteError
from repsim.probes.features import Features

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Standard:
    """A map that standardises features; called on rows (n, p), it does so in float64.

    Attributes:
        mean: (p,) of the training rows, float64.
        scale: (p,) their standard deviations, denominator n; 1 for constant columns.
    """

    mean: Float[Tensor, " p"]
    scale: Float[Tensor, " p"]

    def __call__(self, features: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        return (features.double() - self.mean) / self.scale


def standardise(rows: Features) -> Standard:
    """Means and standard deviations of the columns, in one pass."""
    return moments(block for _, block in rows.blocks()).standard


@dataclass(frozen=True)
class Moments:
    """First and second moments of the columns, float64.

    Attributes:
        standard: means and standard deviations.
        products: Σ (x - mean) (x - mean)ᵀ, (p, p), or its diagonal (p,).
    """

    standard: Standard
    products: Tensor


def moments(blocks: Iterable[Float[Tensor, "_ p"]], *, full: bool = False) -> Moments:
    """Means and deviations of all rows in one pass, joined over parts (Chan et al. 1979).

    Raises:
        NonFiniteError: numbers whose squares are too large, or too small, for float64.
    """
    n = 0
    mean = products = low = high = torch.zeros(())
    for block in blocks:
        x = block.double()
        of_x, of_low, of_high = x.mean(0), x.amin(0), x.amax(0)
        if not n:
            mean, low, high = torch.zeros_like(of_x), of_low, of_high
            products = x.new_zeros(x.shape[1], x.shape[1]) if full else torch.zeros_like(of_x)
        low, high = torch.minimum(low, of_low), torch.maximum(high, of_high)
        x = x - of_x
        step = of_x - mean
        weight = n * len(x) / (n + len(x))
        products += x.T @ x if full else x.square_().sum(0)
        products += weight * (step.outer(step) if full else step.square())
        n += len(x)
        mean += step * (len(x) / n)
    variance = (products.diagonal() if full else products) / n
    if not bool(torch.isfinite(variance).all()):
        raise NonFiniteError("the squares of the features are infinite; divide the features first")
    if bool(((low < high) & (variance == 0) & (high.abs().maximum(low.abs()) < 1e-150)).any()):
        raise NonFiniteError("the squares of the features vanish; multiply the features first")
    # Rounding leaves a constant column a variance, unless all its values are compared.
    scale = torch.where((low < high) & (variance > 0), variance.sqrt(), 1.0)
    return Moments(Standard(mean, scale), products)
