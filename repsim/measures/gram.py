"""Sums over the Gram matrices of many layers, tile by tile, without holding a Gram matrix.

The n × n Gram matrices of all layers are cut into tiles; those on and above the diagonal are
visited once, since the matrices are symmetric. At each tile the tile of every layer is computed,
and one product of the tiles adds to the inner products of all pairs of layers. Memory
is layers × tile², whatever n is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from repsim.devices import kind_of
from repsim.measures.hsic import GramSums, Terms
from repsim.measures.kernels import RBF
from repsim.measures.layer import Layer
from repsim.measures.tiles import add_row_sums, centring, upper_tiles
from repsim.progress import Progress, silent

#: Rows of the largest tile, on a CPU and on an accelerator.
TILE = {"cpu": 1024, "accelerator": 4096}


def gram_sums(
    layers_a: list[Layer],
    layers_b: list[Layer] | None,
    *,
    memory: int,
    terms: bool = False,
    progress: Progress = silent,
) -> GramSums:
    """Sums over the Gram matrices of all pairs of layers, in float64.

    Args:
        layers_a: layers from ``prepare_layer``.
        layers_b: layers of the other side, or None to pair ``layers_a`` with itself.
        memory: bytes that rows, Gram matrices and tiles may take.
        terms: keep the terms of each example, from which the standard errors follow.
        progress: told the steps done: one a layer that is held as a Gram matrix, one a tile.
    """
    layers = layers_a + (layers_b or [])
    count, n = len(layers), layers[0].n
    a = slice(0, len(layers_a))
    b = a if layers_b is None else slice(len(layers_a), count)
    device, dtype = layers[0].device, layers[0].dtype
    room = share_memory(layers, memory)
    tiles = upper_tiles(n, room.tile)
    done = hold(layers, room, progress, len(tiles))
    if terms:
        for layer in layers:
            if layer.shift is None:
                layer.shift = centring(_row_sums(layer, tiles))

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=device)

    pairs = (a.stop, b.stop - b.start)
    each, each_own = zeros(n if terms else 1, *pairs), zeros(n if terms else 1, count)
    rows, diagonal = zeros(count, n), zeros(count, n)
    buffer = torch.empty(count * room.tile**2, dtype=dtype, device=device)
    turned = torch.empty_like(buffer if terms else buffer[:0])
    for step, (i, j) in enumerate(tiles, start=1):
        part = buffer[: count * _size(i) * _size(j)].view(count, _size(i), _size(j))
        for k, layer, out in zip(rows, layers, part, strict=True):
            layer.tile(i, j, out)
            if layer.shift is None:
                add_row_sums(k, i, j, out)
        across, squares = _products(part, a, b)
        if not terms:
            each += 2 * across.sum(0)  # the tile below the diagonal is the transpose
            each_own += 2 * squares.sum(0)
        else:
            each[i] += across
            each_own[i] += squares
            other = turned[: part.numel()].view(count, _size(j), _size(i))
            for source, out in zip(part, other, strict=True):
                out.copy_(source.T)
            across, squares = _products(other, a, b)
            each[j] += across
            each_own[j] += squares
        progress(done + step, done + len(tiles), "")
    for k, layer in zip(diagonal, layers, strict=True):
        k += layer.diagonal if layer.shift is None else layer.diagonal - 2 * layer.shift
    inner, own = each.sum(0), each_own.sum(0)
    return GramSums(
        inner,
        own[a],
        own[b],
        rows[a],
        rows[b],
        diagonal[a],
        diagonal[b],
        Terms(each, each_own[:, a], each_own[:, b]) if terms else None,
    )


def _products(part: Tensor, a: slice, b: slice) -> tuple[Tensor, Tensor]:
    """Of a stack (layers, i, j) of tiles: Σ_j K_ij L_ij as (i, a, b) and Σ_j K_ij² as (i, layers).

    A run of one row of a tile is summed in its own dtype before float64 takes over.
    """
    rows = part.transpose(0, 1)
    across = torch.bmm(rows[:, a], rows[:, b].transpose(1, 2)).double()
    return across, torch.linalg.vector_norm(part, dim=2).double().square().T


def _row_sums(layer: Layer, tiles: list[tuple[slice, slice]]) -> Tensor:
    """Σ_{j≠i} K_ij of one layer, by a sweep of its own."""
    sums = torch.zeros(layer.n, dtype=torch.float64, device=layer.device)
    for i, j in tiles:
        out = torch.empty(_size(i), _size(j), dtype=layer.dtype, device=layer.device)
        layer.tile(i, j, out)
        add_row_sums(sums, i, j, out)
    return sums


class Room(NamedTuple):
    """The memory shared out: rows of a tile, and bytes for layers that are held."""

    tile: int
    held: int
    step: int  #: rows that are read at once of a layer that is not held


def share_memory(layers: list[Layer], memory: int) -> Room:
    """Tiles that fit in a processor's reach where all layers can be held, and otherwise as large as
    half of the memory allows: each tile reads its rows again."""
    n, size, count = layers[0].n, layers[0].dtype.itemsize, len(layers)
    largest = TILE[kind_of(layers[0].device)]
    step = min(n, max(16, int(memory / 8 / (size * max(x.features for x in layers)))))
    tile = max(16, min(largest, n, int((memory / 8 / (count * size)) ** 0.5)))
    tiles = 2 * count * tile**2 * size
    if sum(min(n, x.features) * n * size for x in layers) + tiles <= memory:
        return Room(tile, memory - tiles, step)
    tile = min(step, int((memory / 8 / (count * size)) ** 0.5))
    return Room(max(16, tile), memory // 2, step)


def hold(layers: list[Layer], room: Room, progress: Progress = silent, further: int = 0) -> int:
    """Keep in memory what fits: of each layer its rows or its Gram matrix, whichever is smaller.

    An RBF layer's Gram matrix is kept in any case, if all fit, since it costs the most to compute.

    Args:
        layers: to be held.
        room: bytes they may take, and rows that may be read at once.
        progress: told each layer that was held as a Gram matrix.
        further: steps that come afterwards.

    Returns:
        The number of steps told.
    """
    n, size = layers[0].n, layers[0].dtype.itemsize
    square = n * n * size
    rbf = isinstance(layers[0].kernel, RBF) and len(layers) * square <= room.held
    budget, of_grams = room.held, []
    # Widest first: their Gram matrices save the most reading.
    for layer in sorted(layers, key=lambda layer: -layer.features):
        flat = n * layer.features * size
        as_gram = rbf or square < flat
        if (square if as_gram else flat) > budget:
            continue
        budget -= square if as_gram else flat
        if as_gram and layer.gram is None:
            of_grams.append(layer)
        elif not as_gram:
            layer.held = layer.rows(0, n)
    # One place for the rows of all, one layer after another: fresh memory is slow.
    widest = max([x.features for x in of_grams if n * x.features * size <= budget], default=0)
    scratch = torch.empty(n * widest, dtype=layers[0].dtype, device=layers[0].device)
    for done, layer in enumerate(of_grams, start=1):
        layer.hold_gram(scratch if layer.features <= widest else None, room.step)
        progress(done, len(of_grams) + further, "")
    return len(of_grams)


def _size(of: slice) -> int:
    return int(of.stop - of.start)
