"""Shares of images that a discriminator calls real: as it is reported, and as it was trained.

Held against the same network when it normalises each batch by its own statistics, as in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from repsim.confidence import paired_difference, wilson
from repsim.results import NullSpaceEntry

#: The reason why there is no chance level.
_NOTE = "no chance: of the network alone"


def calls(found: Mapping[str, tuple[Tensor, Tensor]]) -> list[NullSpaceEntry]:
    """The shares of images that a discriminator calls real, and that it called real in training.

    Args:
        found: by group of images, ``all`` for real ones and ``generated``: logits (n,) of the
            images as they are reported, and with each batch normalised by its own statistics.

    Returns:
        Entries of part ``full``: ``called_real``; ``called_real_by_batch``, as in training; and
        ``called_real_difference``, the first less the second.
    """
    entries = []
    for group, (reported, by_batch) in found.items():
        now, then = reported > 0, by_batch > 0
        n = len(now)
        for quantity, hits in (("called_real", now), ("called_real_by_batch", then)):
            value = float(hits.double().mean())
            entries.append(_entry(quantity, group, value, wilson(value, n)))
        won, lost = int((now & ~then).sum()), int((~now & then).sum())
        ends = paired_difference(won, lost, n)
        entries.append(_entry("called_real_difference", group, (won - lost) / n, ends))
    return entries


def _entry(quantity: str, group: str, value: float, ends: tuple[float, float]) -> NullSpaceEntry:
    return NullSpaceEntry(
        quantity=quantity,
        part="full",
        group=group,
        value=value,
        low=ends[0],
        high=ends[1],
        chance=math.nan,
        chance_low=math.nan,
        chance_high=math.nan,
        note=_NOTE,
    )
