"""Share of one layer that a linear map of another explains."""

from __future__ import annotations

from typing import Any

from repsim.errors import DegenerateError
from repsim.measures.inputs import read_pair
from repsim.measures.registry import AFFINE, EUCLIDEAN, register
from repsim.measures.subspace import span


@register("regression", EUCLIDEAN, AFFINE, symmetric=False, source="Kornblith et al. (2019)")
def linear_regression(x: Any, y: Any) -> float:
    """R² of x predicted from y by least squares: |Q_yᵀ x|² / |x|², in Frobenius norms.

    Q_y is an orthonormal basis of the centred features of y (Kornblith et al. 2019, section 4,
    Eq. 5). Not symmetric: x is fitted, from y. Unchanged by invertible linear maps and shifts of
    y, by rotations, isotropic scalings and shifts of x. The fit is on the examples themselves, so
    for unrelated layers it is rank(y) / (n - 1) in the mean.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i. What is predicted.
        y: (n, q) or (n, ...); the same examples in the same order. What it is predicted from.

    Returns:
        A float in [0, 1], computed in float64; no gradients flow.

    Raises:
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, or a y of rank n - 1, from
            which any x is predicted.
    """
    of_x, of_y = read_pair(x, y)
    basis = span(of_y).basis
    n, rank = basis.shape
    if rank >= n - 1:
        raise DegenerateError(
            f"y: its features span all {n - 1} dimensions of {n} centred examples, so they predict "
            "any x with R² = 1; use more examples or cka"
        )
    return float((basis.T @ of_x.values).square().sum() / of_x.values.square().sum())
