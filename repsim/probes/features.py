"""The rows of a matrix of features, in memory or read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim.dense import as_floats, as_numbers
from repsim.devices import default_memory, float64_device
from repsim.errors import NonFiniteError, ShapeError

#: Rows of a block, which a probe takes of a matrix at once.
BLOCK = 2048


class Features:
    """A matrix (n, p) as a sequence of blocks (rows, p), float64 if its source is, else float32.

    A selection or a function of rows is again ``Features``, and nothing is read before a block is
    asked for. What fits in memory, ``held`` reads once.

    Args:
        read: block k, (rows, p), on ``device``.
        starts: the first row of each block, and behind the last block n.
        p: columns.
        dtype: of the blocks.
        device: where they lie.
    """

    def __init__(
        self,
        read: Callable[[int], Tensor],
        starts: Sequence[int],
        p: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._read = read
        self.starts = list(starts)
        self.p = p
        self.dtype = dtype
        self.device = device

    @classmethod
    def of(cls, values: Any, name: str = "features") -> Features:
        """Rows of a tensor, an array, or what has ``shape`` and slices, such as a store's layer.

        Dimensions after the first are flattened. Tensors stay on their device (on the CPU for MPS,
        which has no float64), the rest comes to the CPU. Rows are returned as they are.

        Raises:
            ShapeError: not (n, ...) with at least one row and one column.
        """
        if isinstance(values, cls):
            return values
        if isinstance(values, (Tensor, np.ndarray)) or not _sliceable(values):
            values = as_numbers(values, name)
        source = values
        shape = tuple(source.shape)
        if len(shape) < 2 or 0 in shape:
            raise ShapeError(f"{name} have shape {shape}; expected (n, ...) and values in it")
        first = as_floats(as_numbers(source[:1], name))
        n, p = shape[0], first[0].numel()
        starts = [*range(0, n, BLOCK), n]

        def read(k: int) -> Tensor:
            block = as_floats(as_numbers(source[starts[k] : starts[k + 1]], name))
            if not bool(torch.isfinite(block).all()):
                raise NonFiniteError(f"{name} hold NaN or infinity")
            return block.reshape(len(block), -1)

        return cls(read, starts, p, first.dtype, float64_device(first.device))

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.starts[-1]

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.p

    def __len__(self) -> int:
        return self.n

    @property
    def count(self) -> int:
        """Number of blocks, of which some may be empty."""
        return len(self.starts) - 1

    @property
    def size(self) -> int:
        """Bytes of the whole matrix."""
        return self.n * self.p * self.dtype.itemsize

    def paired(self, labels: Tensor, kind: str = "training") -> Tensor:
        """``labels`` (n,) as int64 where the rows, of a ``kind`` for errors, lie.

        Raises:
            ShapeError: not one label a row.
        """
        if tuple(labels.shape) != (self.n,):
            raise ShapeError(f"{len(labels)} labels came with {self.n} {kind} rows")
        return labels.long().to(self.device)

    def block(self, k: int) -> Tensor:
        """Block k, (rows, p)."""
        return self._read(k)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Every block that is not empty, and the rows that it is."""
        for k, (start, stop) in enumerate(pairwise(self.starts)):
            if stop > start:
                yield slice(start, stop), self.block(k)

    def varies(self) -> bool:
        """False where all rows are the same; no block is read after one that differs."""
        first: Tensor | None = None
        for _, block in self.blocks():
            first = block[0] if first is None else first
            if bool((block != first).any()):
                return True
        return False

    def map(
        self,
        function: Callable[[Tensor], Tensor],
        *,
        p: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> Features:
        """A function of every block, such as a projection to ``p`` columns in ``dtype``."""
        return Features(
            lambda k: function(self.block(k)),
            self.starts,
            self.p if p is None else p,
            dtype or self.dtype,
            self.device,
        )

    def to(self, device: torch.device) -> Features:
        """The same rows on ``device``, block by block as they are asked for."""
        if device == self.device:
            return self
        return Features(lambda k: self.block(k).to(device), self.starts, self.p, self.dtype, device)

    def take(self, index: Tensor) -> Features:
        """The rows at ascending places ``index`` (m,), in blocks as they come."""
        index = index.cpu()
        cuts = torch.searchsorted(index, torch.tensor(self.starts)).tolist()

        def read(k: int) -> Tensor:
            chosen = index[cuts[k] : cuts[k + 1]] - self.starts[k]
            return self.block(k)[chosen.to(self.device)]

        return Features(read, cuts, self.p, self.dtype, self.device)

    def held(self, memory: int | None = None) -> Features:
        """The rows in memory, if they take at most ``memory`` bytes: a quarter of what is free."""
        if self.size > (default_memory(self.device) if memory is None else memory):
            return self
        whole = self.tensor()
        starts = [*range(0, self.n, BLOCK), self.n]
        return Features(
            lambda k: whole[starts[k] : starts[k + 1]], starts, self.p, self.dtype, self.device
        )

    def tensor(self) -> Tensor:
        """The whole matrix, (n, p)."""
        whole = torch.empty(self.n, self.p, dtype=self.dtype, device=self.device)
        for rows, block in self.blocks():
            whole[rows] = block
        return whole


def _sliceable(values: Any) -> bool:
    """True if rows can be read by their places; slices of data frames may go by names."""
    if hasattr(values, "iloc") or hasattr(values, "tocsr"):
        return False
    return hasattr(values, "shape") and hasattr(values, "__getitem__")
