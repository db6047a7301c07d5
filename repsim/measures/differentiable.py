"""CKA by operations of torch alone: differentiated in both modes, mapped over and compiled.

Where values cannot be read, within ``torch.vmap`` and ``torch.compile``, nothing can be refused by
them: a CKA that is undefined is NaN there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.devices import has_float64
from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.hsic import HSIC, GramSums
from repsim.measures.kernels import (
    RBF,
    Kernel,
    check_median,
    least_median,
    median_square,
    squared_distances,
)
from repsim.measures.prepare import TINY, check_rows_vary, least_spread
from repsim.measures.tiles import centring
from repsim.measures.validity import check_defined, check_examples
from repsim.transforms import is_readable

if TYPE_CHECKING:
    from jaxtyping import Float

#: The most that rounding alone can make of a self-HSIC of rows of mean squared norm 1.
_NOISE = (8 * torch.finfo(torch.float64).eps) ** 2


def differentiable_cka(x: Tensor, y: Tensor, kernel: Kernel, estimator: str) -> Float[Tensor, ""]:
    """CKA from whole Gram matrices, in float64 where the device has it; gradients flow.

    Raises:
        ShapeError: x and y differ in rows.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, or CKA is undefined.
    """
    check_examples(len(x), len(y))
    checked = is_readable(x, y)
    K, L = (_gram(name, rows, kernel, checked) for name, rows in (("x", x), ("y", y)))
    sums = GramSums.of(K, L)
    hsic = sums.unbiased() if estimator == "unbiased" else sums.biased()
    if checked:
        check_defined(hsic, [_NOISE] * 2)
    own = (_where(own > _NOISE, own) for own in (hsic.aa, hsic.bb))
    return HSIC(hsic.ab, *own).cka().squeeze()


def _where(defined: Tensor, value: Tensor) -> Tensor:
    """``value``, or NaN where it is not defined."""
    return torch.where(defined, value, torch.nan)


def _gram(name: str, rows: Tensor, kernel: Kernel, checked: bool) -> Float[Tensor, "n n"]:
    """K_ij - u_i - u_j of the rows of one layer, with u from ``centring``.

    Neither estimator of HSIC depends on u, so its gradient is not needed; but with it the unbiased
    one is a plain sum of products, in which nothing cancels.
    """
    rows = rows.reshape(len(rows), -1)
    if checked and not bool(torch.isfinite(rows).all()):
        raise NonFiniteError(f"{name}: it holds NaN or infinity")
    rows = (rows if has_float64(rows.device) else rows.cpu()).double()
    centred = rows - rows.mean(0)
    # At mean squared norm 1, to which the bound on the noise applies. CKA does not depend on the
    # scale, so the gradient is right if the scale has none.
    unit = centred / _scale(name, rows.detach(), centred.detach(), checked)
    K = _rbf(name, unit, kernel, checked) if isinstance(kernel, RBF) else unit @ unit.T
    free = K.detach()
    u = centring(free.sum(1) - free.diagonal())
    return K - u[:, None] - u


def _scale(
    name: str, rows: Float[Tensor, "n p"], centred: Float[Tensor, "n p"], checked: bool
) -> Float[Tensor, ""]:
    """The root of the mean squared norm of centred rows."""
    spread, magnitude = centred.square().sum(), rows.square().sum()
    if checked:
        check_rows_vary(rows, centred, f"{name}: it")
    varies = (spread > least_spread(magnitude, len(rows))) & (spread > TINY) & spread.isfinite()
    return (_where(varies, spread) / len(rows)).sqrt()


def _rbf(name: str, rows: Float[Tensor, "n p"], kernel: RBF, checked: bool) -> Float[Tensor, "n n"]:
    """The RBF kernel of rows of mean squared norm 1.

    The bandwidth follows the data but is not differentiated through: a median has no useful
    gradient.
    """
    squared = squared_distances(rows, rows)
    median = median_square(squared.detach())
    if checked:
        try:
            check_median(float(median), size=1.0)
        except DegenerateError as error:
            raise DegenerateError(f"{name}: {error}") from None
    variance = kernel.fraction**2 * _where(median > least_median(size=1.0), median)
    return torch.exp(-squared / (2 * variance))
