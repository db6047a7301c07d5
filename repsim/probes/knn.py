"""Nearest neighbours, exact, at the speed of the matrix product.

A float32 product gives all distances with a bound on their errors. Only rows that may be nearer
than the k-th neighbour so far, within that bound, are looked at again, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.devices import default_memory, kind_of
from repsim.errors import ShapeError, UsageError
from repsim.measures.product import matmul_nt
from repsim.probes.features import Features

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Training and test rows of one product, by kind of device: its result stays in the cache.
TILES = {"cpu": 2048, "accelerator": 8192}

#: Products are compared by their largest of so many columns; then only a few of them are looked at.
CHUNK = 64

#: Bytes of a tile in float64, at most.
WIDE = 1 << 28

#: Values of candidates to compare in float64 at once, by kind of device.
AT_ONCE = {"cpu": 1 << 20, "accelerator": 1 << 26}


@settled()
def knn_predict(
    train: Features,
    labels: Int[Tensor, " n"],
    test: Features,
    classes: int,
    *,
    k: int = 1,
) -> Int[Tensor, " m"]:
    """Majority class of the k nearest training rows, Euclidean; ties go to the lower class.

    Args:
        train: training rows (n, p).
        labels: (n,) their classes, 0 to classes - 1.
        test: rows (m, p) to classify.
        classes: number of classes.
        k: neighbours, 1 to n.

    Returns:
        (m,) int64 on the device of ``train``.

    Raises:
        ShapeError: ``labels`` do not fit ``train``, or ``test`` has other columns.
        UsageError: k is not 1 to n.
    """
    labels = train.paired(labels)
    found = torch.empty(test.n, dtype=torch.int64, device=train.device)
    for rows, _, nearest in neighbours(train, test, k=k):
        of = labels[nearest]
        votes = of.new_zeros(len(of), classes).scatter_add_(1, of, torch.ones_like(of))
        found[rows] = votes.argmax(1)  # the first of equal ones
    return found


def neighbours(
    train: Features, test: Features, *, k: int = 1
) -> Iterator[tuple[slice, Float[Tensor, "rows k"], Int[Tensor, "rows k"]]]:
    """The k nearest training rows of every test row, nearest first; equally near, in their order.

    They are the neighbours by float64 distances, in float32 as in float64. Test rows come as many
    at once as fit in half of ``default_memory``, and for each such part the training rows are read
    once. Where many training rows are equally near, and not at distance 0, all have to be looked
    at, which takes longer.

    Yields:
        Test rows; their distances, float64; and the places of the neighbours in ``train``, int64.

    Raises:
        ShapeError: other columns in ``test``.
        UsageError: k is not 1 to n.
    """
    if test.p != train.p:
        raise ShapeError(f"training rows have {train.p} columns, test rows {test.p}")
    if not 1 <= k <= train.n:
        raise UsageError(f"k is {k}; expected 1 to {train.n}, the number of training examples")
    double = torch.float64 in (train.dtype, test.dtype)
    frame = Frame.of(train, torch.float64 if double else torch.float32)
    each = 3 * 8 * train.p + 100 * k  # bytes: the row itself, centred, and its neighbours
    at_once = max(1, default_memory(train.device) // 2 // each)
    for start, queries in _tiles(test, at_once):
        queries = queries.to(train.device)
        squared, places = _nearest(train, queries, frame, k)
        yield slice(start, start + len(queries)), squared.sqrt() / frame.scale, places


@dataclass(frozen=True)
class Frame:
    """The origin and unit in which float32 serves best: the training mean, spreads below 1.

    Distances do not depend on the centre, so that it need not be the mean to the last digit. The
    unit is a power of 2, and rounds nothing; without it, squares of 1e30 would be infinite.
    """

    centre: Float[Tensor, " p"]
    scale: float
    dtype: torch.dtype  #: of the products

    @classmethod
    def of(cls, train: Features, dtype: torch.dtype) -> Frame:
        centre = torch.zeros(train.p, dtype=torch.float64, device=train.device)
        low, high = torch.full_like(centre, torch.inf), torch.full_like(centre, -torch.inf)
        for _, block in train.blocks():
            centre += block.mean(0).double() * (len(block) / train.n)
            low = torch.minimum(low, block.amin(0).double())
            high = torch.maximum(high, block.amax(0).double())
        centre.masked_fill_(~torch.isfinite(centre), 0.0)  # sums of values near the largest number
        largest = 120 if dtype == torch.float32 else 1000  # the largest power of two is 127, 1023
        exponent = math.frexp(float((high / 2 - low / 2).max()))[1] + 1
        return cls(centre, math.ldexp(1.0, -max(-largest, min(largest, exponent))), dtype)

    def centred(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return self.difference(x, self.centre, dtype)

    def difference(self, x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
        """(x - y) scale, with one rounding, and finite where the result is."""
        x, y = x.to(dtype), y.to(dtype)
        if self.scale < 1:
            return (x * self.scale).sub_(y * self.scale)
        return (x - y).mul_(self.scale)


@dataclass(frozen=True)
class Side:
    """Rows as one side of a product, with a column more.

    For training rows x the column is -|x|²/2 (1 - e), for test rows t it is 1. The product is then
    g = x·t - |x|²/2 (1 - e), and |t|² (1 - e) - 2 g a lower bound of |x - t|².
    """

    values: Float[Tensor, "rows q"]
    squares: Float[Tensor, " real"]  #: |x|², float64, of those that are rows

    @classmethod
    def train(cls, x: Tensor, frame: Frame, dtype: torch.dtype) -> Side:
        """Rows (n, p), filled up to a multiple of CHUNK with rows that are never nearest."""
        n, p = x.shape
        side = torch.zeros(-(-n // CHUNK) * CHUNK, p + 1, dtype=dtype, device=x.device)
        side[:n, :p] = frame.centred(x, dtype)
        squares = side[:n, :p].double().square().sum(1)
        side[:n, p] = squares * (-0.5 * (1 - _error(p, dtype)))
        side[n:, p] = torch.finfo(dtype).min
        return cls(side, squares)

    @classmethod
    def test(cls, x: Tensor, frame: Frame, dtype: torch.dtype) -> Side:
        side = torch.ones(len(x), x.shape[1] + 1, dtype=dtype, device=x.device)
        side[:, :-1] = frame.centred(x, dtype)
        return cls(side, side[:, :-1].double().square().sum(1))

    def __getitem__(self, rows: slice | Tensor) -> Side:
        return Side(self.values[rows], self.squares[rows])


def _error(p: int, dtype: torch.dtype) -> float:
    """e such that a squared distance by products is wrong by at most e (|x|² + |t|²).

    The product of p + 1 terms, in whatever order, is off by γ(p + 1) (|x| |t| + |x|²/2), with
    γ(m) = m u / (1 - m u) and u half the machine epsilon (Higham, Accuracy and Stability of
    Numerical Algorithms, Section 3.1). Twice that, the rounding of the column and that of
    the centring, 2u (|x| + |t|)², are together less than γ(p + 8) (|x| + |t|)².
    """
    terms = (p + 8) * torch.finfo(dtype).eps / 2
    return 2 * terms / (1 - min(terms, 0.5))


def _least_product(
    squares: Tensor, bound: Tensor, p: int, dtype: torch.dtype
) -> Float[Tensor, " rows"]:
    """The least g of a row x that can be as near as ``bound``, a squared distance; NaN: any."""
    kind = torch.finfo(dtype)
    bound = bound * (1 + (p + 8) * 2.0**-52)  # it is rounded as well
    least = (squares * (1 - _error(p, dtype)) - bound) / 2
    # Rounding to dtype, and products that are too small for it.
    least -= least.abs() * kind.eps + 4 * (p + 8) * kind.tiny * (1 + squares.sqrt())
    known = (squares < math.sqrt(kind.max)) & ~bound.isnan()  # else products may overflow
    least.masked_fill_(~known, -torch.inf)
    return least.to(dtype)


@settled()
def _nearest(train: Features, queries: Tensor, frame: Frame, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances in the unit of ``frame``, and places, of the k nearest of each query."""
    m = len(queries)
    squared = torch.full((m, k), torch.nan, dtype=torch.float64, device=queries.device)
    places = torch.full((m, k), -1, dtype=torch.int64, device=queries.device)
    tile = _tile(queries)
    side = Side.test(queries, frame, frame.dtype)
    products = torch.empty(tile * (tile + CHUNK), dtype=frame.dtype, device=queries.device)
    for first, x in _tiles(train, tile):
        of_x = Side.train(x, frame, frame.dtype)
        for start in range(0, m, tile):
            part = slice(start, start + tile)
            best = squared[part], places[part]
            pair = Pair(queries[part], x, frame, k)
            for rows, columns in pair.candidates(side[part], of_x, best[0][:, -1], products):
                distances = pair.squared(rows, columns)
                _merge(best, rows, columns + first, distances)
    return squared, places


@dataclass(frozen=True)
class Pair:
    """A tile of test rows and one of training rows, as they came."""

    queries: Float[Tensor, "m p"]
    x: Float[Tensor, "n p"]
    frame: Frame
    k: int

    def candidates(
        self, queries: Side, x: Side, kth: Tensor, products: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows and columns, ascending, of all pairs nearer than ``kth``, and of few others.

        ``kth`` is the k-th squared distance of each test row so far, and NaN if there is none.
        """
        p, dtype = self.x.shape[1], queries.values.dtype
        g = products[: len(queries.values) * len(x.values)].view(len(queries.values), -1)
        matmul_nt(queries.values, x.values, g)
        # Among four times as many chunks as neighbours, the best k chunks tell where to look.
        chunk = CHUNK
        while chunk > 1 and g.shape[1] < 4 * self.k * chunk:
            chunk //= 2
        chunks = g.view(len(g), -1, chunk)
        best = chunks.amax(2)
        bound = kth
        if bool(kth.isnan().any()) and self.k <= len(self.x):
            bound = torch.where(kth.isnan(), self._bound(chunks, best), kth)
        least = _least_product(queries.squares, bound, p, dtype)
        least.masked_fill_(kth == 0, torch.inf)  # nothing is nearer, and what is as near is later
        hits = ~(best < least[:, None])  # NaN is a hit
        many = hits.sum(1) > min(self.k + 16, max(self.k, hits.shape[1] // 2))
        if dtype == torch.float32 and bool(many.any()):
            # The bound is too wide here: features far from their mean, compared to neighbours.
            hits &= ~many[:, None]
        else:
            many = torch.zeros_like(many)
        rows, which = hits.nonzero(as_tuple=True)
        near, within = (~(chunks[rows, which] < least[rows, None])).nonzero(as_tuple=True)
        rows, columns = rows[near], which[near] * chunk + within
        real = columns < len(self.x)
        yield rows[real], columns[real]
        if bool(many.any()):
            again = many.nonzero().squeeze(1)
            double = Pair(self.queries[again], self.x, self.frame, self.k)
            sides = (
                Side.test(double.queries, self.frame, torch.float64),
                Side.train(self.x, self.frame, torch.float64),
            )
            products = torch.empty(
                len(again) * len(x.values), dtype=torch.float64, device=products.device
            )
            for rows, columns in double.candidates(*sides, kth[again], products):
                yield again[rows], columns

    def _bound(self, chunks: Tensor, best: Tensor) -> Tensor:
        """Squared distances than which k rows are at least as near: the best rows of k chunks."""
        which = best.topk(self.k, dim=1).indices
        rows = torch.arange(len(best), device=best.device).repeat_interleave(self.k)
        within = chunks[rows, which.flatten()].argmax(1)
        columns = which.flatten() * chunks.shape[2] + within
        squared = self.squared(rows, columns.clamp(max=len(self.x) - 1))
        return squared.view(-1, self.k).amax(1)

    def squared(self, rows: Tensor, columns: Tensor) -> Float[Tensor, " pairs"]:
        """Exact squared distances of pairs, in the unit of the frame."""
        found = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
        step = max(1, AT_ONCE[kind_of(rows.device)] // self.x.shape[1])
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            x, queries = self.x[columns[part]], self.queries[rows[part]]
            found[part] = _sum_of_squares(self.frame.difference(x, queries, torch.float64))
        return found


def _sum_of_squares(x: Float[Tensor, "rows p"]) -> Float[Tensor, " rows"]:
    """|x|² by halves, in an order that does not depend on how many rows there are: equal rows are
    equally far. ``x`` is overwritten."""
    x = x.square_()
    while x.shape[1] > 1:
        half = x.shape[1] // 2
        odd = x[:, 2 * half :]
        x[:, : odd.shape[1]] += odd
        x = x[:, :half].add_(x[:, half : 2 * half])
    return x[:, 0]


def _merge(best: tuple[Tensor, Tensor], rows: Tensor, places: Tensor, squared: Tensor) -> None:
    """Put candidates of ``rows``, in ascending ``places``, among the best of each row, in place.

    Sorting is stable, so that of equal distances the earlier place stays first; NaN comes last.
    """
    if not len(rows):
        return
    k = best[0].shape[1]
    some, group = rows.unique(return_inverse=True)
    old = torch.arange(len(some), device=rows.device).repeat_interleave(k)
    group = torch.cat([old, group])
    squared = torch.cat([best[0][some].flatten(), squared])
    places = torch.cat([best[1][some].flatten(), places])
    order = squared.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    group = group[order]
    rank = torch.arange(len(group), device=rows.device)
    rank -= torch.searchsorted(group, torch.arange(len(some), device=rows.device))[group]
    kept = order[rank < k]
    best[0][some], best[1][some] = squared[kept].view(-1, k), places[kept].view(-1, k)


def _tile(queries: Tensor) -> int:
    """Rows of a tile, such that those of many features take no more than WIDE bytes."""
    most = TILES[kind_of(queries.device)]
    return max(CHUNK, min(most, WIDE // (8 * queries.shape[1]) // CHUNK * CHUNK))


def _tiles(rows: Features, size: int) -> Iterator[tuple[int, Tensor]]:
    """The matrix in tiles of ``size`` rows, whatever its blocks, and the first row of each."""
    first, held = 0, 0
    parts: list[Tensor] = []
    for _, block in rows.blocks():
        while held + len(block) >= size:
            cut = size - held
            whole = torch.cat([*parts, block[:cut]]) if parts else block[:cut]
            yield first, whole
            first, held, parts, block = first + size, 0, [], block[cut:]
        if len(block):
            parts.append(block)
            held += len(block)
    if parts:
        yield first, torch.cat(parts)
