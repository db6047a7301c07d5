"""Kernels on rows of activations, with their bandwidth taken from the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from repsim.errors import DegenerateError, UsageError, choices
from repsim.measures.product import matmul_nt, upper_product
from repsim.transforms import is_plain

if TYPE_CHECKING:
    from jaxtyping import Float

#: The median distance of more examples than this is taken over an evenly spaced subset of this
#: many, since the exact median needs all n² distances at once.
MEDIAN_EXAMPLES = 2048


#: Fractions of the median distance that a bandwidth may be.
LEAST, MOST = 1e-3, 1e3


@dataclass(frozen=True)
class Linear:
    """k(x, y) = x·y."""

    def __str__(self) -> str:
        return "linear"


@dataclass(frozen=True)
class RBF:
    """k(x, y) = exp(-|x - y|² / (2 σ²)) with σ = ``fraction`` times the median distance.

    The median is over all ordered pairs of examples, each with itself included, which is the
    convention of Kornblith et al. (2019, section 4), whose fractions are 0.2, 0.4 and 0.8.
    """

    fraction: float = 0.5

    def __post_init__(self) -> None:
        if not LEAST <= self.fraction <= MOST:
            raise UsageError(f"RBF fraction is {self.fraction}; expected {LEAST:g} to {MOST:g}")

    def __str__(self) -> str:
        return f"rbf:{self.fraction:g}"


Kernel = Linear | RBF
KernelLike = Kernel | Literal["linear", "rbf"] | str


def parse_kernel(kernel: KernelLike) -> Kernel:
    """``"linear"``, ``"rbf"`` (half the median distance), ``"rbf:0.4"`` or a kernel itself."""
    if isinstance(kernel, (Linear, RBF)):
        return kernel
    if not isinstance(kernel, str):
        raise UsageError(
            f"kernel is a {type(kernel).__name__}; try 'linear', 'rbf' or repsim.RBF()"
        )
    name, _, fraction = kernel.partition(":")
    if name == "linear" and not fraction:
        return Linear()
    if name == "rbf":
        return RBF(_fraction(kernel, fraction)) if fraction else RBF()
    raise UsageError(f"unknown kernel {kernel!r}; {choices(name, ['linear', 'rbf'])}")


def _fraction(kernel: str, text: str) -> float:
    """The text of a fraction of the median distance as a number."""
    try:
        fraction = float(text)
    except ValueError:
        raise UsageError(f"kernel {kernel!r}: {text!r} is not a number; try 'rbf:0.5'") from None
    if not LEAST <= fraction <= MOST:
        raise UsageError(
            f"kernel {kernel!r}: the bandwidth is the fraction {fraction:g} of the median distance "
            f"between examples; expected {LEAST:g} to {MOST:g}, such as 'rbf:0.5'"
        )
    return fraction


def squared_distances(x: Float[Tensor, "n p"], y: Float[Tensor, "m p"]) -> Float[Tensor, "n m"]:
    """|x_i - y_j|², from norms and one matrix product; rows should be centred first."""
    return x.square().sum(1)[:, None] + y.square().sum(1)[None, :] - 2 * (x @ y.T)


def distances_above(rows: Callable[[int, int], Tensor], n: int, step: int) -> Float[Tensor, "n n"]:
    """|x_i - x_j|² above the diagonal; on it and below, nothing that means anything.

    Args:
        rows: gives rows start..stop of x; they should be centred.
        n: rows there are.
        step: rows to hold at once, twice.
    """
    like = rows(0, 1)
    squared = torch.empty(n, n, dtype=like.dtype, device=like.device)
    for i in range(0, n, step):
        x = rows(i, min(i + step, n))
        norms = squares(x)
        for j in range(i, n, step):
            y = x if i == j else rows(j, min(j + step, n))
            out = squared[i : i + len(x), j : j + len(y)]
            if i == j:
                upper_product(x, out)
            else:
                matmul_nt(x, y, out)
            out.mul_(-2).add_(norms[:, None]).add_(norms if i == j else squares(y))
    return squared


def squares(x: Float[Tensor, "n p"]) -> Float[Tensor, " n"]:
    """|x_i|²."""
    return torch.linalg.vector_norm(x, dim=1).square()


def median_square(squared: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """The median of |x_i - x_j|² over all ordered pairs, i = j included; float64, unchecked.

    Args:
        squared: from ``distances_above``.
    """
    n = len(squared)
    # Of all n² in order, the first n are those of each example with itself, then each twice.
    low, high = (max(0, (k - n) // 2) for k in ((n * n - 1) // 2, n * n // 2))
    if is_plain(squared):  # NumPy takes a tenth of the time that torch needs to sort
        values = squared.detach().numpy()
        above = np.concatenate([row[i + 1 :] for i, row in enumerate(values)])
        above.partition(sorted({low, high}))
        middle = torch.from_numpy(above[[low, high]])
    else:
        upper = torch.ones_like(squared, dtype=torch.bool).triu(1)
        ordered = torch.where(upper, squared.detach(), torch.inf).flatten().sort().values
        middle = ordered[low : high + 1 : max(1, high - low)]
    return middle.double().mean()


def least_median(size: float) -> float:
    """The square that rounding alone may leave of distances that are 0."""
    return 1e3 * torch.finfo(torch.float64).eps * size


def check_median(squared: float, size: float) -> None:
    """Raise ``DegenerateError`` for a median of squared distances that is rounding alone.

    More than half of all pairs of examples then coincide.

    Args:
        squared: the median.
        size: mean squared norm of the rows, which says what rounding alone can leave.
    """
    if not squared > least_median(size):
        raise DegenerateError("the median distance between examples is 0; RBF has no bandwidth")
