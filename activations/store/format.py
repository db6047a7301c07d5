"""What an activation store is: one HDF5 file, as docs/format.md describes it.

Reading (``store``) and writing (``writing``) agree on what is here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import xxhash

from repsim.activations.store.blocks import is_bfloat16

FORMAT = "repsim-activations"
FORMAT_VERSION = 2

#: Size a chunk of a layer aims at: large enough to read fast, small enough to read in parts.
CHUNK_BYTES = 1 << 20

#: Room for an example id, in UTF-8 bytes.
ID_BYTES = 128

#: What the checksums are called in the file, and what computes them: XXH3 of 64 bits, seed 0.
ALGORITHM = "xxh3-64"
Digest = xxhash.xxh3_64


@dataclass(frozen=True)
class LayerSpec:
    """What a store is told of a layer before its rows come.

    Attributes:
        module: class of the module.
        shape: of one row.
        dtype: ``"float32"``, ``"bfloat16"`` or another number type.
    """

    module: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        return self.columns * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


class Damaged(Exception):
    """What is wrong with a file; whoever catches it says which file."""


#: What h5py and the parsing of a damaged or hostile file raise.
DAMAGE = (
    Damaged,
    LookupError,
    ArithmeticError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    MemoryError,
)


def part_path(path: str | os.PathLike[str]) -> Path:
    """Where a store lies until it is whole."""
    return Path(f"{os.fspath(path)}.part")


# Names


def key_of(address: str) -> str:
    """A layer's address as the name of a data set, in which a slash would make a group."""
    return address.replace("/", "\N{DIVISION SLASH}")


def address_of(key: str, item: h5py.HLObject) -> str:
    """What a layer, or a head, is called.

    Raises:
        Damaged: it says an address that does not belong to its name.
    """
    address = text_of(item, "address") if "address" in item.attrs else key
    if key_of(address) != key:
        raise Damaged(f"{item.name} says that its address is {address!r}")
    return address


def unfit_name(addresses: Iterable[str]) -> str | None:
    """The first address that cannot name a data set, or would name that of another layer."""
    keys = set()
    for address in addresses:
        if address in ("", ".", "..") or "\0" in address or key_of(address) in keys:
            return address
        keys.add(key_of(address))
    return None


def text_of(item: h5py.HLObject, name: str) -> str:
    """An attribute that is text; fixed-length strings of other libraries come as bytes.

    Raises:
        Damaged: it is something else.
        KeyError: it is not there.
    """
    value = item.attrs[name]
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise Damaged(f"attribute {name!r} of {item.name} is no text")
    return value


# Checksums


def rows_checksum(rows: np.ndarray) -> int:
    """That of a block of rows (rows, ...), as ``raw_rows`` reads them."""
    return Digest(np.ascontiguousarray(rows).data).intdigest()


def header_checksum(file: h5py.File) -> int:
    """That of all that is not a layer's rows."""
    digest = Digest()
    for piece in _header(file):
        digest.update(piece)
    return digest.intdigest()


def _header(file: h5py.File) -> Iterator[bytes | memoryview]:
    """What the header's checksum is of, piece by piece."""
    yield _line(text_of(file, "format"), int(file.attrs["format_version"]))
    yield _line(text_of(file, "provenance"))
    for key, dataset in sorted(file["layers"].items()):
        told = (int(dataset.attrs["order"]), text_of(dataset, "module"), text_of(dataset, "axes"))
        yield _line(address_of(key, dataset), *_form(dataset), *told)
    for name in ("example_ids", "labels"):
        if name in file:
            yield _line(name, *_form(file[name]))
            yield np.ascontiguousarray(file[name][:]).data
    for key, head in sorted(file.get("heads", {}).items()):
        yield _line(address_of(key, head), text_of(head, "input"))
        for name in ("weight", "bias"):
            if name in head:
                yield _line(name, *_form(head[name]))
                yield np.ascontiguousarray(head[name][:]).data


def _line(*fields: object) -> bytes:
    return ("\t".join(map(str, fields)) + "\n").encode(errors="surrogateescape")


def _form(dataset: h5py.Dataset) -> tuple[str, str]:
    """Number type and shape, as in ``("<f4", "10,3")``."""
    kind = "bfloat16" if is_bfloat16(dataset) else dataset.dtype.str
    return kind, ",".join(map(str, dataset.shape))
