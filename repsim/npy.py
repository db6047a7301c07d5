"""Arrays in files of NumPy, as long as their headers say, or refused."""

from __future__ import annotations

import math
import os
import tokenize
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from repsim.errors import RepsimWarning, few
from repsim.reading import reason_of
from repsim.space import check_claim, check_memory

Header = tuple[tuple[int, ...], bool, "np.dtype[Any]"]  # shape, Fortran order, type


def read_header(stream: IO[bytes]) -> Header:
    """Read the header of an array; the stream is left where its numbers begin.

    Raises:
        ValueError: no such header.
    """
    first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    try:
        return read(stream)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header is damaged: {reason_of(error)}") from None


def open_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in a ``.npy`` file, mapped into memory.

    Raises:
        OSError: a file that cannot be opened.
        ValueError: another kind of file, Python objects, or more or fewer bytes than its header
            says.
    """
    with open(path, "rb") as stream:
        _check_length(stream, os.fstat(stream.fileno()).st_size)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def check_members(archive: zipfile.ZipFile) -> None:
    """Check the sizes that the members of an archive claim.

    Raises:
        ValueError: larger than what is stored of them can be.
        StoreError: together they do not fit into memory.
    """
    size = Path(str(archive.filename)).stat().st_size
    for info in archive.infolist():
        check_claim(
            f"member {info.filename!r}",
            info.file_size,
            min(info.compress_size, size),
            compressed=info.compress_type != zipfile.ZIP_STORED,
        )
    check_memory(str(archive.filename), sum(info.file_size for info in archive.infolist()))


def member_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the arrays in an ``.npz`` file, in order, without ``.npy``.

    Raises:
        ValueError: two arrays of one name, or one of another length than its header says.

    Warns:
        RepsimWarning: members that are no arrays, such as a text, which are left out.
    """
    names: list[str] = []
    other = [each.filename for each in archive.infolist() if not each.filename.endswith(".npy")]
    if other:
        warnings.warn(
            f"{archive.filename}: {few(list(map(repr, other)))} left out, as no array "
            "(a name that ends in .npy)",
            RepsimWarning,
            stacklevel=3,
        )
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename:
            continue
        if name in names:
            raise ValueError(f"it has two arrays called {name!r}")
        with archive.open(info) as stream:
            try:
                _check_length(stream, info.file_size)
            except ValueError as error:
                raise ValueError(f"array {name!r}: {error}") from None
        names.append(name)
    return names


def load_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file, in memory.

    Raises:
        OSError, zipfile.BadZipFile: a file that cannot be opened.
        ValueError: as of ``member_names``, or Python objects.
    """
    with zipfile.ZipFile(Path(path)) as archive:
        check_members(archive)
        names = member_names(archive)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names}


def _check_length(stream: IO[bytes], found: int) -> None:
    """Raise ``ValueError`` unless an array of ``found`` bytes is as long as its header says."""
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:  # a pickle, of any length, which np.load refuses
        return
    expected = stream.tell() + math.prod(shape) * dtype.itemsize
    if found != expected:
        kind = "cut short" if found < expected else "longer than one array"
        raise ValueError(
            f"it is {kind}: its header says {expected:,} bytes, it has {found:,}; save it again"
        )
