"""Records: the small frozen dataclasses that results consist of, as JSON values and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

#: Metadata of a field that older files lack; they mean its default.
ADDED = {"optional": True}

#: Metadata of a field that files leave out while it is missing: None, NaN or (). A name in files
#: that is no name in Python is added as ``key``.
SPARSE = {"optional": True, "sparse": True}


@dataclass(frozen=True)
class Record:
    """Base of the records within a result, such as an entry of a probe curve."""

    __iter__: ClassVar[None] = None  # Python would else iterate by __getitem__

    def __getitem__(self, key: str) -> Any:
        """The value of a key in files, as in the dictionaries that records once were."""
        names = {key_of(f): f.name for f in fields(self)}
        kind, name = type(self).__name__, names[key]
        warnings.warn(
            f"{kind}[{key!r}] is now {kind}.{name}; the old form goes with the next release",
            FutureWarning,
            stacklevel=2,
        )
        return getattr(self, name)


# --- to JSON


def plain(value: Any) -> Any:
    """JSON values of arrays, tuples, records and numbers; NaN and infinity become None."""
    if isinstance(value, Record):
        return {key_of(f): plain(getattr(value, f.name)) for f in fields(value) if _kept(f, value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def key_of(f: Field[Any]) -> str:
    """The name of a field in files."""
    return f.metadata.get("key", f.name)


def _kept(f: Field[Any], record: Record) -> bool:
    return not (f.metadata.get("sparse") and _is_missing(getattr(record, f.name)))


def _is_missing(value: Any) -> bool:
    return value is None or value == () or (isinstance(value, float) and math.isnan(value))


# --- from JSON


def read_fields(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass by name, from JSON values; other keys are passed over.

    Raises:
        KeyError: a field is absent, and not ``ADDED`` or ``SPARSE``.
        TypeError: a value is of another type than its field.
        ValueError: rows of an array differ in length, or hold something else than numbers.
    """
    types = _types(kind)
    return {
        f.name: read(types[f.name], content[key_of(f)], key_of(f))
        for f in fields(kind)
        if key_of(f) in content or not f.metadata.get("optional")
    }


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def read(kind: Any, value: Any, name: str) -> Any:
    """A JSON value as an annotated type; None is NaN where a float is expected.

    Raises:
        KeyError, TypeError, ValueError: see ``read_fields``; the message has ``name``.
    """
    outer, inner = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value
    if outer in (Union, UnionType):
        return _read_either(inner, value, name)
    if outer is float and value is None:
        return math.nan
    if outer is np.ndarray:
        _require(isinstance(value, list), name, value)
        return np.array(value, dtype=np.float64)
    if outer in (list, tuple):
        _require(isinstance(value, list), name, value)
        return outer(read(inner[0], each, f"{name}[{k}]") for k, each in enumerate(value))
    if isinstance(outer, type) and issubclass(outer, Record):
        _require(isinstance(value, Mapping), name, value)
        return outer(**read_fields(outer, value))
    _require(value in inner if outer is Literal else _fits(outer, value), name, value)
    return value


def _read_either(kinds: Sequence[Any], value: Any, name: str) -> Any:
    """A value as the first of several types that it fits."""
    if value is None and NoneType in kinds:
        return None
    for kind in (each for each in kinds if each is not NoneType):
        try:
            return read(kind, value, name)
        except TypeError as error:
            failure = error
    raise failure


def _fits(kind: type, value: Any) -> bool:
    return isinstance(value, (int, float) if kind is float else kind)


def _require(holds: bool, name: str, value: Any) -> None:
    if not holds:
        raise TypeError(f"{name} is {value!r:.40}")
