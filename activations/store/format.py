"""The format of an activation store, an HDF5 file, as docs/format.md describes it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from repsim.reading import Damaged

if TYPE_CHECKING:
    from repsim.data.targets import Target

FORMAT = "repsim-activations"
FORMAT_VERSION = 3

#: Size a chunk of a layer aims at: large enough to read fast, small enough to read in parts.
CHUNK_BYTES = 1 << 20

#: Room for an example id, in UTF-8 bytes.
ID_BYTES = 128

#: Kinds of targets: one class an example, or a row of zeros and ones.
CLASS, BINARY = "class", "binary"


@dataclass(frozen=True)
class LayerSpec:
    """A layer before its rows come.

    Attributes:
        module: class of the module.
        shape: of one row.
        dtype: ``"float32"``, ``"bfloat16"`` or another number type.
        axes: names of the axes, separated by commas; by default those of maps and tokens.
    """

    module: str
    shape: tuple[int, ...]
    dtype: str
    axes: str = ""

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)

    @property
    def row_bytes(self) -> int:
        return self.columns * (2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize)


@dataclass(frozen=True)
class TargetSpec:
    """A target before its rows come.

    Attributes:
        name: such as ``label``.
        columns: of zeros and ones; None for one class an example.
        classes: names of the classes, or of the columns; empty where they are not known.
    """

    name: str
    columns: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``class`` or ``binary``."""
        return CLASS if self.columns is None else BINARY

    @property
    def dtype(self) -> str:
        """Number type in the file."""
        return "int64" if self.columns is None else "uint8"

    @classmethod
    def of(cls, target: Target) -> TargetSpec:
        """The description of a target whose values are known."""
        columns = None if target.is_class else target.values.shape[1]
        return cls(target.name, columns, target.classes)


@dataclass(frozen=True)
class ExampleSpec:
    """The record of each example, beside its id, before the examples come.

    Attributes:
        targets: in order.
        labels: name of the target that readers take as labels; empty for the first.
        inputs: there will be a digest of the inputs of each example.
        order: there will be the place of each example in the data set of the loader.
    """

    targets: tuple[TargetSpec, ...] = ()
    labels: str = ""
    inputs: bool = False
    order: bool = False


#: Examples that have ids and nothing else.
IDS_ALONE = ExampleSpec()


@dataclass(frozen=True)
class ExampleRows:
    """Examples whose rows are written together.

    Attributes:
        ids: names, one each.
        targets: by name, (rows,) or (rows, columns).
        inputs: digests of the inputs, uint64 (rows,), or None.
        order: places in the data set of the loader, int64 (rows,), or None.
    """

    ids: Sequence[str]
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    inputs: np.ndarray | None = None
    order: np.ndarray | None = None


def part_path(path: str | os.PathLike[str]) -> Path:
    """The file of a store until it is whole."""
    return Path(f"{os.fspath(path)}.part")


# Names


def key_of(address: str) -> str:
    """A layer's address as the name of a data set, in which a slash would make a group."""
    return address.replace("/", "\N{DIVISION SLASH}")


def address_of(key: str, item: h5py.HLObject) -> str:
    """The address of a layer or head, or the name of a target.

    Raises:
        Damaged: it says an address that does not belong to its name.
    """
    address = text_of(item, "address") if "address" in item.attrs else key
    if key_of(address) != key:
        raise Damaged(f"{item.name} says that its address is {address!r}")
    return address


def unfit_name(addresses: Iterable[str]) -> str | None:
    """The first address that cannot name a data set, or would name the one of another layer."""
    keys = set()
    for address in addresses:
        if address in ("", ".", "..") or "\0" in address or key_of(address) in keys:
            return address
        if any("\ud800" <= sign <= "\udfff" for sign in address):  # of a file name, no UTF-8
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
