"""Records: the small frozen dataclasses that results consist of, as JSON values and back.

Their annotations say what files may hold, and messages what does not fit. A ``Checked`` record is
fitted to them wherever it is made, by a caller or from a file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from repsim.errors import UsageError
from repsim.results.annotations import fit, hints_of, in_words
from repsim.short import ShortRepr

#: Metadata of a field that files must have although it has a default.
REQUIRED = {"required": True}

#: Metadata of a field that files leave out while it is missing: None, NaN or (). A name in files
#: that is no name in Python is added as ``key``.
SPARSE = {"sparse": True}


@dataclass(frozen=True)
class Record(ShortRepr):
    """Base of the records within a result, such as an entry of a probe curve.

    Attributes:
        noun: word for a record of this class in messages.
    """

    noun: ClassVar[str] = "record"
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

    def record(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {key_of(f): plain(getattr(self, f.name)) for f in fields(self) if _kept(f, self)}

    @classmethod
    def from_record(cls, record: Any) -> Any:
        """The object of a JSON record; it raises as ``read_fields`` does."""
        return cls(**read_fields(cls, record))


@dataclass(frozen=True)
class Checked(Record):
    """Base of records whose fields are checked, and converted, wherever they are made.

    ``check`` states what annotations cannot.

    Raises:
        UsageError: a field that does not fit its annotation, or that ``check`` refuses.
    """

    def __post_init__(self) -> None:
        kind: Any = type(self)
        hints = hints_of(kind)
        for f in fields(self):
            fitted = fit(hints[f.name], getattr(self, f.name), f"{self.called}: {f.name}")
            object.__setattr__(self, f.name, fitted)
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

    @classmethod
    def from_record(cls, record: Any) -> Any:
        return cls(**_present(cls, record))  # which fits them


def is_finite(values: Iterable[Any]) -> bool:
    """Tell whether no value is NaN."""
    return not any(math.isnan(value) for value in values)


# --- to JSON


def plain(value: Any) -> Any:
    """JSON values of arrays, tuples, records and numbers; NaN and infinity become None."""
    if isinstance(value, Record):
        return value.record()
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
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


def read_fields(kind: Any, content: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, from a JSON record.

    Fields that are absent have their defaults; other keys, as of a later version, are passed over.

    Raises:
        UsageError: no record, a field is absent that has no default or is ``REQUIRED``, or a value
            does not fit its field.
        ValueError: rows of an array differ in length, or hold something else than numbers.
    """
    hints = hints_of(kind)
    return {n: fit(hints[n], value, n) for n, value in _present(kind, content).items()}


def _present(kind: Any, content: Any) -> dict[str, Any]:
    """The values of a JSON record by the names of their fields."""
    if not isinstance(content, Mapping):
        raise UsageError(f"{content!r:.40} is no {kind.noun}; expected a record")
    for f in fields(kind):
        if key_of(f) not in content and _is_required(f):
            expected = in_words(hints_of(kind)[f.name])
            raise UsageError(f"a {kind.noun} has no {key_of(f)}; expected {expected}")
    return {f.name: content[key_of(f)] for f in fields(kind) if key_of(f) in content}


def _is_required(f: Field[Any]) -> bool:
    no_default = f.default is MISSING and f.default_factory is MISSING
    return no_default or f.metadata.get("required", False)
