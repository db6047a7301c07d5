"""Values as the annotations of dataclasses have them, and annotations in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from repsim.errors import UsageError, choices

_NOUNS: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false each"),
    NoneType: ("null", "nulls"),
    np.ndarray: ("a table of numbers", "tables of numbers"),
    dict: ("a dictionary", "dictionaries"),
}


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass by the names of its fields."""
    return get_type_hints(kind)


def in_words(hint: Any, *, several: bool = False) -> str:
    """An annotation in words."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in _NOUNS:
        return _NOUNS[origin][several]
    if origin in (Union, UnionType):
        return " or ".join(in_words(each, several=several) for each in inner)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (list, tuple, Sequence):
        items = in_words(inner[0], several=True)
        return f"lists of {items}" if several else f"a list of {items}"
    return f"{hint.noun}s" if several else f"a {hint.noun}"


def fit(hint: Any, value: Any, called: str) -> Any:
    """``value`` as ``hint`` has it: arrays and their numbers become Python's, and null becomes NaN
    where a number is expected. A class with ``from_record`` reads its own records.

    Raises:
        UsageError: it does not fit; the message begins with ``called``.
        ValueError: rows of an array differ in length, or hold something else than numbers.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return _fit_any(inner, value, called)
    if origin is Literal:
        return _fit_choice(inner, value, called)
    if origin in (list, tuple, Sequence):
        return _fit_list(hint, value, called)
    if origin is np.ndarray:
        _require(isinstance(value, list), hint, value, called)
        return np.array(value, dtype=np.float64)
    if hasattr(hint, "from_record"):
        return value if isinstance(value, hint) else _fit_record(hint, value, called)
    return _fit_one(origin, value, called)


def _fit_any(options: tuple[Any, ...], value: Any, called: str) -> Any:
    """``value`` as the first of the options that it fits."""
    if value is None and NoneType in options:
        return None
    failures = []
    for option in (option for option in options if option is not NoneType):
        try:
            return fit(option, value, called)
        except UsageError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise _Misfit(" or ".join(map(in_words, options)), value, called)


def _fit_choice(options: tuple[Any, ...], value: Any, called: str) -> Any:
    if value not in options:
        raise UsageError(f"{called} is {value!r:.40}; {choices(str(value), map(str, options))}")
    return value


def _fit_list(hint: Any, value: Any, called: str) -> Any:
    listed = isinstance(value, Iterable) and not isinstance(value, (str, Mapping))
    _require(listed, hint, value, called)
    values, (item, *rest) = list(value), get_args(hint)
    if rest and rest != [...] and len(values) != 1 + len(rest):
        raise _Misfit(f"{1 + len(rest)} of {in_words(item, several=True)}", value, called)
    try:
        fitted = [fit(item, each, f"{called}[{k}]") for k, each in enumerate(values)]
    except _Misfit as error:
        raise _Misfit(in_words(hint), error.value, called) from None
    return fitted if get_origin(hint) is list else tuple(fitted)


def _fit_record(kind: Any, value: Any, called: str) -> Any:
    try:
        return kind.from_record(value)
    except UsageError as error:
        raise UsageError(f"{called}: {error}") from None


def _fit_one(kind: Any, value: Any, called: str) -> Any:
    if kind is Any:
        return value
    if kind is float and value is None:
        return math.nan
    fits = isinstance(value, (int, float) if kind is float else kind)
    if kind in (int, float):
        fits = fits and not isinstance(value, bool) and _is_number(value)
    _require(fits, kind, value, called)
    return value


def _is_number(value: float) -> bool:
    """Tell whether a value is NaN or a finite number within what floats hold."""
    try:
        return not math.isinf(value)
    except OverflowError:
        return False


class _Misfit(UsageError):
    """A value that an annotation does not allow."""

    def __init__(self, expected: str, value: Any, called: str) -> None:
        super().__init__(f"{called} holds {value!r:.40}; expected {expected}")
        self.value = value


def _require(holds: bool, hint: Any, value: Any, called: str) -> None:
    if not holds:
        raise _Misfit(in_words(hint), value, called)
