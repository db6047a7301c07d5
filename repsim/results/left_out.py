"""Layers that a harvest left out, as results, figures and lists of stores say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim.nested import mappings


def layers_of(provenance: Mapping[str, Any], stored: int) -> str:
    """The layers of a store, of how many: ``86 of 114 layers``; the number alone if it has all."""
    left = _record(provenance)
    return f"{stored} of {stored + left['count']} layers" if left else f"{stored} layers"


def names_left_out(provenance: Mapping[str, Any]) -> list[str]:
    """The first of the layers that a store lacks, and how many more there are."""
    left = _record(provenance)
    if not left:
        return []
    first = [str(each) for each in left.get("first", ())][:3]
    more = left["count"] - len(first)
    return [*first, f"and {more} more"] if more > 0 else first


def left_out(provenance: Mapping[str, Any]) -> str:
    """A sentence for each network that a result lacks layers of, as the end of a caption."""
    said = {
        f" Of the {left['of']} layers of {each.get('network', 'a network')}, {left['count']} are "
        "left out, which do not run or have no row for each example."
        for each in mappings(provenance)
        if (left := _record(each))
    }
    return "".join(sorted(said))


def _record(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The record of what is left out; empty without one."""
    left = provenance.get("layers_left_out")
    whole = isinstance(left, Mapping) and all(type(left.get(k)) is int for k in ("count", "of"))
    return dict(left) if whole and isinstance(left, Mapping) else {}
