"""Shares of images that a discriminator calls real: as it is reported, and as it was trained.

Held against the same network when it normalises each batch by its own statistics, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from repsim.nullspace.hits import difference_entry, share_entry
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
        entries += [
            share_entry("called_real", "full", group, now, note=_NOTE),
            share_entry("called_real_by_batch", "full", group, then, note=_NOTE),
            difference_entry("called_real_difference", "full", group, now, then, note=_NOTE),
        ]
    return entries
