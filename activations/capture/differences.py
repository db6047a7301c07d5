"""Differences between the values that a layer gives twice, and bounds on their rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

#: A difference beyond this share of a layer's spread is no rounding in float32.
ROUNDING = 1e-4

#: Units in the last place by which rounding alone may change a layer, where nothing wider can tell.
_UNITS = 16

#: About so many values of an example are compared where a whole batch is.
_MOST = 1024


def differing(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    tolerance: Callable[[Tensor], float],
    whole: Mapping[str, Tensor] | None = None,
) -> tuple[str, float] | None:
    """The first layer whose values differ by more than rounding, and by which share of its spread.

    Values of sizes that depend on the batch, such as its longest text, are compared as far as both
    reach.

    Args:
        a: values by layer.
        b: the same, seen otherwise.
        tolerance: the bound on the rounding of values like these.
        whole: values of more examples, which have the spread where one of them has none; by
            default ``a``.
    """
    if set(a) != set(b):
        return "", float("inf")
    for name, values in a.items():
        x, y = _corner(values, b[name]), _corner(b[name], values)
        off = largest_difference(x, y)
        like = values if whole is None else whole[name]
        if off > tolerance(like):
            scale = spread(like)
            return name, off / scale if scale else float("inf")
    return None


def _corner(x: Tensor, like: Tensor) -> Tensor:
    sizes = (min(pair) for pair in zip(x.shape, like.shape, strict=False))
    return x[tuple(slice(size) for size in sizes)]


def thinned(x: Tensor) -> Tensor:
    """About a thousand values of each example (n, ...), which memory holds for a whole batch.

    From each axis the first elements, and then one at every doubling: the same places however long
    the axis is.
    """
    if x.ndim < 2:
        return x.clone()
    dense = round(_MOST ** (1 / (x.ndim - 1)))
    for axis, size in enumerate(x.shape[1:], start=1):
        doubled = (dense << k for k in range(size.bit_length()) if dense << k < size)
        places = [*range(min(dense, size)), *doubled]
        x = x.index_select(axis, torch.tensor(places, dtype=torch.long, device=x.device))
    return x


def largest_difference(x: Tensor, y: Tensor) -> float:
    """The largest difference of two values of a layer; infinite where the shapes differ."""
    if x.shape != y.shape:
        return float("inf")
    a, b = x.cpu().double(), y.cpu().double()
    equal = (a == b) | (a.isnan() & b.isnan())
    off = (a - b).abs().masked_fill(equal, 0).nan_to_num(nan=float("inf"))
    return float(off.max()) if off.numel() else 0.0


def spread(x: Tensor) -> float:
    """The standard deviation of the finite values of a layer."""
    values = x.cpu().double()
    values = values[values.isfinite()]
    return float(values.std(correction=0)) if values.numel() else 0.0


def strict(x: Tensor) -> float:
    """A bound on the rounding of a layer in float32, or in a wider type."""
    return ROUNDING * spread(x)


def rounding(x: Tensor) -> float:
    """A bound on the rounding of a layer from its number type, where no wider one can tell."""
    finite = x[x.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return max(strict(x), _UNITS * torch.finfo(x.dtype).eps * largest)
