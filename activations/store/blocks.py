"""Rows of a layer in HDF5, as an array and as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from repsim.errors import StoreError


class StoredLayer:
    """A layer that is read when it is sliced, like an array (n, ...).

    ``layer[10:20]``, ``layer[3]``, ``layer[:, 0]``, ``layer[[5, 2]]`` and ``numpy.asarray(layer)``
    read NumPy arrays. bfloat16 comes as float32.

    Args:
        parts: data sets whose rows follow one another.
        where: what to call it in errors.
    """

    def __init__(self, parts: Sequence[h5py.Dataset], where: str) -> None:
        self.parts = list(parts)
        self._where = where
        self.shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        self.dtype = np.dtype(np.float32) if is_bfloat16(parts[0]) else parts[0].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """``numpy.asarray(layer)[key]``, but only the rows of the first index are read.

        Raises:
            IndexError: rows that there are not, a new axis, or a mask of more than the rows.
        """
        first, rest = self._split(key if isinstance(key, tuple) else (key,))
        if isinstance(first, slice):
            rows = self._slice(first)
            return rows[(slice(None), *rest)] if rest else rows
        index = np.asarray(first)
        index = index.astype(np.int64) if index.dtype == float and not index.size else index  # []
        if index.dtype == bool:
            if index.shape != (len(self),):
                raise IndexError(f"a mask has shape {index.shape}; expected ({len(self)},)")
            index = np.flatnonzero(index)
        rows = self._pick(index.ravel())
        if index.ndim == 1 and not rest:
            return rows
        return rows[(np.arange(index.size).reshape(index.shape) if index.ndim else 0, *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"{self._where} lies in a file; an array of it is a copy")
        rows = self[:]
        return rows if dtype is None else rows.astype(dtype)

    def __repr__(self) -> str:
        return f"<{self._where}: {self.shape} {self.dtype}>"

    def _slice(self, rows: slice) -> np.ndarray:
        places = range(len(self))[rows]
        if not places:
            return np.empty((0, *self.shape[1:]), self.dtype)
        if abs(places.step) == 1:
            return self._read(min(places), max(places) + 1)[:: places.step]
        return self._pick(np.asarray(places))

    def _split(self, key: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The index of the rows, and those of the other axes."""
        if not key:
            return slice(None), ()
        if key[0] is not Ellipsis:
            return key[0], key[1:]
        # An ellipsis may stand for no axis at all.
        axes = sum(each is not None for each in key)
        return (key[1], key[2:]) if axes > self.ndim else (slice(None), key)

    def _pick(self, index: np.ndarray) -> np.ndarray:
        """Rows by their places (rows,), in any order; neighbours are read together."""
        if index.dtype.kind not in "iu":
            raise IndexError("expected an integer, a slice, or a list of integers or booleans")
        wrong = index[(index < -len(self)) | (index >= len(self))]
        if wrong.size:
            raise IndexError(f"{self._where} has no row {wrong[0]}: it has {len(self)}")
        places = index.astype(np.int64) % max(len(self), 1)
        found = np.empty((len(places), *self.shape[1:]), self.dtype)
        order = np.argsort(places, kind="stable")
        runs = np.split(order, np.flatnonzero(np.diff(places[order]) > 1) + 1) if len(order) else []
        for run in runs:
            start = places[run[0]]
            found[run] = self._read(int(start), int(places[run[-1]]) + 1)[places[run] - start]
        return found

    def _read(self, start: int, stop: int) -> np.ndarray:
        pieces = []
        for part in self.parts:
            if start < len(part) and stop > 0:
                pieces.append(self._read_part(part, max(start, 0), min(stop, len(part))))
            start, stop = start - len(part), stop - len(part)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _read_part(self, part: h5py.Dataset, start: int, stop: int) -> np.ndarray:
        try:
            if not is_bfloat16(part):
                return part[start:stop]
            return widened(raw_rows(part, start, stop))
        except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise StoreError(f"{self._where} cannot be read: {error}") from error


def _bfloat16() -> h5py.h5t.TypeID:
    """The upper half of a float32, as HDF5 describes it; every HDF5 reads it as float32."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_precision(16)
    kind.set_ebias(127)
    return kind


BFLOAT16 = _bfloat16()


def is_bfloat16(dataset: h5py.Dataset) -> bool:
    """True if its numbers are the upper halves of float32."""
    return dataset.id.get_type().equal(BFLOAT16)


def raw_rows(dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    """Rows as they are stored, (rows, ...); bfloat16 as its bits in uint16."""
    if not is_bfloat16(dataset):
        return dataset[start:stop]
    bits = np.empty((stop - start, *dataset.shape[1:]), np.uint16)
    if bits.size:
        memory, stored = _selection(dataset, start, stop)
        dataset.id.read(memory, stored, bits, mtype=dataset.id.get_type())
    return bits


def write_rows(dataset: h5py.Dataset, start: int, values: np.ndarray) -> None:
    """Write contiguous rows where they are stored; bfloat16 as its bits in uint16."""
    if not len(values):
        return
    memory, stored = _selection(dataset, start, start + len(values))
    mtype = dataset.id.get_type() if is_bfloat16(dataset) else None
    dataset.id.write(memory, stored, values, mtype=mtype)


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16, as its bits in uint16, as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _selection(
    dataset: h5py.Dataset, start: int, stop: int
) -> tuple[h5py.h5s.SpaceID, h5py.h5s.SpaceID]:
    shape = (stop - start, *dataset.shape[1:])
    stored = dataset.id.get_space()
    stored.select_hyperslab((start, *(0 for _ in shape[1:])), shape)
    return h5py.h5s.create_simple(shape), stored
