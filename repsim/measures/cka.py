"""Centered kernel alignment of one pair of layers."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.dense import as_tensor
from repsim.devices import default_memory
from repsim.errors import DegenerateError, NonFiniteError, RepsimWarning, UsageError, choices
from repsim.measures.algebra import pair_sums
from repsim.measures.differentiable import differentiable_cka
from repsim.measures.hsic import GramSums
from repsim.measures.inputs import as_arrays
from repsim.measures.kernels import Kernel, KernelLike, parse_kernel
from repsim.measures.layer import Layer
from repsim.measures.prepare import common_dtype, prepare_layer, prepare_together
from repsim.measures.registry import EUCLIDEAN, register
from repsim.measures.validity import (
    FLOOR,
    biased_floors,
    check_defined,
    check_examples,
    floor_warning,
    rounding,
)
from repsim.moved import moved_names
from repsim.sources import ArraySource
from repsim.transforms import is_followed

Estimator = Literal["unbiased", "biased"]


@register(
    "cka", EUCLIDEAN, source="Kornblith et al. (2019); Song et al. (2012)", settles_itself=True
)
def cka(
    x: Any, y: Any, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased"
) -> float | Tensor:
    """Centered kernel alignment of two layers on the same examples.

    HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), K and L the Gram matrices of x and y (Kornblith et
    al. 2019, section 3), with either estimator of HSIC. Unchanged by rotations, isotropic scalings
    and shifts of the features; not by invertible linear maps.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i. Halves and integers are
            computed in float32, float64 in float64.
        y: (n, q) or (n, ...); the same examples in the same order.
        kernel: ``"linear"``, ``"rbf"`` (half the median distance) or ``repsim.RBF(fraction)``.
        estimator: ``"unbiased"`` (Song et al. 2012; may be slightly negative), or ``"biased"``,
            which drifts towards 1 as p / n grows.

    Returns:
        A float; where x or y requires gradients, a 0-d tensor through which they flow, in either
        mode. Within ``torch.vmap`` and ``torch.compile`` it is NaN where CKA is undefined, as
        values cannot be looked at there.

    Raises:
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, or an unbiased self-HSIC that
            is not positive (features that look like noise to n examples).
    """
    if estimator not in ("unbiased", "biased"):
        raise UsageError(
            f"unknown estimator {estimator!r}; {choices(estimator, ['unbiased', 'biased'])}"
        )
    parsed = parse_kernel(kernel)
    arrays = as_arrays(x, y)
    if any(map(is_followed, arrays.values())):
        return differentiable_cka(*_on_one_device(**arrays), parsed, estimator)
    with settled():
        return _value(arrays, parsed, estimator)


register("cka-rbf", EUCLIDEAN, source="Kornblith et al. (2019); Song et al. (2012)")(
    partial(cka, kernel="rbf")
)
register("cka-biased", EUCLIDEAN, source="Kornblith et al. (2019)")(
    partial(cka, estimator="biased")
)


def _on_one_device(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Arrays as tensors, with their gradients, where the first tensor among them lies."""
    device = next(v.device for v in (x, y) if isinstance(v, Tensor))
    x, y = (v if isinstance(v, Tensor) else as_tensor(v) for v in (x, y))
    return x.to(device), y.to(device)


def _value(arrays: dict[str, Any], kernel: Kernel, estimator: Estimator) -> float:
    """CKA of two arrays, x and y."""
    layers, sums = sums_of_pair(arrays, kernel, terms=False)
    unbiased, biased = sums.unbiased(), sums.biased()
    hsic = unbiased if estimator == "unbiased" else biased
    value = float(check_defined(hsic, rounding(layers)).cka())
    if estimator == "biased" and (floor := float(biased_floors(unbiased, biased)[0, 0])) > FLOOR:
        warnings.warn(floor_warning(floor, sums.n), RepsimWarning, stacklevel=3)
    return value


def sums_of_pair(
    arrays: dict[str, Any], kernel: Kernel, *, terms: bool
) -> tuple[list[Layer], GramSums]:
    """The layers of two arrays, x and y, and the sums over them.

    Raises:
        ShapeError: they differ in rows.
        NonFiniteError: NaN or infinity in one of them.
        DegenerateError: fewer than four examples, or a constant layer.
    """
    a, b = (ArraySource({name: array}, name=name) for name, array in arrays.items())
    check_examples(a.n, b.n)

    def prepare(dtype: torch.dtype) -> list[Layer]:
        return [_prepare_array(source, kernel, a.device, dtype) for source in (a, b)]

    layers = prepare_together(common_dtype([(a, a.name), (b, b.name)]), prepare)
    memory = default_memory(a.device)
    return layers, pair_sums([layers[0]], [layers[1]], memory=memory, terms=terms)


def _prepare_array(
    source: ArraySource, kernel: Kernel, device: torch.device, dtype: torch.dtype
) -> Layer:
    """The layer of an array, whose errors begin with the array's name."""
    try:
        return prepare_layer(source, source.name, kernel, device, dtype, keep=True)
    except (NonFiniteError, DegenerateError) as error:
        raise type(error)(f"{source.name}: {error}") from None


__getattr__ = moved_names(__name__)
