"""One layer as the engine sees it: rows centred and scaled, and tiles of its Gram matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.kernels import (
    MEDIAN_EXAMPLES,
    RBF,
    Kernel,
    Linear,
    distances_above,
    median_distance,
    squares,
)
from repsim.measures.product import matmul_nt, upper_product
from repsim.sources import ActivationSource, ArraySource, as_floats

#: Bytes of rows that one step of the passes over a layer takes: a few fit in a processor's cache.
BLOCK_BYTES = 4 << 20

#: A squared mean this many times the spread costs about a digit of float32.
SMALL_MEAN = 16.0

#: Bytes of rows held at once where the median distance is taken, where there is room.
SAMPLE_BYTES = 256 << 20

#: A row whose squared norm is this many times the median, or a squared median distance this small
#: beside the mean squared norm, leaves too few digits of float32 for the rest.
OUTLYING, NEAR = 1e3, 1e-4

#: Where the squared mean is this many times the spread, the mean is measured in float64.
CAREFUL = 1e9


@dataclass
class Layer:
    """A layer of n examples and p features, of which CKA sees K_ij - u_i - u_j.

    Rows are centred, and scaled to mean squared norm 1 (linear kernel) or to bandwidth 1 (RBF); CKA
    depends on neither. That keeps float32 accurate for features whose mean is large beside their
    spread, and far from overflow. Neither estimator of HSIC depends on the shift u; with ``shift``
    from ``centring`` the rows of the Gram matrix sum to zero, and the unbiased HSIC is
    a plain sum of products, in which nothing cancels.

    Attributes:
        mean: (p,) what is subtracted from the rows as they are.
        rest: (p,) what is subtracted from the scaled rows: the part of the mean that its
            rounding left behind.
        scale: what rows are divided by; for RBF, the bandwidth in the layer's own units.
        norms: (n,) float64, squared norms of the rows; of the linear kernel the diagonal.
        shift: (n,) float64, u; None where it is not known before the sweep.
        held: (n, p) centred and scaled rows, where memory allows.
        gram: (n, n) K_ij - u_i - u_j above the diagonal and 0 elsewhere, where memory allows.
        delicate: whether a few rows outweigh the others, or most examples nearly coincide (RBF), so
            that the layer should be computed in float64.
    """

    source: ActivationSource
    name: str
    kernel: Kernel
    n: int
    device: torch.device
    dtype: torch.dtype
    mean: Tensor
    rest: Tensor
    scale: float
    norms: Tensor
    shift: Tensor | None = None
    held: Tensor | None = None
    gram: Tensor | None = None
    delicate: bool = False

    def __post_init__(self) -> None:
        self._eps = torch.finfo(self.dtype).eps

    @property
    def features(self) -> int:
        return self.mean.numel()

    @property
    def noise(self) -> float:
        """Bound on what rounding leaves of an entry of the Gram matrix that should be zero."""
        spread = 1.0
        if isinstance(self.kernel, RBF):
            spread = min(1.0, 0.5 / self.kernel.fraction**2)
        return 8 * self._eps * spread

    def rows(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Rows start..stop, (stop - start, p), centred and scaled, on the device."""
        if self.held is not None:
            return self.held[start:stop]
        raw = _block(self.source, self.name, start, stop).to(self.device, self.dtype)
        centred = torch.sub(raw, self.mean, out=out)
        return torch.add(-self.rest, centred, alpha=1 / self.scale, out=centred)

    def tile(self, i: slice, j: slice, out: Tensor) -> None:
        """K_ij - u_i - u_j into ``out``; zero on and below the diagonal of the Gram matrix.

        Args:
            i: rows of the Gram matrix.
            j: columns; the same as ``i``, or beyond them.
            out: (rows of i, columns of j).
        """
        if self.gram is not None:
            out.copy_(self.gram[i, j])
            return
        x = self.rows(i.start, i.stop)
        y = x if i == j else self.rows(j.start, j.stop)
        if i == j:
            upper_product(x, out)
        else:
            matmul_nt(x, y, out)
        if isinstance(self.kernel, RBF):
            out.sub_((squares(x) / 2)[:, None]).sub_(squares(y) / 2)
            self.of_exponents(out)
        if self.shift is not None:
            shift = self.shift.to(out.dtype)
            out.sub_(shift[i, None]).sub_(shift[j])
        if i == j:
            out.triu_(1)

    @property
    def diagonal(self) -> Tensor:
        """K_ii, (n,) float64."""
        if not isinstance(self.kernel, RBF):
            return self.norms
        return torch.full_like(self.norms, float(not self._wide))

    @property
    def _wide(self) -> bool:
        """Whether K - 1 is computed in place of K, of which a wide kernel would keep few digits."""
        return isinstance(self.kernel, RBF) and self.kernel.fraction >= 1

    def of_exponents(self, exponents: Tensor) -> Tensor:
        """The RBF kernel, less 1 where it is wide, of -|x_i - x_j|² / 2σ², in place."""
        return exponents.expm1_() if self._wide else exponents.exp_()

    # --- what is held in memory

    def hold_gram(self, scratch: Tensor | None, step: int) -> None:
        """Keep the Gram matrix above its diagonal, shifted so that its rows sum to zero.

        Args:
            scratch: room for n p numbers, where the rows lie meanwhile; without it ``step`` of
                them are read at a time, again for each tile.
            step: rows of a tile.
        """
        if scratch is not None:
            self.held = self.rows(0, self.n, out=scratch[: self.n * self.features].view(self.n, -1))
            step = self.n
        self.shift = None  # not before the sums of the rows are known
        K = torch.zeros(self.n, self.n, dtype=self.dtype, device=self.device)
        for i, j in upper_tiles(self.n, step):
            self.tile(i, j, K[i, j])
        self.held = None
        self.hold(K)

    def to_float64(self) -> None:
        """Go on in float64 with what is held."""
        self.dtype = torch.float64
        self.held = None if self.held is None else self.held.double()
        self.gram = None if self.gram is None else self.gram.double()

    def hold(self, K: Float[Tensor, "n n"]) -> None:
        """Keep K, given above its diagonal, less the shift that makes its rows sum to zero.

        K is changed in place.
        """
        K.triu_(1)
        self.shift = centring(row_sums(K))
        shift = self.shift.to(K.dtype)
        self.gram = K.sub_(shift[:, None]).sub_(shift).triu_(1)


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
    found = _moments(source, name, device, dtype)
    if found is None:
        found = _moments(source, name, device, torch.float64)
        assert found is not None
    mean, norms = found
    scale = math.sqrt(float(norms.mean()))
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
        norms=norms.div_(scale**2),
    )
    if isinstance(kernel, RBF):
        _set_bandwidth(layer, kernel, keep, min(SAMPLE_BYTES, memory // 4))
    else:
        # The rows are centred, so those of the Gram matrix sum to nothing but the diagonal.
        layer.shift = centring(-layer.norms)
        layer.delicate = outlying(layer.norms)
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


def outlying(norms: Float[Tensor, " n"]) -> bool:
    """Whether a few rows outweigh the others by more than float32 can hold."""
    return bool(norms.max() > OUTLYING * norms.median())


def uncentred_layer(x: Float[Tensor, "n p"], name: str) -> Layer | None:
    """The layer of a batch by a linear kernel, from the Gram matrix of the rows as they are.

    The shift that centres a Gram matrix takes the mean of the rows out as well, so the rows need
    not be touched. It costs the digits by which the mean exceeds the spread, so where the mean is
    not small, or the scale far from 1, the answer is None, and ``prepare_layer`` is to be asked.
    """
    n = len(x)
    mean = x.sum(0).div_(n)
    energy = float(mean.double().square().sum())
    norms = squares(x).double()
    spread = float(norms.mean()) - energy
    if not (energy < SMALL_MEAN * spread and 1e-12 < spread < 1e12) or outlying(norms):
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


def _set_bandwidth(layer: Layer, kernel: RBF, keep: bool, memory: int) -> None:
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
    median = median_distance(squared, size=1.0)
    layer.delicate = median**2 < NEAR
    sigma = kernel.fraction * median
    layer.scale *= sigma
    layer.rest /= sigma
    layer.norms /= sigma**2
    if keep and len(sample) == n:
        layer.hold(layer.of_exponents(squared.div_(-2 * sigma**2)))


def _moments(
    source: ActivationSource, name: str, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor] | None:
    """The mean of a layer, (p,), and its rows' squared distances from it, (n,), both float64.

    Sums run in ``dtype`` within a block, about which float32 is right to seven digits, and in
    float64 beyond. The mean is refined by the sum of the centred rows. Returns None where float32
    cannot tell and float64 is to be asked: a spread that is tiny beside the mean, or far from 1.
    """
    n = source.n
    first = _block(source, name, 0, 1)
    step = max(1, BLOCK_BYTES // max(1, first.numel() * dtype.itemsize))
    blocks = [(i, min(i + step, n)) for i in range(0, n, step)]

    def block(start: int, stop: int) -> Tensor:
        return _block(source, name, start, stop).to(device, dtype)

    total = torch.zeros(first.shape[1], dtype=torch.float64, device=device)
    for start, stop in blocks:
        total += block(start, stop).sum(0)
    careful = dtype == torch.float64
    if not bool(torch.isfinite(total).all()):
        if not careful:
            return None
        raise NonFiniteError("it holds NaN or infinity")
    mean = (total / n).to(dtype)
    total.zero_()
    norms = torch.empty(n, dtype=torch.float64, device=device)
    for start, stop in blocks:
        centred = block(start, stop) - mean
        total += centred.sum(0)
        norms[start:stop] = squares(centred).double()
    spread, magnitude = float(norms.sum()), n * float(mean.double().square().sum())
    if not careful and not (magnitude < CAREFUL * spread and 1e-24 < spread / n < 1e24):
        return None
    if careful and not varies(spread, magnitude + spread, n):
        raise DegenerateError("it is the same for every example")
    return mean.double() + total / n, norms


def varies(squares: float, magnitude: float, n: int) -> bool:
    """Whether ``squares``, Σ|x_i - mean|², is more than rounding of the mean makes of equal rows:
    about (n eps)² of ``magnitude``, Σ|x_i|²."""
    return squares > (n * 1e-16) ** 2 * magnitude


def row_sums(K: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Σ_{j≠i} K_ij of a symmetric matrix that lies above its diagonal, and is 0 elsewhere.

    A diagonal that is there counts twice.
    """
    return K.sum(1).double() + K.sum(0).double()


def add_row_sums(sums: Float[Tensor, " n"], i: slice, j: slice, tile: Tensor) -> None:
    """Add to ``sums`` what the rows of a tile have of ``row_sums``."""
    sums[i] += tile.sum(1).double()
    sums[j] += tile.sum(0).double()


def upper_tiles(n: int, tile: int) -> list[tuple[slice, slice]]:
    """Tiles of an n × n matrix on and above its diagonal, row by row."""
    cuts = [slice(i, min(i + tile, n)) for i in range(0, n, tile)]
    return [(i, j) for at, i in enumerate(cuts) for j in cuts[at:]]


def centring(rows: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """u such that Σ_{j≠i} (K_ij - u_i - u_j) = 0 for every i, from rows = Σ_{j≠i} K_ij.

    Off the diagonal that is the U-centring of Székely and Rizzo (2014, Definition 2).
    """
    n = len(rows)
    return (rows - rows.sum() / (2 * n - 2)) / (n - 2)


def _block(source: ActivationSource, name: str, start: int, stop: int) -> Tensor:
    """Rows of a layer as a floating tensor (rows, p); halves and integers become float32."""
    rows = as_floats(source.rows(name, start, stop))
    return rows.reshape(len(rows), -1)
