"""The images that a result is about: their sets, their parts, and their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

#: Parts of a provenance on training, not on the images behind the numbers.
_TRAINING = ("config", "settings", "train")


class _Shown(NamedTuple):
    """A part of a data set that a record has.

    Attributes:
        name: such as ``photos test``.
        examples: of the part.
        whole: examples of all parts; 0 where that was not recorded.
    """

    name: str
    examples: int
    whole: int


def images_of(provenance: Mapping[str, Any]) -> str:
    """Image sets and their parts, such as ``mnist test``; empty if none or many are recorded."""
    found = list(dict.fromkeys(each.name for each in _shown(provenance)))
    return ", ".join(found) if len(found) < 3 else ""


def numbered(provenance: Mapping[str, Any], n: int) -> str:
    """The number of rows, of how many: ``n = 12 of 60``, or ``n = 2,700 (12 of 60)`` by position.

    The number alone where the record does not say, or says it of several sets.
    """
    found = list(_shown(provenance))
    whole = {each.whole for each in found}
    if len(whole) != 1 or not all(whole):
        return f"n = {n:,}"
    of = f"of {whole.pop():,}"
    examples = max(each.examples for each in found)
    return f"n = {n:,} {of}" if n <= examples else f"n = {n:,} ({examples:,} {of})"


def counted(provenance: Mapping[str, Any], n: int) -> str:
    """The images and their number, as they stand above panels: ``photos test, n = 12 of 60``."""
    return ", ".join(filter(None, (images_of(provenance), numbered(provenance, n))))


def told(provenance: Mapping[str, Any], n: int) -> str:
    """The same as it stands in the title of a table: ``n = 12 of 60, photos test``."""
    return ", ".join(filter(None, (numbered(provenance, n), images_of(provenance))))


def told_apart(provenance: Mapping[str, Any], n_train: int, n_test: int) -> str:
    """Both parts of probes: ``n = 48 + 12 of 60, photos train and photos test``.

    ``provenance`` has the records of both under ``train`` and ``test``, or several such pairs.
    """
    parts = [list(_under(provenance, key)) for key in ("train", "test")]
    whole = {each.whole for part in parts for each in part}
    sizes = [max((each.examples for each in part), default=0) for part in parts]
    known = len(whole) == 1 and n_train <= sizes[0] and n_test <= sizes[1]
    of = f" of {whole.pop():,}" if known else ""
    names = [name for part in parts for name in dict.fromkeys(each.name for each in part)]
    images = f", {' and '.join(names)}" if len(names) == 2 else ""
    return f"n = {n_train:,} + {n_test:,}{of}{images}"


def _under(provenance: Any, key: str) -> Iterator[_Shown]:
    """The parts of data sets whose records lie under a key, at any depth."""
    if isinstance(provenance, Mapping):
        for name, value in provenance.items():
            if name == key and isinstance(value, Mapping):
                yield from _shown(value)
            else:
                yield from _under(value, key)


def common_heading(results: Sequence[Any]) -> str | None:
    """The images and their number, if they are the same for all results."""
    found = {counted(result.provenance, result.n) for result in results}
    return found.pop() if len(found) == 1 else None


def _shown(provenance: Any) -> Iterator[_Shown]:
    if isinstance(provenance, Mapping):
        data, split = provenance.get("data"), provenance.get("split")
        if isinstance(data, str) and isinstance(split, str):
            part = provenance.get("part", {})
            name = f"{PurePath(data).name} {split}"
            yield _Shown(name, part.get("examples", 0), part.get("whole", 0))
        for key, value in provenance.items():
            if key not in _TRAINING:
                yield from _shown(value)
    elif isinstance(provenance, (list, tuple)):
        for each in provenance:
            yield from _shown(each)
