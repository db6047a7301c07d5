"""The distance that is left between two layers after the best rotation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from repsim.measures.inputs import Activations, read_pair
from repsim.measures.registry import EUCLIDEAN, register
from repsim.measures.subspace import narrow


@register(
    "procrustes",
    EUCLIDEAN,
    distance=True,
    source="Schönemann (1966); Ding et al. (2021); Williams et al. (2021)",
)
def procrustes_distance(x: Any, y: Any) -> float:
    """min |x - y Q| over orthogonal Q, of layers centred and scaled to unit Frobenius norm.

    √(2 - 2 |xᵀ y|_*), a metric between layers up to rotation, scale and shift (Schönemann 1966;
    Williams et al. 2021). The narrower layer counts as filled up with zeros. Ding et al. (2021)
    report its square; the angle of Williams et al. is arccos(1 - d² / 2). Symmetric. Unchanged by
    rotations, isotropic scalings and shifts, not by invertible linear maps. Like biased CKA, it
    makes unrelated layers look nearer the more features there are for each example.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i.
        y: (n, q) or (n, ...); the same examples in the same order.

    Returns:
        A float in [0, √2], computed in float64; no gradients flow. It is taken from the rotation
        itself, as the formula would cancel near 0: equal layers are within 1e-13.

    Raises:
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, or a constant layer.
    """
    a, b = sorted(map(_unit, read_pair(x, y)), key=lambda rows: rows.shape[1])
    left, _, right = torch.linalg.svd(a.T @ b, full_matrices=False)
    return float(torch.linalg.vector_norm(a @ (left @ right) - b))


def _unit(rows: Activations) -> Tensor:
    values = narrow(rows.values)
    return values / torch.linalg.vector_norm(values)
