"""Records within records, as JSON has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """A mapping, and all mappings within it."""
    if isinstance(value, Mapping):
        yield value
    inside = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, (Mapping, list, tuple)):
        for each in inside:
            yield from mappings(each)
