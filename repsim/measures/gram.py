"""Sums over the Gram matrices of many layers, tile by tile, without holding a Gram matrix.

The n × n Gram matrices of all layers are cut into tiles; those on and above the diagonal are
visited once, since the matrices are symmetric. At each tile the tile of every layer is computed,
and one product of the flattened tiles adds to the inner products of all pairs of layers. Memory
is layers × tile², whatever n is.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.hsic import GramSums
from repsim.measures.kernels import MEDIAN_EXAMPLES, RBF, Kernel, bandwidth
from repsim.progress import Progress, silent
from repsim.sources import ActivationSource, as_tensor

#: Rows read at once in the passes over a layer, and the largest tile.
BLOCK = 1024

#: Entries of a tile summed in its own dtype before float64 takes over: a whole tile of float32
#: would leave 1e-6 of a layer's similarity with itself.
RUN = 16384


def default_memory() -> int:
    """Bytes that rows and tiles may take where the caller sets no limit.

    A quarter of the machine's memory; 4 GiB where the system does not say how much it has.
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        return 4 << 30


@dataclass
class Layer:
    """One layer's rows, centred and scaled: mean 0, mean squared row norm 1.

    CKA does not depend on either; they keep float32 tiles accurate for features whose mean is
    large beside their spread, and far from overflow for any scale. Rows are held in memory where
    the budget allows, and read from the source again otherwise.
    """

    source: ActivationSource
    name: str
    mean: Tensor
    scale: float
    device: torch.device
    dtype: torch.dtype
    sigma: float | None = None
    offset: float = 0.0
    held: Tensor | None = None

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start..stop, (stop - start, p), centred and scaled, on the device."""
        if self.held is not None:
            return self.held[start:stop]
        raw = _block(self.source, self.name, start, stop).to(self.device, self.dtype)
        # What rounding the mean to float32 leaves is the same shift in every row, which HSIC does
        # not see; the difference itself is as exact as the rows are.
        return (raw - self.mean.to(self.dtype)).div_(self.scale)

    def tile(self, x: Tensor, y: Tensor) -> Tensor:
        """The kernel of rows ``x`` and ``y``."""
        product = x @ y.T
        if self.sigma is None:
            return product
        norms_x, norms_y = x.square().sum(1), y.square().sum(1)
        product.mul_(2).sub_(norms_x[:, None]).sub_(norms_y).div_(2 * self.sigma**2)
        return product.exp_().sub_(self.offset)

    def diagonal(self, x: Tensor) -> Tensor:
        """k(x_i, x_i), float64."""
        if self.sigma is None:
            return x.double().square().sum(1)
        return torch.full((len(x),), 1 - self.offset, dtype=torch.float64, device=self.device)


def prepare_layer(
    source: ActivationSource, name: str, kernel: Kernel, device: torch.device
) -> Layer:
    """Mean, scale and bandwidth of one layer, in float64 and two passes over its rows.

    Raises:
        NonFiniteError: the layer holds NaN or infinity.
        DegenerateError: every example has the same activations.
    """
    n = source.n
    blocks = [(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]
    first = _block(source, name, 0, 1)
    total = torch.zeros(first.shape[1], dtype=torch.float64, device=device)
    for start, stop in blocks:
        total += _block(source, name, start, stop).to(device).double().sum(0)
    if not bool(torch.isfinite(total).all()):
        raise NonFiniteError("it holds NaN or infinity")
    mean = total / n
    squares = torch.zeros((), dtype=torch.float64, device=device)
    magnitude = torch.zeros((), dtype=torch.float64, device=device)
    for start, stop in blocks:
        raw = _block(source, name, start, stop).to(device).double()
        squares += (raw - mean).square().sum()
        magnitude += raw.square().sum()
    if not varies(float(squares), float(magnitude), n):
        raise DegenerateError("it is the same for every example")
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    layer = Layer(source, name, mean, float((squares / n).sqrt()), device, dtype)
    if isinstance(kernel, RBF):
        sample = np.unique(np.linspace(0, n - 1, min(n, MEDIAN_EXAMPLES)).round().astype(int))
        if len(sample) == n:
            rows = torch.cat([layer.rows(i, j) for i, j in blocks])
        else:
            rows = torch.cat([layer.rows(int(i), int(i) + 1) for i in sample])
        layer.sigma = bandwidth(rows, kernel)
        # The kernel at the median distance. HSIC is blind to a constant added to a Gram matrix;
        # without this one, float32 sums of a wide kernel cancel to nothing.
        layer.offset = math.exp(-0.5 / kernel.fraction**2)
    return layer


def varies(squares: float, magnitude: float, n: int) -> bool:
    """Whether ``squares``, Σ|x_i - mean|², is more than rounding of the mean makes of equal rows:
    about (n eps)² of ``magnitude``, Σ|x_i|²."""
    return squares > (n * 1e-16) ** 2 * magnitude


def gram_sums(
    layers_a: list[Layer],
    layers_b: list[Layer] | None,
    n: int,
    *,
    memory: int,
    progress: Progress = silent,
) -> GramSums:
    """Sums over the Gram matrices of all pairs of layers, in float64.

    Args:
        layers_a: layers from ``prepare_layer``.
        layers_b: those of the other side, or None to pair ``layers_a`` with itself.
        n: number of examples.
        memory: bytes that rows and tiles may take.
        progress: told the tiles done.
    """
    layers = layers_a + (layers_b or [])
    count, device = len(layers), layers[0].device
    a = slice(0, len(layers_a))
    b = a if layers_b is None else slice(len(layers_a), count)
    dtype = max((layer.dtype for layer in layers), key=lambda dtype: dtype.itemsize)
    tile = int(min(BLOCK, n, max(16, (memory / 8 / (count * dtype.itemsize)) ** 0.5)))
    _hold_rows(layers, n, memory - 2 * count * tile**2 * dtype.itemsize)

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    inner, own = zeros(len(layers_a), b.stop - b.start), zeros(count)
    rows, diag = zeros(count, n), zeros(count, n)
    buffer = torch.empty(count, tile * tile, dtype=dtype, device=device)

    starts = range(0, n, tile)
    tiles, done = len(starts) * (len(starts) + 1) // 2, 0
    # A caller's autocast region would round the tiles to half precision.
    with torch.autocast(device.type, enabled=False):
        for i in starts:
            of_i = slice(i, min(i + tile, n))
            left = [layer.rows(i, of_i.stop) for layer in layers]
            for layer, x, k in zip(layers, left, diag, strict=True):
                k[of_i] = layer.diagonal(x)
            for j in starts[i // tile :]:
                of_j = slice(j, min(j + tile, n))
                flat = buffer[:, : (of_i.stop - i) * (of_j.stop - j)]
                for layer, x, k, out in zip(layers, left, rows, flat, strict=True):
                    values = layer.tile(x, x if i == j else layer.rows(j, of_j.stop))
                    if i == j:
                        values.fill_diagonal_(0.0)
                    else:
                        k[of_j] += values.sum(0, dtype=torch.float64)
                    k[of_i] += values.sum(1, dtype=torch.float64)
                    out.copy_(values.view(-1))
                weight = 1.0 if i == j else 2.0  # the tile below the diagonal is its transpose
                for part in flat.split(RUN, dim=1):
                    inner += weight * (part[a] @ part[b].T).double()
                    own += weight * torch.linalg.vecdot(part, part).double()
                done += 1
                progress(done, tiles, "")
    return GramSums(inner, own[a], own[b], rows[a], rows[b], diag[a], diag[b])


def _hold_rows(layers: list[Layer], n: int, budget: int) -> None:
    """Keep the rows of the layers in memory, the smallest first, while the budget lasts."""
    for layer in sorted(layers, key=lambda layer: layer.mean.numel()):
        budget -= n * layer.mean.numel() * layer.dtype.itemsize
        if budget < 0:
            return
        layer.held = layer.rows(0, n)


def _block(source: ActivationSource, name: str, start: int, stop: int) -> Tensor:
    """Rows of a layer as a floating tensor (rows, p); halves and integers become float32."""
    rows = as_tensor(source.rows(name, start, stop))
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.float()
    return rows.reshape(len(rows), -1)
