"""Canonical correlations of two layers, and three ways to average them."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.errors import DegenerateError, RepsimWarning, UsageError
from repsim.measures.inputs import read_pair
from repsim.measures.registry import AFFINE, EUCLIDEAN, register
from repsim.measures.subspace import Subspace, span

if TYPE_CHECKING:
    from jaxtyping import Float


@register("cca", AFFINE, source="Hotelling (1936)")
def cca(x: Any, y: Any, *, squared: bool = False) -> float:
    """Mean canonical correlation of two layers, ρ̄, or mean squared, R².

    |Q_yᵀ Q_x|_* / p₁ or |Q_yᵀ Q_x|² / p₁ (nuclear and Frobenius norms; Hotelling 1936; Kornblith
    et al. 2019, Eq. 8 and 7), Q_x and Q_y orthonormal bases of the centred features. p₁ is the
    number of canonical correlations, the smaller of the two ranks; for features without linear
    dependence the smaller number of features, as in the paper. Symmetric. Unchanged by invertible
    linear maps and shifts. For unrelated layers R² is, in the mean, the larger rank over n - 1.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i.
        y: (n, q) or (n, ...); the same examples in the same order.
        squared: R² in place of ρ̄.

    Returns:
        A float in [0, 1], computed in float64; no gradients flow. Directions below rounding are
        left out; see ``repsim.measures.subspace.span`` for the tolerance.

    Raises:
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, or a layer of rank n - 1, with
            which every correlation is 1.

    Warns:
        RepsimWarning: the ranks add up to more than n - 1, so that some correlations are 1.
    """
    of_x, of_y = read_pair(x, y)
    return _mean(_canonical(span(of_x), span(of_y))[1], squared)


register("cca-squared", AFFINE, source="Hotelling (1936)")(partial(cca, squared=True))


@register("svcca", EUCLIDEAN, source="Raghu et al. (2017)")
def svcca(x: Any, y: Any, *, variance: float = 0.99, squared: bool = False) -> float:
    """CCA of the principal directions of each layer that explain most of its variance.

    As ``cca`` after a truncated singular value decomposition of x and of y; the sum is divided by
    the smaller number of directions kept (Raghu et al. 2017; Kornblith et al. 2019, Table 1).
    Symmetric. Unchanged by rotations, isotropic scalings and shifts; by other invertible linear
    maps only where the same subspace is kept.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i.
        y: (n, q) or (n, ...); the same examples in the same order.
        variance: share of the variance to keep, in (0, 1]: the fewest directions that reach it.
        squared: the mean of squares in place of the mean.

    Returns:
        A float in [0, 1], computed in float64; no gradients flow.

    Raises:
        UsageError: variance outside (0, 1].
        ShapeError: as in ``cca``; so are NonFiniteError and DegenerateError.

    Warns:
        RepsimWarning: as in ``cca``.
    """
    if not 0 < variance <= 1:
        raise UsageError(f"variance is {variance}; expected a share above 0 and up to 1, say 0.99")
    of_x, of_y = read_pair(x, y)
    kept = (_leading(span(of_x), variance), _leading(span(of_y), variance))
    return _mean(_canonical(*kept)[1], squared)


register("svcca-squared", EUCLIDEAN, source="Raghu et al. (2017)")(partial(svcca, squared=True))

#: The weights are sums of absolute values over the features of x, which a rotation changes.
_PWCCA = frozenset({"scale", "shift"})


@register("pwcca", _PWCCA, AFFINE, symmetric=False, source="Morcos et al. (2018)")
def pwcca(x: Any, y: Any) -> float:
    """Mean canonical correlation weighted by how much of x each canonical variable accounts for.

    Σ αᵢ ρᵢ / Σ αᵢ with αᵢ = Σⱼ |⟨hᵢ, xⱼ⟩|, hᵢ the i-th canonical variable of x, of unit norm, and
    xⱼ the j-th feature of x (Morcos et al. 2018; Kornblith et al. 2019, Eq. 9). The sums run over
    the canonical correlations that there are, the smaller of the two ranks. Not symmetric: the
    weights come from x. The authors' code takes them from the layer of fewer features. Unchanged by
    invertible linear maps and shifts of y, but of x only by isotropic scalings, shifts and another
    order of the features: a rotation of x moves it.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i. Gives the weights.
        y: (n, q) or (n, ...); the same examples in the same order.

    Returns:
        A float in [0, 1], computed in float64; no gradients flow.

    Raises:
        ShapeError: as in ``cca``; so are NonFiniteError and DegenerateError.

    Warns:
        RepsimWarning: as in ``cca``. The canonical variables whose correlation is 1 for lack of
            examples are then arbitrary, and so are their weights.
    """
    of_x, of_y = read_pair(x, y)
    space = span(of_x)
    turn, correlations = _canonical(space, span(of_y))
    variables = space.basis @ turn
    weights = (variables.T @ of_x.values).abs().sum(1)
    return float(weights @ correlations / weights.sum())


def _leading(space: Subspace, variance: float) -> Subspace:
    """The fewest principal directions that explain ``variance`` of the whole."""
    explained = space.sizes.square().cumsum(0)
    keep = int((explained < variance * explained[-1]).sum()) + 1
    return Subspace(space.basis[:, :keep], space.sizes[:keep])


def _canonical(x: Subspace, y: Subspace) -> tuple[Float[Tensor, "r c"], Float[Tensor, " c"]]:
    """The canonical variables of x in its basis, and their correlations with the variables of y."""
    n, most = len(x.basis), max(x.rank, y.rank)
    if most >= n - 1:
        raise DegenerateError(
            f"{'x' if x.rank == most else 'y'}: its features span all {n - 1} dimensions of {n} "
            "centred examples, so every canonical correlation is 1; use more examples, svcca with "
            "a smaller variance, or cka"
        )
    certain = x.rank + y.rank - (n - 1)
    if certain > 0:
        warnings.warn(
            f"x and y have ranks {x.rank} and {y.rank} on {n} examples, so {certain} of "
            f"{min(x.rank, y.rank)} canonical correlations are 1 whatever the data; use more "
            "examples, svcca with a smaller variance, or cka",
            RepsimWarning,
            stacklevel=3,
        )
    turn, correlations, _ = torch.linalg.svd(x.basis.T @ y.basis, full_matrices=False)
    return turn, correlations


def _mean(correlations: Float[Tensor, " c"], squared: bool) -> float:
    return float((correlations.square() if squared else correlations).mean())
