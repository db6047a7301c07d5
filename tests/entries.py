"""Entries of results, with numbers for whatever a test does not care about."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from repsim.results import NullSpaceEntry, ProbeEntry
from repsim.results.records import Record


def number(
    quantity: str, part: str, value: float, group: str = "all", half: float = 0.01, **more: Any
) -> NullSpaceEntry:
    """A number of a report, with an interval of twice ``half`` about it."""
    levels = {"chance": 0.125, "chance_low": 0.1, "chance_high": 0.15}
    ends = {"low": value - half, "high": value + half}
    return NullSpaceEntry(
        quantity=quantity, part=part, group=group, value=value, **{**ends, **levels, **more}
    )


def probed(network: str, layer: str, depth: int, accuracy: float, **more: Any) -> ProbeEntry:
    """A probe of a curve."""
    made: dict[str, Any] = {"features": 8, "solver": "lbfgs", "n_train": 80}
    return ProbeEntry(
        network=network, layer=layer, depth=depth, accuracy=accuracy, **{**made, **more}
    )


def blank(value: Any) -> Any:
    """Records as dictionaries, with None in place of NaN, however deep: for comparison."""
    if isinstance(value, Record):
        return blank(asdict(value))
    if isinstance(value, dict):
        return {key: blank(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(blank(each) for each in value)
    return None if isinstance(value, float) and math.isnan(value) else value
