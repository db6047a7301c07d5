"""Entries about examples that are hits: of probes that are right, of images called real."""

from __future__ import annotations

import math

from torch import Tensor

from repsim.confidence import paired_difference, wilson
from repsim.results import NullSpaceEntry


def share_entry(
    quantity: str, part: str, group: str, hits: Tensor, chance: float = math.nan, note: str = ""
) -> NullSpaceEntry:
    """The share of examples that are hits (n,), with Wilson's interval."""
    value = float(hits.double().mean())
    return exact_entry(quantity, part, group, value, wilson(value, len(hits)), chance, note)


def difference_entry(
    quantity: str,
    part: str,
    group: str,
    first: Tensor,
    second: Tensor,
    chance: float = math.nan,
    note: str = "",
) -> NullSpaceEntry:
    """The share of first hits less the share of second ones, on the same examples."""
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    ends = paired_difference(won, lost, len(first))
    return exact_entry(quantity, part, group, (won - lost) / len(first), ends, chance, note)


def exact_entry(
    quantity: str,
    part: str,
    group: str,
    value: float,
    ends: tuple[float, float],
    chance: float,
    note: str = "",
) -> NullSpaceEntry:
    """An entry with a chance that is known, and does not vary; NaN where there is none."""
    return NullSpaceEntry(
        quantity=quantity,
        part=part,
        group=group,
        value=value,
        low=ends[0],
        high=ends[1],
        chance=chance,
        chance_low=chance,
        chance_high=chance,
        note=note,
    )
