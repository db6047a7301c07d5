"""Neighbours of an example that two layers have in common."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

from torch import Tensor

from repsim.errors import UsageError
from repsim.measures.distances import read_points, squared_distances
from repsim.measures.registry import EUCLIDEAN, register

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

DISTANCES = ("euclidean", "cosine")

#: Entries of a block of rows of the distance matrix: 64 MiB of float64.
BLOCK = 1 << 23


@register("mutual-knn", EUCLIDEAN, source="Huh et al. (2024)")
def mutual_knn(x: Any, y: Any, *, k: int = 10, distance: str = "euclidean") -> float:
    """Share of an example's k nearest neighbours that x and y agree on, mean over the examples.

    |N_x(i) ∩ N_y(i)| / k (Huh et al. 2024, who take k = 10 and the cosine). An example is no
    neighbour of its own; of equally near ones the first rows count. Symmetric. With Euclidean
    distances unchanged by rotations, isotropic scalings and shifts, not by invertible linear maps.
    For unrelated layers it is k / (n - 1) in the mean, so compare only values of the same k and n.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i.
        y: (n, q) or (n, ...); the same examples in the same order.
        k: neighbours of each example, 1 to n - 2.
        distance: ``"euclidean"``, or ``"cosine"`` of the features as they are, so that shifts
            change it. Huh et al. also clip outlying activations before; this does not.

    Returns:
        A float in [0, 1], computed in float64 by blocks of rows; no gradients flow.

    Raises:
        UsageError: an unknown distance, or k that is no whole number or out of range.
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, or a row of zeros where the
            distance is the cosine.
    """
    a, b = read_points(x, y, distance, DISTANCES)
    n = len(a)
    if not isinstance(k, Integral):
        raise UsageError(f"k is {k!r}; expected a whole number of neighbours")
    k = int(k)
    if not 1 <= k <= n - 2:
        raise UsageError(f"k is {k}; expected 1 to {n - 2} neighbours among {n} examples")
    size = max(1, BLOCK // n)
    shared = 0
    for start in range(0, n, size):
        rows = slice(start, min(start + size, n))
        shared += int((_neighbours(a, rows, k) & _neighbours(b, rows, k)).sum())
    return shared / (n * k)


def _neighbours(points: Float[Tensor, "n p"], rows: slice, k: int) -> Bool[Tensor, "m n"]:
    """Mask of the k points nearest to each of ``rows``; k in every row."""
    values, slack = squared_distances(points, rows)
    values.diagonal(rows.start).fill_(float("inf"))  # of rows and columns of the same example
    last, at = (part[:, -1:] for part in values.topk(k, largest=False))
    slack += slack.gather(1, at)  # of either value
    near = values <= last + slack
    if int(near.sum()) == k * len(values):
        return near
    # Ties for the last places.
    nearer = values < last - slack
    tied = near & ~nearer
    return nearer | tied & (tied.cumsum(1) <= k - nearer.sum(1, keepdim=True))
