"""Short texts of objects that hold much: their fields, each in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

#: Signs that the text of one value takes at most.
_LONGEST = 60

#: Items of a sequence up to which they are written out.
_FEW = 4


def short_repr(value: Any) -> str:
    """The name and fields of a dataclass: arrays by their shape, long sequences by their length."""
    parts = (f"{f.name}={_short(getattr(value, f.name))}" for f in fields(value) if f.repr)
    return f"{type(value).__name__}({', '.join(parts)})"


class ShortRepr:
    """A base whose subclasses, dataclasses as a rule, have ``short_repr`` for their ``repr``."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):  # else the dataclass would write every field whole
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return short_repr(self)


def _short(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape):
        return f"<{' x '.join(map(str, shape))} {str(value.dtype).removeprefix('torch.')}>"
    if isinstance(value, (list, tuple, Mapping, set, frozenset)) and len(value) > _FEW:
        return f"<{len(value):,} {'keys' if isinstance(value, Mapping) else 'items'}>"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
