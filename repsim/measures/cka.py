"""Centered kernel alignment of one pair of layers."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from repsim.dense import as_tensor
from repsim.devices import default_memory, float64_device
from repsim.errors import DegenerateError, NonFiniteError, RepsimWarning, UsageError, choices
from repsim.measures.algebra import pair_sums
from repsim.measures.hsic import GramSums
from repsim.measures.inputs import as_arrays
from repsim.measures.kernels import (
    RBF,
    Kernel,
    KernelLike,
    bandwidth,
    parse_kernel,
    squared_distances,
)
from repsim.measures.layer import Layer
from repsim.measures.prepare import (
    check_rows_vary,
    common_dtype,
    prepare_layer,
    prepare_together,
)
from repsim.measures.registry import EUCLIDEAN, register
from repsim.measures.tiles import centring
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

if TYPE_CHECKING:
    from jaxtyping import Float

Estimator = Literal["unbiased", "biased"]


@register("cka", EUCLIDEAN, source="Kornblith et al. (2019); Song et al. (2012)")
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
        A float; where x or y requires gradients, a 0-d tensor through which they flow.

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
    if any(isinstance(v, Tensor) and v.requires_grad for v in arrays.values()):
        x, y = (v if isinstance(v, Tensor) else as_tensor(v) for v in arrays.values())
        return _differentiable(x, y, parsed, estimator)
    layers, sums = sums_of_pair(arrays, parsed, terms=False)
    unbiased, biased = sums.unbiased(), sums.biased()
    hsic = unbiased if estimator == "unbiased" else biased
    value = float(check_defined(hsic, rounding(layers)).cka())
    if estimator == "biased" and (floor := float(biased_floors(unbiased, biased)[0, 0])) > FLOOR:
        warnings.warn(floor_warning(floor, sums.n), RepsimWarning, stacklevel=2)
    return value


register("cka-rbf", EUCLIDEAN, source="Kornblith et al. (2019); Song et al. (2012)")(
    partial(cka, kernel="rbf")
)
register("cka-biased", EUCLIDEAN, source="Kornblith et al. (2019)")(
    partial(cka, estimator="biased")
)


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


def _differentiable(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """CKA from whole Gram matrices, in float64 where the device has it; gradients flow."""
    check_examples(len(x), len(y))
    grams = []
    for name, rows in (("x", x), ("y", y)):
        rows = rows.reshape(len(rows), -1)
        if not bool(torch.isfinite(rows).all()):
            raise NonFiniteError(f"{name}: it holds NaN or infinity")
        rows = rows.to(float64_device(rows.device)).double()
        centred = rows - rows.mean(0)
        spread = check_rows_vary(rows.detach(), centred.detach(), f"{name}: it")
        try:
            # At mean squared norm 1, to which the bound on the noise applies. CKA does not depend
            # on the scale, so the gradient is right if the scale has none.
            grams.append(_gram(centred / (spread / len(rows)) ** 0.5, kernel))
        except DegenerateError as error:
            raise DegenerateError(f"{name}: {error}") from None
    sums = GramSums.of(*grams)
    hsic = sums.unbiased() if estimator == "unbiased" else sums.biased()
    noise = 8 * torch.finfo(torch.float64).eps
    return check_defined(hsic, [noise**2] * 2).cka().squeeze()


def _gram(rows: Float[Tensor, "n p"], kernel: Kernel) -> Float[Tensor, "n n"]:
    """K_ij - u_i - u_j of centred rows, with u from ``centring``.

    Neither estimator of HSIC depends on u, so its gradient is not needed; but with it the unbiased
    one is a plain sum of products, in which nothing cancels.
    """
    if isinstance(kernel, RBF):
        # The bandwidth follows the data but is not differentiated through: a median has no useful
        # gradient.
        sigma = bandwidth(rows.detach(), kernel)
        K = torch.exp(-squared_distances(rows, rows) / (2 * sigma**2))
    else:
        K = rows @ rows.T
    free = K.detach()
    u = centring(free.sum(1) - free.diagonal())
    return K - u[:, None] - u


__getattr__ = moved_names(__name__)
