"""Checksums of a store: of each block of rows of a layer, and of all else as its header."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
import xxhash

from repsim.activations.store.blocks import is_bfloat16, raw_rows
from repsim.activations.store.format import BINARY, CLASS, address_of, text_of

#: The name of the checksums in the file, and their function: XXH3 of 64 bits, seed 0.
ALGORITHM = "xxh3-64"
Digest = xxhash.xxh3_64


class Checksum:
    """The checksum of each block of rows of a layer, as the rows come.

    Args:
        sums: (blocks,) uint64 in the file, with attribute ``rows``, the rows of a block.
        dataset: the layer's rows.
        done: how many of them are there already.
    """

    def __init__(self, sums: h5py.Dataset, dataset: h5py.Dataset, done: int) -> None:
        self._sums = sums
        self._n = len(dataset)
        self._block = int(sums.attrs["rows"])
        self.row = done
        self._first = done // self._block
        self._values: list[int] = []
        begun = raw_rows(dataset, self._first * self._block, done)
        self._digest = Digest(np.ascontiguousarray(begun).data)

    def add(self, values: np.ndarray) -> None:
        """Take the next rows, contiguous, as they are stored."""
        at = 0
        while at < len(values):
            stop = min(at + self._block - self.row % self._block, len(values))
            self._digest.update(values[at:stop].data)
            self.row += stop - at
            at = stop
            if self.row % self._block == 0 or self.row == self._n:
                self._values.append(self._digest.intdigest())
                self._digest = Digest()

    def save(self) -> None:
        """Write those that are whole."""
        if self._values:
            values = np.array(self._values, np.uint64)
            self._sums[self._first : self._first + len(values)] = values
            self._first += len(values)
            self._values = []


def rows_checksum(rows: np.ndarray) -> int:
    """The checksum of a block of rows (rows, ...), as ``raw_rows`` reads them."""
    return Digest(np.ascontiguousarray(rows).data).intdigest()


def header_checksum(file: h5py.File) -> int:
    """The checksum of all but the rows of layers."""
    digest = Digest()
    for piece in _header(file):
        digest.update(piece)
    return digest.intdigest()


def _header(file: h5py.File) -> Iterator[bytes | memoryview]:
    """The content of the header, piece by piece."""
    yield _line(text_of(file, "format"), int(file.attrs["format_version"]))
    yield _line(text_of(file, "provenance"))
    for key, dataset in sorted(file["layers"].items()):
        told = (int(dataset.attrs["order"]), text_of(dataset, "module"), text_of(dataset, "axes"))
        yield _line(address_of(key, dataset), *_form(dataset), *told)
    yield from _named_rows(file, "example_ids", "labels")
    if int(file.attrs["format_version"]) >= 3:
        yield from _targets(file)
        yield from _named_rows(file, "inputs", "order")
    for key, head in sorted(file.get("heads", {}).items()):
        yield _line(address_of(key, head), text_of(head, "input"))
        for name in ("weight", "bias"):
            if name in head:
                yield _line(name, *_form(head[name]))
                yield np.ascontiguousarray(head[name][:]).data


def _named_rows(file: h5py.File, *names: str) -> Iterator[bytes | memoryview]:
    """Data sets of the root that are there, each after a line about it."""
    for name in names:
        if name in file:
            yield _line(name, *_form(file[name]))
            yield np.ascontiguousarray(file[name][:]).data


def _targets(file: h5py.File) -> Iterator[bytes | memoryview]:
    group = file.get("targets", {})
    if group:
        yield _line("targets", text_of(group, "labels"))
    for key, target in sorted(group.items()):
        if text_of(target, "kind") not in (CLASS, BINARY):
            continue
        told = (int(target.attrs["order"]), text_of(target, "kind"), text_of(target, "classes"))
        yield _line(address_of(key, target), *_form(target), *told)
        yield np.ascontiguousarray(target[:]).data


def _line(*fields: object) -> bytes:
    return ("\t".join(map(str, fields)) + "\n").encode(errors="surrogateescape")


def _form(dataset: h5py.Dataset) -> tuple[str, str]:
    """Number type and shape, as in ``("<f4", "10,3")``."""
    kind = "bfloat16" if is_bfloat16(dataset) else dataset.dtype.str
    return kind, ",".join(map(str, dataset.shape))
