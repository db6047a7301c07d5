"""Files that may be damaged, or made to harm: what they raise becomes one error that names them."""

from __future__ import annotations

import csv
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repsim.errors import StoreError
from repsim.visible import one_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Damaged(Exception):
    """The damage of a file; whoever catches it says which file."""


#: Errors of reading and parsing a damaged or hostile file.
DAMAGE = (
    Damaged,
    LookupError,
    ArithmeticError,
    OSError,
    EOFError,
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    MemoryError,
    AssertionError,
    csv.Error,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def damage(path: str | os.PathLike[str], kind: type[Exception] = StoreError) -> Iterator[None]:
    """Whatever a damaged file raises in the block, as an error of ``kind``, by default a
    ``StoreError``.

    Errors of repsim itself go through: they say more.
    """
    try:
        yield
    except DAMAGE as error:
        raise kind(f"{os.fspath(path)} is damaged: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """The message of an error in a few words; the name of its class where it has none."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it has no {one_line(str(error), 80)}"
    return one_line(str(error), 300) or type(error).__name__


@contextmanager
def _too_much() -> Iterator[None]:
    """Nesting that is too deep, and a want of memory, as the ``ValueError`` of a text."""
    try:
        yield
    except (RecursionError, MemoryError) as error:
        raise ValueError(reason_of(error)) from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, or nested too deeply, or more than memory holds.
    """
    with _too_much():
        return json.loads(text)


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: it cannot be opened.
        ValueError: as of ``parse_json``, or no UTF-8.
    """
    return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_toml(text: str) -> dict[str, Any]:
    """The keys of a TOML text.

    Raises:
        ValueError: not TOML, or nested too deeply, or more than memory holds.
    """
    with _too_much():
        return tomllib.loads(text)
