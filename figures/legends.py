"""Legends: one of a whole figure where its panels share entries, else one above each panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repsim.figures.axes import inches_of
from repsim.figures.style import is_narrow
from repsim.figures.text import extent
from repsim.results.figure import Panel

#: Height of an entry, space between its symbol and its text, and between columns, in units of the
#: font.
_LINE, _PAD, _GAP = 1.6, 0.8, 1.2

#: Length of a line in an entry, long enough to show its stroke, and of anything else.
_LONG, _SHORT = 3.0, 1.6


@dataclass(frozen=True)
class Legend:
    """Entries of a figure.

    Attributes:
        handles: entries below all panels.
        own: entries of each panel, by its identity.
        shared: ``handles`` hold the entries of all panels; else each has a legend above it.
    """

    handles: list[Artist]
    own: Mapping[int, list[Artist]]
    shared: bool

    def above(self, panel: Panel) -> list[Artist]:
        """Entries of the legend above a panel."""
        return [] if self.shared else self.own[id(panel)]

    @property
    def length(self) -> float:
        """Length of the symbols, in units of the font."""
        return _length(self.handles)

    def columns(self, width: float) -> int:
        """Entries beside each other on a figure of a width in inches."""
        return _columns(self.handles, width, 2 if is_narrow(width) else 4)

    def height(self, width: float) -> float:
        """Inches of the legend below the panels of a figure of a width."""
        return -(-len(self.handles) // self.columns(width)) * _LINE * _size()

    def fits(self, width: float, height: float) -> bool:
        """Tell whether the entries below each other need no more."""
        high = _LINE * _size() * len(self.handles)
        return high < height and _width(self.handles, 1) < width


def legend_of(panels: Sequence[Panel], looks: Mapping[str, Mapping[str, Any]]) -> Legend:
    """The legend of a figure; shared where every panel has an entry in common with another."""
    own = {id(panel): panel.handles(looks) for panel in panels}
    notes = [
        handle
        for kind in dict.fromkeys(type(panel) for panel in panels)
        for handle in kind.notes([panel for panel in panels if type(panel) is kind])
    ]
    named = [[str(handle.get_label()) for handle in handles] for handles in own.values()]
    shared = _connected([set(names) for names in named if names])
    every = {str(handle.get_label()): handle for handles in own.values() for handle in handles}
    return Legend([*(every.values() if shared else ()), *notes], own, shared)


def _connected(sets: Sequence[set[str]]) -> bool:
    """Tell whether all sets hang together by what they have in common."""
    reached: set[str] = set(sets[0]) if sets else set()
    rest = list(sets[1:])
    while met := [each for each in rest if each & reached]:
        reached.update(*met)
        rest = [each for each in rest if not each & reached]
    return not rest


def draw_own(ax: Axes, handles: Sequence[Artist], width: float) -> None:
    """Draw the legend of a panel of a width in inches, above its axes.

    One that is wider than the axes ends where they end, and begins above the names beside them.
    """
    if not handles:
        return
    columns = _own_columns(handles, width)
    wide = _width(handles, columns) > inches_of(ax)[0]
    ax.legend(
        handles=list(handles),
        loc="lower right" if wide else "lower center",
        bbox_to_anchor=(1.0 if wide else 0.5, 1.0),
        ncols=columns,
        handlelength=_length(handles),
        columnspacing=_GAP,
        labelspacing=0.25,
        borderaxespad=0.2,
    )


def own_height(handles: Sequence[Artist], width: float) -> float:
    """Inches of a legend of a panel of that width."""
    if not handles:
        return 0.0
    return (-(-len(handles) // _own_columns(handles, width)) * 1.25 + 0.9) * _size()


def _own_columns(handles: Sequence[Artist], width: float) -> int:
    return _columns(handles, 0.9 * width, 3)


def _columns(handles: Sequence[Artist], width: float, most: int) -> int:
    """Columns of entries that fit into a width, at most so many."""
    tried = range(min(most, len(handles)), 1, -1)
    return next((count for count in tried if _width(handles, count) < width), 1)


def _width(handles: Sequence[Artist], columns: int) -> float:
    """Inches of entries in columns, which matplotlib fills one after the other."""
    rows, fuller = divmod(len(handles), columns)
    ends = np.cumsum([rows + (k < fuller) for k in range(columns)])
    texts = [extent(str(handle.get_label())) for handle in handles]
    widest = [max(part, default=0) for part in map(list, np.split(texts, ends[:-1]))]
    return _size() * (sum(widest) + columns * (_length(handles) + _PAD + _GAP))


def _length(handles: Sequence[Artist]) -> float:
    strokes = [h for h in handles if isinstance(h, Line2D) and h.get_linestyle() != "None"]
    return _LONG if strokes else _SHORT


def _size() -> float:
    return mpl.rcParams["legend.fontsize"] / 72
