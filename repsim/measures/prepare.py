"""A layer made ready for the sums: its mean, scale and bandwidth, in passes over its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.answers import Asking, alone
from repsim.measures.kernels import (
    MEDIAN_EXAMPLES,
    RBF,
    Kernel,
    Linear,
    check_median,
    distances_above,
    median_square,
    squares,
)
from repsim.measures.layer import Layer, read_rows
from repsim.measures.product import upper_product
from repsim.measures.tiles import centring, row_sums
from repsim.sources import ActivationSource, ArraySource

if TYPE_CHECKING:
    from jaxtyping import Float

#: A number, or a tensor of one.
N = TypeVar("N", float, Tensor)

#: Bytes of rows that one step of the passes over a layer takes: a few fit in a processor's cache.
BLOCK_BYTES = 4 << 20

#: A squared mean this many times the spread costs about a digit of float32.
SMALL_MEAN = 16.0

#: Bytes of rows held at once where the median distance is taken, where there is room.
SAMPLE_BYTES = 256 << 20

#: A row whose squared norm is this many times the median, or a squared median distance this small
#: beside the mean squared norm, leaves too few digits of float32 for the rest.
OUTLYING, NEAR = 1e3, 1e-4

#: A mean whose square is this many times the spread is measured in float64.
CAREFUL = 1e9

#: Sums of squares below this have lost digits of float64.
TINY = 1e-290


def prepare_layer(
    source: ActivationSource,
    name: str,
    kernel: Kernel,
    device: torch.device,
    dtype: torch.dtype,
    *,
    keep: bool = False,
    memory: int = 4 * SAMPLE_BYTES,
) -> Layer:
    """Mean, scale and bandwidth of one layer, in two passes over its rows.

    Args:
        source: has the layer.
        name: of the layer.
        kernel: linear or RBF.
        device: where to compute.
        dtype: in which rows and tiles are computed, float32 or float64.
        keep: hold the Gram matrix if an RBF bandwidth needs all distances anyway.
        memory: bytes of which a quarter may be taken by rows for the bandwidth.

    Raises:
        NonFiniteError: the layer holds NaN or infinity.
        DegenerateError: every example has the same activations, or more than half of all pairs of
            examples coincide (RBF).
    """
    return alone(preparing(source, name, kernel, device, dtype, keep=keep, memory=memory))


def preparing(
    source: ActivationSource,
    name: str,
    kernel: Kernel,
    device: torch.device,
    dtype: torch.dtype,
    *,
    keep: bool = False,
    memory: int = 4 * SAMPLE_BYTES,
) -> Asking[Layer]:
    """``prepare_layer`` as a computation beside others, see ``repsim.measures.answers``."""
    moments = yield from _moments(source, name, device, dtype)
    if moments is None:
        moments = yield from _moments(source, name, device, torch.float64)
        assert moments is not None
    mean, scale = moments.mean, math.sqrt(moments.average)
    high = mean.to(dtype)
    layer = Layer(
        source=source,
        name=name,
        kernel=kernel,
        n=source.n,
        device=device,
        dtype=dtype,
        mean=high,
        rest=((mean - high.double()) / scale).to(dtype),
        scale=scale,
        norms=moments.norms.div_(scale**2),
    )
    if isinstance(kernel, RBF):
        yield from _set_bandwidth(layer, kernel, keep, min(SAMPLE_BYTES, memory // 4))
    else:
        # The rows are centred, so those of the Gram matrix sum to nothing but the diagonal.
        layer.shift = centring(-layer.norms)
        layer.delicate = outlying(moments.largest / scale**2, moments.median / scale**2)
    return layer


def prepare_together(
    dtype: torch.dtype, prepare: Callable[[torch.dtype], list[Layer]]
) -> list[Layer]:
    """The layers that ``prepare`` makes in ``dtype``, or in float64 where one is delicate."""
    layers = prepare(dtype)
    if dtype == torch.float64 or not any(layer.delicate for layer in layers):
        return layers
    del layers  # what they hold, before the same in float64
    return prepare(torch.float64)


def outlying(largest: float, median: float) -> bool:
    """True if a few rows outweigh the others by more than float32 can hold.

    Args:
        largest: squared norm of a row.
        median: of the squared norms.
    """
    return largest > OUTLYING * median


def uncentred_layer(x: Float[Tensor, "n p"], name: str) -> Asking[Layer | None]:
    """The layer of a batch by a linear kernel, from the Gram matrix of the rows as they are.

    The shift that centres a Gram matrix takes the mean of the rows out as well, so the rows need
    not be touched. It costs the digits by which the mean exceeds the spread, so where the mean is
    not small, or the scale far from 1, the answer is None, and ``prepare_layer`` is to be asked.
    """
    n = len(x)
    mean = x.sum(0).div_(n)
    norms = squares(x).double()
    of_mean = mean.double().square().sum()
    energy, average, *extremes = yield torch.stack([of_mean, *_summary(norms)])
    spread = average - energy
    if not (energy < SMALL_MEAN * spread and 1e-12 < spread < 1e12) or outlying(*extremes):
        return None
    K = torch.empty(n, n, dtype=x.dtype, device=x.device)
    upper_product(x, K)
    sums = row_sums(K) - norms  # the diagonal was in both
    layer = Layer(
        source=ArraySource({name: x}, name=name),
        name=name,
        kernel=Linear(),
        n=n,
        device=x.device,
        dtype=x.dtype,
        mean=mean,
        rest=torch.zeros_like(mean),
        scale=math.sqrt(spread),
        norms=(norms - 2 * sums / n + energy) / spread,
    )
    layer.hold(K.div_(spread))
    return layer


def _summary(norms: Float[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, maximum and median of squared norms."""
    return norms.mean(), norms.max(), norms.median()


def _set_bandwidth(layer: Layer, kernel: RBF, keep: bool, memory: int) -> Asking[None]:
    """Scale the rows by the kernel's bandwidth; ``keep`` the distances as a Gram matrix."""
    n = layer.n
    sample = np.unique(np.linspace(0, n - 1, min(n, MEDIAN_EXAMPLES)).round().astype(int))

    def rows(start: int, stop: int) -> Tensor:
        if len(sample) == n:
            return layer.rows(start, stop)
        wanted, block = sample[start:stop], max(1, BLOCK_BYTES // (layer.features * 4))
        found = []
        # Stores keep rows in chunks: a block that is read and thinned costs less than its rows.
        for first in range(wanted[0], wanted[-1] + 1, block):
            chosen = wanted[(wanted >= first) & (wanted < first + block)]
            if len(chosen):
                last = int(chosen[-1]) + 1
                found.append(layer.rows(first, last)[torch.as_tensor(chosen - first)])
        return torch.cat(found)

    step = max(1, memory // (layer.features * layer.dtype.itemsize))
    squared = distances_above(rows, len(sample), step)
    (median_squared,) = yield median_square(squared)[None]
    check_median(median_squared, size=1.0)
    median = median_squared**0.5
    layer.delicate = median**2 < NEAR
    sigma = kernel.fraction * median
    layer.scale *= sigma
    layer.rest /= sigma
    layer.norms /= sigma**2
    if keep and len(sample) == n:
        layer.hold(layer.of_exponents(squared.div_(-2 * sigma**2)))


@dataclass(frozen=True)
class _Moments:
    """The mean of a layer, and its rows' squared distances from it.

    Attributes:
        mean: (p,) float64.
        norms: (n,) float64, the squared distances.
        average: their mean.
        largest: of them.
        median: of them.
    """

    mean: Float[Tensor, " p"]
    norms: Float[Tensor, " n"]
    average: float
    largest: float
    median: float


def _moments(
    source: ActivationSource, name: str, device: torch.device, dtype: torch.dtype
) -> Asking[_Moments | None]:
    """The mean of a layer and the distances from it.

    Sums run in ``dtype`` within a block, about which float32 is right to seven digits, and in
    float64 beyond. The mean is refined by the sum of the centred rows. Returns None where float32
    cannot tell and float64 is to be asked: a spread that is tiny beside the mean, or far from 1.
    """
    n = source.n
    first = read_rows(source, name, 0, 1)
    step = max(1, BLOCK_BYTES // max(1, first.numel() * dtype.itemsize))
    blocks = [(i, min(i + step, n)) for i in range(0, n, step)]

    def block(start: int, stop: int) -> Tensor:
        return read_rows(source, name, start, stop).to(device, dtype)

    total = torch.zeros(first.shape[1], dtype=torch.float64, device=device)
    for start, stop in blocks:
        total += block(start, stop).sum(0)
    finite = torch.isfinite(total).all()
    mean = (total / n).to(dtype)
    total.zero_()
    norms = torch.empty(n, dtype=torch.float64, device=device)
    for start, stop in blocks:
        centred = block(start, stop) - mean
        total += centred.sum(0)
        norms[start:stop] = squares(centred).double()
    of_mean = mean.double().square().sum()
    found = yield torch.stack([finite.double(), norms.sum(), of_mean, *_summary(norms)])
    is_finite, spread, energy, *summary = found
    careful = dtype == torch.float64
    magnitude = n * energy
    if not careful and not (
        is_finite and magnitude < CAREFUL * spread and 1e-24 < spread / n < 1e24
    ):
        return None
    if not is_finite:
        raise NonFiniteError("it holds NaN or infinity")
    if careful:
        check_varies(spread, magnitude + spread, n, lambda: _equal(block, blocks))
    return _Moments(mean.double() + total / n, norms, *summary)


def _equal(block: Callable[[int, int], Tensor], blocks: Sequence[tuple[int, int]]) -> bool:
    """True where all rows of a layer are the same, exactly."""
    first = block(0, 1)
    return all(bool((block(start, stop) == first).all()) for start, stop in blocks)


def check_varies(
    squares: float, magnitude: float, n: int, equal: Callable[[], bool], name: str = "it"
) -> None:
    """Refuse rows that are the same, or too great or too small to tell.

    Args:
        squares: Σ|x_i - mean|².
        magnitude: Σ|x_i|².
        n: rows.
        equal: True if all rows are the same, exactly; asked for where the squares do not tell.
        name: of the rows in the error.

    Raises:
        DegenerateError: they are.
    """
    extreme = "great" if not math.isfinite(squares) else "small" if squares < TINY else ""
    if extreme and not equal():
        raise DegenerateError(
            f"{name} has values too {extreme} for their squares in float64; multiply it by a "
            "constant, which changes no similarity"
        )
    if not varies(squares, magnitude, n):
        raise DegenerateError(f"{name} is the same for every example")


def check_rows_vary(rows: Tensor, centred: Tensor, name: str) -> float:
    """Refuse rows in memory as ``check_varies`` does; return Σ|x_i - mean|².

    Args:
        rows: (n, p) float64.
        centred: the rows less their mean.
        name: of the rows in the error.

    Raises:
        DegenerateError: as from ``check_varies``.
    """
    squares, magnitude = float(centred.square().sum()), float(rows.square().sum())
    check_varies(squares, magnitude, len(rows), lambda: bool((rows == rows[0]).all()), name)
    return squares


def varies(squares: float, magnitude: float, n: int) -> bool:
    """True if ``squares``, Σ|x_i - mean|², is more than rounding makes of equal rows."""
    return squares > least_spread(magnitude, n)


def least_spread(magnitude: N, n: int) -> N:
    """The most that rounding of the mean of n equal rows leaves of Σ|x_i - mean|².

    That is about (n eps)² of ``magnitude``, Σ|x_i|².
    """
    return (n * 1e-16) ** 2 * magnitude


def common_dtype(layers: Iterable[tuple[ActivationSource, str]]) -> torch.dtype:
    """float64 if any layer is, else float32."""
    first = (read_rows(source, name, 0, 1).dtype for source, name in layers)
    return torch.float64 if torch.float64 in first else torch.float32
