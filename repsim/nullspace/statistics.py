"""Statistics of the split of features by a head, their intervals and percentiles by chance.

Each statistic is a function of quadratic forms (``repsim.nullspace.scatter``) by part of the space:
``row``, ``null``, ``full``, and of the row space ``ones``, the direction f_r1, and ``row without
ones``. It takes c cases at once, resamples of the examples or random subspaces, and gives c values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.nullspace.resampling import Moments
from repsim.nullspace.scatter import ROUNDING, Forms

if TYPE_CHECKING:
    from jaxtyping import Float

#: Forms by part of the space, of a row space or of a random subspace and its complement.
Parts = Mapping[str, Forms]

# --- how much lies in a part


def energy(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """Σ|Bᵀf|² / Σ|f|² (Mao et al., Propositions 4 and 5); r / d where no direction is preferred.

    Of displacements Δf this is the share of noise, tr BᵀE[ΔfΔfᵀ]B / tr E[ΔfΔfᵀ] (Theorem 1).
    """
    return parts[part].energy / parts["full"].energy


def energy_centred(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """The same about the mean of the examples: tr BᵀSB / tr S.

    Undefined where tr S is what rounding leaves of equal examples.
    """
    full = parts["full"]
    negligible = (full.n * 1e-16) ** 2 * full.energy
    return torch.where(full.scatter > negligible, parts[part].scatter / full.scatter, torch.nan)


def shift(parts: Parts, part: str = "full") -> Float[Tensor, " c"]:
    """n |Bᵀm|² / Σ|Bᵀf|² of displacements f: the share that moves all examples alike."""
    return 1 - parts[part].scatter / parts[part].energy


def constancy(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """|std Bᵀf| / |mean Bᵀf|; 0 if f is the same for all examples (Corollary 4: f_r = c).

    The standard deviation of each component divides by n - 1.
    """
    forms = parts[part]
    return (forms.scatter / (forms.n - 1) / forms.mean).sqrt()


# --- classes


def within_scatter(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """tr BᵀS_wB / n, the mean squared distance of examples from the mean of their class."""
    return parts[part].scatter_within / parts[part].n


def scatter_ratio(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """tr BᵀS_wB / tr BᵀS_bB; small where classes are compact and apart (Theorems 2 and 3)."""
    return parts[part].scatter_within / parts[part].between


def scatter_log_ratio(parts: Parts, part: str = "row - null") -> Float[Tensor, " c"]:
    """log of the scatter ratio in the first part over that in the second; below 0: less in it."""
    first, second = part.split(" - ")
    return (scatter_ratio(parts, first) / scatter_ratio(parts, second)).log()


def scatter_quotient(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """The scatter ratio in the first part over the ratio in the second; below 1: less in it."""
    first, second = part.split(" / ")
    return scatter_ratio(parts, first) / scatter_ratio(parts, second)


def displacement_share(parts: Parts, part: str) -> Float[Tensor, " c"]:
    """tr BᵀS_bB / tr S_b: the energy share of a part in the displacements between classes."""
    return parts[part].between / parts["full"].between


def ones_share(parts: Parts, part: str = "row") -> Float[Tensor, " c"]:
    """Share of the within-class scatter of a part along f_r1 (Proposition 6, eqs. 10-15).

    1 if y = y_i + λ(x) 1 in every class i; 1 / rank where no direction of the row space is
    preferred.
    """
    return parts["ones"].scatter_within / parts[part].scatter_within


def coefficients(features: Float[Tensor, "n d"], direction: Float[Tensor, " d"]) -> Tensor:
    """λ(x) = <f, f_r1> / |f_r1|² of each example, (n,), for f ≈ f_r + λ(x) f_r1 + f_n."""
    return features.double() @ direction / direction.square().sum()


# --- real and generated


def gap(real: Forms, generated: Forms, apart: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """|BᵀΔμ| / √(tr BᵀS_pooledB), of one direction Cohen's d (Theorem 1).

    S_pooled is the covariance about each side's own mean, (S_real + S_generated) / (n + m - 2).

    Args:
        real: forms of real images on the subspace.
        generated: forms of generated images.
        apart: |BᵀΔμ|², Δμ the difference of the means.
    """
    pooled = (real.scatter + generated.scatter) / (real.n + generated.n - 2)
    return (apart / pooled).sqrt()


def pair_energy(real: Forms, generated: Forms, apart: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """E|BᵀΔf|² of Δf = f(generated) - f(real) over all pairs: the variances and |BᵀΔμ|²."""
    return real.scatter / real.n + generated.scatter / generated.n + apart


# --- one logit


def alpha_cv(alpha: Moments) -> Float[Tensor, " c"]:
    """Standard deviation over mean of α = p_g / p_r = exp(-logit) (Corollaries 1 to 3).

    The standard deviation divides by n.
    """
    mean, deviation = alpha.overall
    return deviation / mean


# --- intervals and chance

#: Scales on which an interval is moved, with the way back. A square that is moved below 0 stands
#: for a magnitude that cannot be told from 0.
SCALES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    "plain": (lambda values: values, float),
    "log": (torch.log, math.exp),
    "square": (torch.square, lambda value: math.sqrt(max(value, 0.0))),
}


def interval(cases: Float[Tensor, " c"], scale: str = "plain") -> tuple[float, float, float]:
    """A value and its 95 % interval: the bootstrap's percentiles, moved onto the value.

    The resamples of a squared mean are larger than the value by its sampling variance, as the value
    is larger than the truth. Percentiles are therefore moved by the mean of the resamples less
    the value, on a scale where they are about symmetrical. The value is the plain one, so that it
    compares with chance, which is taken on the same examples.

    Args:
        cases: the value, then the value of each resample; undefined ones drop out.
        scale: ``plain``, ``log`` for what is positive, ``square`` for what may be near 0.

    Returns:
        The value, low, high. The ends are NaN where fewer than half the resamples are defined, and
        where a few are so far out that their mean is not among the others: moved by it, the
        interval would not hold the value.
    """
    forward, back = SCALES[scale]
    value, moved = float(cases[0]), forward(cases)
    if scale == "log" and value == 0:
        return interval(cases)
    rest = moved[1:][moved[1:].isfinite()]
    if not math.isfinite(value) or len(rest) < max(2, len(cases) // 2):
        return value, math.nan, math.nan
    ends, mean = _quantiles(rest, (0.025, 0.975)), rest.mean()
    rounding = ROUNDING * rest.abs().max()
    if not ends[0] - rounding <= mean <= ends[1] + rounding:
        return value, math.nan, math.nan
    low, high = (ends - (mean - moved[0])).tolist()
    return value, back(low), back(high)


def percentiles(values: Float[Tensor, " c"]) -> tuple[float, float, float]:
    """Median, 5th and 95th percentile; NaN where one is beyond float64."""
    middle, low, high = _quantiles(values, (0.5, 0.05, 0.95)).tolist()
    return middle, low, high


def _quantiles(values: Tensor, at: tuple[float, ...]) -> Tensor:
    return values.quantile(torch.tensor(at, dtype=values.dtype, device=values.device))
