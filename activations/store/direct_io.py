"""Writing past the system's cache of files.

A harvest is written once, and is often larger than memory. Through the cache each page is
allocated, copied to and written back later, all of it work for the processors that run the network;
written directly, a disk takes the rows from where they lie.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

#: Addresses, offsets and sizes in a direct write are multiples of this.
ALIGNMENT = 4096

#: Below this a write goes through the cache.
SMALLEST = 1 << 16


class DirectFile:
    """Rows of data sets, written to where HDF5 has given their chunks a place.

    The data sets must be chunked by rows, all of their chunks allocated, and without filters. HDF5
    must have no cache of chunks for the file.

    Args:
        path: of the file, which HDF5 has open for writing.

    Raises:
        OSError: the system, or the file system, has no direct writing.
    """

    def __init__(self, path: Path) -> None:
        if not hasattr(os, "O_DIRECT") or not hasattr(h5py.h5d.DatasetID, "chunk_iter"):
            raise OSError("this system, or its HDF5, has no direct writing")
        self._scratch = np.frombuffer(mmap.mmap(-1, 2 * ALIGNMENT), np.uint8)  # lies on a page
        self._places: dict[str, np.ndarray] = {}
        self._direct = os.open(path, os.O_WRONLY | os.O_DIRECT)
        try:
            self._cached = os.open(path, os.O_WRONLY)
        except OSError:
            os.close(self._direct)
            raise

    def write(self, dataset: h5py.Dataset, start: int, values: np.ndarray) -> Iterator[np.ndarray]:
        """Write rows (rows, ...) from row ``start``; gives them, laid out, in pieces of a chunk.

        A piece is to be used before the next is taken.

        Args:
            dataset: (n, ...).
            start: the first row to write.
            values: (rows, ...) of the type and the byte order that are stored; bfloat16 as its bits
                in uint16.

        Raises:
            OSError: the disk is full, or fails.
        """
        chunk, places, at = dataset.chunks[0], self._places_of(dataset), 0
        while at < len(values):
            row = start + at
            count = min(chunk - row % chunk, len(values) - at)
            rows = values[at : at + count]
            offset = int(places[row // chunk]) + row % chunk * (rows.nbytes // count)
            piece = self._laid_out(rows, offset % ALIGNMENT)
            self._put(piece, offset)
            yield piece
            at += count

    def close(self) -> None:
        os.close(self._direct)
        os.close(self._cached)

    def _places_of(self, dataset: h5py.Dataset) -> np.ndarray:
        """The offset of each chunk of a data set in the file, (chunks,) int64."""
        if dataset.name not in self._places:
            # All at once: HDF5 finds a single one by looking at those before it. What it counts the
            # places of chunks in depends on its version, their order does not.
            found: list[tuple[int, int]] = []
            dataset.id.chunk_iter(lambda at: found.append((at.chunk_offset[0], at.byte_offset)))
            if len(found) != -(-len(dataset) // dataset.chunks[0]):
                raise OSError(f"not all chunks of {dataset.name} have a place in the file")
            self._places[dataset.name] = np.array([place for _, place in sorted(found)], np.int64)
        return self._places[dataset.name]

    def _laid_out(self, rows: np.ndarray, phase: int) -> np.ndarray:
        """``rows`` contiguous, at an address that is ``phase`` beyond an aligned one."""
        if rows.flags.c_contiguous and rows.ctypes.data % ALIGNMENT == phase:
            return rows
        need = rows.nbytes + 2 * ALIGNMENT
        if len(self._scratch) < need:
            self._scratch = np.frombuffer(mmap.mmap(-1, need), np.uint8)
        piece = self._scratch[phase : phase + rows.nbytes].view(rows.dtype).reshape(rows.shape)
        np.copyto(piece, rows)
        return piece

    def _put(self, piece: np.ndarray, offset: int) -> None:
        data = piece.reshape(-1).view(np.uint8).data
        head = -offset % ALIGNMENT
        tail = (len(data) - head) % ALIGNMENT
        if len(data) - head - tail < SMALLEST:
            _write(self._cached, data, offset)
            return
        # Pages at the ends are shared with the rows before and after: they go through the cache.
        _write(self._cached, data[:head], offset)
        self._put_pages(data[head : len(data) - tail], offset + head)
        _write(self._cached, data[len(data) - tail :], offset + len(data) - tail)

    def _put_pages(self, data: memoryview, offset: int) -> None:
        try:
            _write(self._direct, data, offset)
        except OSError as error:
            # Some file systems let a file be opened so, but want larger pages, or write half a one.
            if error.errno != errno.EINVAL:
                raise
            _write(self._cached, data, offset)


def open_direct(path: Path) -> DirectFile | None:
    """A ``DirectFile``; None where the system or the file system has no such thing."""
    try:
        return DirectFile(path)
    except OSError:
        return None


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done
