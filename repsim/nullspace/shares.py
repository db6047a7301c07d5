"""Shares of an energy, with intervals over examples."""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from repsim.errors import ShapeError

if TYPE_CHECKING:
    from jaxtyping import Float


class Share(NamedTuple):
    """A ratio of sums over examples, and a 95 % interval of it."""

    value: float
    low: float
    high: float


def share(
    part: Float[Tensor, " n"], whole: Float[Tensor, " m"], *, negligible: float = 0.0
) -> Share:
    """Σ part / Σ whole, with an interval over examples by the delta method.

    The variance of a ratio estimator is n / (n - 1) Σ (part - R whole)² / (Σ whole)² for
    independent examples (Cochran 1977, section 2.11); the interval is R ± 1.96 standard errors. It
    may reach beyond 0 and 1. Energies about a mean may be taken as if the mean were known: what its
    estimation adds is of second order, since the mean is where they are smallest.

    Args:
        part: energy of each example in the part.
        whole: its energy.
        negligible: rounding of energies about a mean that are zero.

    Returns:
        NaN where the whole is zero or negligible; for a single example the interval is.
    """
    n, total = len(whole), float(whole.sum())
    if len(part) != n:
        raise ShapeError(f"{len(part)} parts of {n} wholes; expected one of each for each example")
    if not total > negligible:
        return Share(*[float("nan")] * 3)
    value = float(part.sum()) / total
    if n < 2:
        return Share(value, float("nan"), float("nan"))
    squares = float((part - value * whole).square().sum())
    reach = NormalDist().inv_cdf(0.975) * (n / (n - 1) * squares) ** 0.5 / total
    return Share(value, value - reach, value + reach)
