"""The images that a result is about, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

#: Parts of a provenance on training, not on the images behind the numbers.
_TRAINING = ("config", "settings", "train")


def images_of(provenance: Mapping[str, Any]) -> str:
    """Image sets and their parts, such as ``mnist test``; empty if none or many are recorded."""
    found = list(dict.fromkeys(_sets(provenance)))
    return ", ".join(found) if len(found) < 3 else ""


def counted(provenance: Mapping[str, Any], n: int) -> str:
    """The images and their number, as they stand above panels."""
    return ", ".join(filter(None, (images_of(provenance), f"n = {n:,}")))


def common_heading(results: Sequence[Any]) -> str | None:
    """The images and their number, if they are the same for all results."""
    found = {counted(result.provenance, result.n) for result in results}
    return found.pop() if len(found) == 1 else None


def _sets(provenance: Any) -> Iterator[str]:
    if isinstance(provenance, Mapping):
        data, split = provenance.get("data"), provenance.get("split")
        if isinstance(data, str) and isinstance(split, str):
            yield f"{PurePath(data).name} {split}"
        for key, value in provenance.items():
            if key not in _TRAINING:
                yield from _sets(value)
    elif isinstance(provenance, (list, tuple)):
        for each in provenance:
            yield from _sets(each)
