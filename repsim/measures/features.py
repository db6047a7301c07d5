"""The same sums from products of features: tr(KL) = |XᵀY|² for linear kernels.

Where layers have few features beside the examples, XᵀY costs less than Gram matrices do. It is
summed over rows block by block, so each row is read once, or twice where the terms of each example
are wanted. Memory holds the products of features, whatever n is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from repsim.measures.hsic import GramSums, Terms
from repsim.measures.layer import Layer
from repsim.measures.product import matmul_nt, matmul_tn, upper_product
from repsim.progress import Progress, silent

#: Features of a block of XᵀY. A layer's own XᵀX is symmetric, and only blocks on and above its
#: diagonal are computed.
FEATURES = 512

#: Rows summed in their own dtype before float64 takes over.
ROWS = 4096


@dataclass
class Block:
    """A block of XᵀY of layers ``x`` and ``y``, by their places in a list."""

    x: int
    y: int
    of_x: slice
    of_y: slice
    weight: int  #: 2 where it stands for its transpose too

    @property
    def symmetric(self) -> bool:
        """True if the block lies on the diagonal of a layer's own XᵀX."""
        return self.x == self.y and self.of_x == self.of_y

    @property
    def shape(self) -> tuple[int, int]:
        return self.of_x.stop - self.of_x.start, self.of_y.stop - self.of_y.start


def feature_sums(
    layers_a: list[Layer],
    layers_b: list[Layer] | None,
    *,
    memory: int,
    terms: bool = False,
    progress: Progress = silent,
) -> GramSums:
    """The sums of ``gram_sums``, for linear kernels; the arguments are the same.

    Progress is told the blocks of rows done.
    """
    layers = layers_a + (layers_b or [])
    of_a = range(len(layers_a))
    of_b = of_a if layers_b is None else range(len(layers_a), len(layers))
    pairs = [(x, x) for x in range(len(layers))]
    pairs += [(x, y) for x in of_a for y in of_b if layers_b is not None or x < y]
    stream = _Stream(layers, memory, extra=2 * terms)
    groups = list(_groups(stream.widths, pairs, int(memory / 2 / 12)))
    total, done = len(groups) * (2 if terms else 1) * stream.steps, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total, "")

    inner = {pair: layers[0].norms.new_zeros(()) for pair in pairs}
    each = {pair: layers[0].norms.new_zeros(stream.n) for pair in pairs} if terms else {}
    for group in groups:
        products = _products(group, stream, step)
        if terms:
            _add_terms(group, products, stream, each, step)
        else:
            for block, product in zip(group, products, strict=True):
                inner[block.x, block.y] += block.weight * product.square().sum()

    # So far the diagonals of the Gram matrices have their part in the sums.
    if terms:
        diagonals = [layer.norms - 2 * layer.shift for layer in layers if layer.shift is not None]
        for pair in pairs:
            each[pair] -= diagonals[pair[0]] * diagonals[pair[1]]
            inner[pair] = each[pair].sum()
        row_sums = [torch.zeros_like(diagonal) for diagonal in diagonals]
    else:
        diagonals = [layer.norms for layer in layers]
        for pair in pairs:
            inner[pair] -= diagonals[pair[0]] @ diagonals[pair[1]]
        row_sums = [-diagonal for diagonal in diagonals]  # the rows of the features are centred

    def table(of: dict[tuple[int, int], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        across = [torch.stack([of[min(x, y), max(x, y)] for y in of_b], -1) for x in of_a]
        own = (torch.stack([of[x, x] for x in side], -1) for side in (of_a, of_b))
        return torch.stack(across, -2), next(own), next(own)

    ab, aa, bb = table(inner)
    return GramSums(
        inner=ab,
        inner_a=aa,
        inner_b=bb,
        rows_a=torch.stack([row_sums[x] for x in of_a]),
        rows_b=torch.stack([row_sums[y] for y in of_b]),
        diag_a=torch.stack([diagonals[x] for x in of_a]),
        diag_b=torch.stack([diagonals[y] for y in of_b]),
        terms=Terms(*table(each)) if terms else None,
    )


class _Stream:
    """Blocks of rows of the layers, in buffers that are used again.

    ``extra`` is 2 where each row is to have the two features more that centre its Gram matrix:
    (x_i, -u_i, -1)·(x_j, 1, u_j) = K_ij - u_i - u_j.
    """

    def __init__(self, layers: list[Layer], memory: int, extra: int) -> None:
        self.layers, self.n = layers, layers[0].n
        self.widths = [layer.features + extra for layer in layers]
        row = layers[0].dtype.itemsize * sum(self.widths)
        self.step = min(self.n, ROWS, max(16, int(memory / 8 / row)))
        self.steps = -(-self.n // self.step)
        self._buffers = [
            x.mean.new_empty(self.step, p) for x, p in zip(layers, self.widths, strict=True)
        ]

    def rows(self, group: list[Block], *, right: bool) -> Iterator[tuple[slice, dict[int, Tensor]]]:
        """The rows that a group of blocks needs; ``right`` as factors on the right."""
        needed = sorted({block.x for block in group} | {block.y for block in group})
        for start in range(0, self.n, self.step):
            at = slice(start, min(start + self.step, self.n))
            yield at, {k: self._block(k, at, right) for k in needed}

    def _block(self, k: int, at: slice, right: bool) -> Tensor:
        layer, out = self.layers[k], self._buffers[k][: at.stop - at.start]
        p = layer.features
        layer.rows(at.start, at.stop, out=out[:, :p])
        if out.shape[1] > p and layer.shift is not None:
            out[:, p] = 1.0 if right else -layer.shift[at]
            out[:, p + 1] = layer.shift[at] if right else -1.0
        return out


def _products(group: list[Block], stream: _Stream, step: Callable[[], None]) -> list[Tensor]:
    """XᵀY of each block, float64."""
    like = stream.layers[0]
    products = [like.norms.new_zeros(block.shape) for block in group]
    widest = max(block.shape[0] for block in group)
    scratch = like.mean.new_empty(widest, widest)
    for _, rows in stream.rows(group, right=True):
        for block, product in zip(group, products, strict=True):
            x, y = rows[block.x][:, block.of_x], rows[block.y][:, block.of_y]
            if block.symmetric:
                out = scratch.view(-1)[: product.numel()].view(product.shape)
                upper_product(x.T, out)
                product += out
            else:
                product += matmul_tn(x, y)
        step()
    for block, product in zip(group, products, strict=True):
        if block.symmetric:
            product += product.triu(1).T
    return products


def _add_terms(
    group: list[Block],
    products: list[Tensor],
    stream: _Stream,
    each: dict[tuple[int, int], Tensor],
    step: Callable[[], None],
) -> None:
    """x_iᵀ(XᵀY)y_i = Σ_j K_ij L_ij of every example, added to ``each`` of the pairs."""
    dtype = stream.layers[0].dtype
    turned = [product.T.to(dtype).contiguous() for product in products]
    for at, rows in stream.rows(group, right=False):
        for block, product in zip(group, turned, strict=True):
            x, y = rows[block.x][:, block.of_x], rows[block.y][:, block.of_y]
            out = x.new_empty(len(x), len(product))
            matmul_nt(x, product, out)
            each[block.x, block.y][at] += block.weight * out.mul_(y).sum(1)
        step()


def _groups(widths: list[int], pairs: list[tuple[int, int]], room: int) -> Iterator[list[Block]]:
    """All blocks of XᵀY of the pairs, in groups of at most ``room`` numbers."""
    group: list[Block] = []
    taken = 0
    for x, y in pairs:
        cuts_x, cuts_y = _cuts(widths[x]), _cuts(widths[y])
        for k, of_x in enumerate(cuts_x):
            for of_y in cuts_y[k if x == y else 0 :]:
                block = Block(x, y, of_x, of_y, 2 if x == y and of_x != of_y else 1)
                size = math.prod(block.shape)
                if group and taken + size > room:
                    yield group
                    group, taken = [], 0
                group.append(block)
                taken += size
    yield group


def _cuts(width: int) -> list[slice]:
    """About equal parts of a width, of at most FEATURES or a little more."""
    parts = max(1, round(width / FEATURES))
    ends = [round(k * width / parts) for k in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]
