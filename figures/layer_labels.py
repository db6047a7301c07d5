"""Layer addresses on an axis: labels that fit, and the groups they fall into."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from repsim.figures.artists import rc

if TYPE_CHECKING:
    from matplotlib.axis import Axis


def group_of(layer: str) -> str:
    """The part of an address before its first dot: ``bg1`` of ``bg1.b0.even``."""
    return layer.split(".", 1)[0]


def spans(layers: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of layers of the same group as (group, first, last + 1)."""
    found, start = [], 0
    for group, members in groupby(layers, key=group_of):
        stop = start + len(list(members))
        found.append((group, start, stop))
        start = stop
    return found


def boundaries(layers: Sequence[str]) -> list[int]:
    """Positions between two groups, one with several layers: i lies before layer i."""
    found = spans(layers)
    several = [stop - start > 1 for _, start, stop in found]
    return [found[k][1] for k in range(1, len(found)) if several[k - 1] or several[k]]


def label_layers(axis: Axis, layers: Sequence[str], *, inches: float, rotation: float = 0) -> None:
    """Ticks at positions 0, 1, ...: every layer, or the middle of every group if they are many.

    ``inches`` is the length of the axis; labels of every layer must fit beside each other.
    """
    fitting = 72 * inches / (1.15 * rc("xtick.labelsize"))
    if len(layers) <= fitting:
        axis.set_ticks(range(len(layers)), labels=list(layers), rotation=rotation)
        return
    middles = [((start + stop - 1) / 2, group) for group, start, stop in spans(layers)]
    kept: list[tuple[float, str]] = []
    for at, group in middles:
        if not kept or at - kept[-1][0] >= len(layers) / fitting:
            kept.append((at, group))
    axis.set_ticks([at for at, _ in kept], labels=[g for _, g in kept], rotation=rotation)
