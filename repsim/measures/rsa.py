"""Representational similarity analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.errors import DegenerateError
from repsim.measures.distances import read_points, squared_distances
from repsim.measures.registry import EUCLIDEAN, register

if TYPE_CHECKING:
    from jaxtyping import Float

DISTANCES = ("euclidean", "correlation")


@register("rsa", EUCLIDEAN, source="Kriegeskorte et al. (2008)")
def rsa(x: Any, y: Any, *, distance: str = "euclidean") -> float:
    """Spearman correlation of the distances between examples in x and in y.

    The n (n - 1) / 2 entries above the diagonal of each distance matrix, ranked, equal ones at
    their mean rank (Kriegeskorte et al. 2008). Symmetric. With Euclidean distances unchanged by
    rotations, isotropic scalings and shifts of the features, and by any monotone map of the
    distances; not by invertible linear maps. For unrelated layers it is 0 in the mean.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i.
        y: (n, q) or (n, ...); the same examples in the same order.
        distance: ``"euclidean"``, or ``"correlation"``: 1 - r of two rows, as in the paper. It is
            taken of the features as they are, so rotations and shifts of them change it.

    Returns:
        A float in [-1, 1], computed in float64; no gradients flow. Memory is of the order of n².

    Raises:
        UsageError: an unknown distance.
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, examples that are all at the
            same distance, or a row without a correlation distance.
    """
    points = dict(zip("xy", read_points(x, y, distance, DISTANCES), strict=True))
    scores = []
    for name, rows in points.items():
        ranks = _ranks(rows)
        centred = ranks - ranks.mean()
        length = torch.linalg.vector_norm(centred)
        if not length > 0:
            raise DegenerateError(f"{name}: its examples are all at the same distance")
        scores.append(centred / length)
    return float(scores[0] @ scores[1])


def _ranks(points: Float[Tensor, "n p"]) -> Float[Tensor, " pairs"]:
    """Rank of every pair of examples by distance; those equal up to rounding share one."""
    above = torch.ones(len(points), len(points), dtype=torch.bool, device=points.device).triu_(1)
    values, slack = (part[above] for part in squared_distances(points))
    values, order = values.sort()
    slack = slack[order]
    new = values.diff() > slack[1:] + slack[:-1]
    level = torch.cat([new.new_zeros(1), new]).cumsum(0)
    counts = level.bincount().double()  # float32 knows no odd ranks above 2^24, those of 5794 rows
    ranks = torch.empty_like(values)
    ranks[order] = (counts.cumsum(0) - (counts - 1) / 2)[level]
    return ranks
