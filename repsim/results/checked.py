"""Checked records: fitted to their annotations wherever they are made, by a caller or from a file.

A subclass of ``Checked`` names its fields and their types; from these follow conversion (lists and
arrays become tuples, null becomes NaN where a number is expected), the messages on what does not
fit, reading from JSON and writing to it. ``check`` states what annotations cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from repsim.errors import UsageError, choices
from repsim.results.records import Record

_NOUNS: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false each"),
    NoneType: ("null", "nulls"),
}


@dataclass(frozen=True)
class Checked(Record):
    """Base of records whose fields are checked and converted.

    Raises:
        UsageError: a field that does not fit its annotation, or that ``check`` refuses.
    """

    #: What a message calls a record of this class, before its label or title.
    noun: ClassVar[str] = "record"

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, hint in _hints(kind).items():
            fitted = _fit(hint, getattr(self, name), f"{self.called}: {name}")
            object.__setattr__(self, name, fitted)
        self.check()

    @property
    def called(self) -> str:
        """The record in a message, such as ``line 'SimCLR'``."""
        name = getattr(self, "label", getattr(self, "title", None))
        return self.noun if name is None else f"{self.noun} {name!r:.40}"

    def check(self) -> None:
        """Refuse, by ``require``, what the annotations allow and the record does not."""

    def require(self, holds: bool, expected: str) -> None:
        """Raise ``UsageError`` unless ``holds``."""
        if not holds:
            raise UsageError(f"{self.called} is not whole; expected {expected}")

    def record(self) -> dict[str, Any]:
        """The fields as JSON values; NaN stays, and is written as null."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_record(cls, record: Any) -> Any:
        """The object of a JSON record. Fields that are absent have their defaults; fields of a
        later version are left out.

        Raises:
            UsageError: no record, or one that is not whole.
        """
        if not isinstance(record, Mapping):
            raise UsageError(f"{record!r:.40} is no {cls.noun}; expected a record")
        for f in fields(cls):
            if f.name not in record and f.default is MISSING and f.default_factory is MISSING:
                raise UsageError(f"a {cls.noun} has no {f.name}; expected {_noun(cls, f.name)}")
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record})


def is_finite(values: Iterable[Any]) -> bool:
    """Tell whether no value is NaN."""
    return not any(math.isnan(value) for value in values)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _noun(cls: Any, name: str) -> str:
    return _said(_hints(cls)[name])


def _said(hint: Any, *, several: bool = False) -> str:
    """An annotation in words."""
    if hint in _NOUNS:
        return _NOUNS[hint][several]
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_said(each, several=several) for each in inner)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (tuple, Sequence):
        items = _said(inner[0], several=True)
        return f"lists of {items}" if several else f"a list of {items}"
    return f"{hint.noun}s" if several else f"a {hint.noun}"


def _fit(hint: Any, value: Any, what: str) -> Any:
    """``value`` as ``hint`` has it; arrays and their numbers are converted."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _fit_any(inner, value, what)
    if origin is Literal:
        if value not in inner:
            raise UsageError(f"{what} is {value!r:.40}; {choices(str(value), map(str, inner))}")
        return value
    if origin in (tuple, Sequence):
        return _fit_list(hint, value, what)
    if isinstance(hint, type) and issubclass(hint, Checked):
        return value if isinstance(value, hint) else _nested(hint, value, what)
    return _fit_one(hint, value, what)


def _fit_any(options: tuple[Any, ...], value: Any, what: str) -> Any:
    """``value`` as the first of the options that it fits."""
    if value is None and NoneType in options:
        return None
    failures = []
    for option in (option for option in options if option is not NoneType):
        try:
            return _fit(option, value, what)
        except UsageError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise _misfit(" or ".join(map(_said, options)), value, what)


def _fit_list(hint: Any, value: Any, what: str) -> tuple[Any, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise _misfit(_said(hint), value, what)
    item, *rest = get_args(hint)
    values = tuple(value)
    if rest and rest != [...] and len(values) != 1 + len(rest):
        raise _misfit(f"{1 + len(rest)} of {_said(item, several=True)}", value, what)
    try:
        return tuple(_fit(item, each, what) for each in values)
    except _Misfit as error:
        raise _misfit(_said(hint), error.value, what) from None


def _fit_one(hint: Any, value: Any, what: str) -> Any:
    if hint is float and value is None:
        return math.nan
    kinds = {float: (int, float)}.get(hint, hint)
    fits = isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))
    if not fits or (hint in (int, float) and not _is_number(value)):
        raise _misfit(_said(hint), value, what)
    return value


def _is_number(value: float) -> bool:
    """Tell whether a value is NaN or a finite number within what floats hold."""
    try:
        return not math.isinf(value)
    except OverflowError:
        return False


def _nested(kind: type[Checked], value: Any, what: str) -> Any:
    try:
        return kind.from_record(value)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None


class _Misfit(UsageError):
    """A value that an annotation does not allow."""

    def __init__(self, message: str, value: Any) -> None:
        super().__init__(message)
        self.value = value


def _misfit(expected: str, value: Any, what: str) -> _Misfit:
    return _Misfit(f"{what} holds {value!r:.40}; expected {expected}", value)


def _plain(value: Any) -> Any:
    if isinstance(value, Checked):
        return value.record()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
