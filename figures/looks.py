"""Looks of labels: one in a whole figure, told apart by colour and without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from repsim.figures.artists import HATCHES, MARKERS, STROKES, palette
from repsim.results.figure import Labelled, Panel

#: Looks that have the colour of their group.
_COLOURED = ("line", "points", "reference", "dotted")

_CHANCE: dict[str, Any] = {"color": "0.3", "linewidth": 0.7, "linestyle": (0, (1, 3))}
_LEVEL: dict[str, Any] = {"color": "black", "marker": "_", "linestyle": "none", "markersize": 9}
_FAINT: dict[str, Any] = {"color": "0.8", "linewidth": 0.6, "zorder": 1}
_HOLLOW: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 0.8, "zorder": 4}


def looks_of(panels: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Properties of lines by label: a colour and a marker a group, a stroke a member.

    A group is grey if one of it is a control. ``hue`` chooses colour and marker; other groups take
    those that are left, in order.
    """
    every = {each.label: each for panel in panels for each in panel.labelled()}
    groups: dict[str, list[Labelled]] = {}
    for each in every.values():
        groups.setdefault(each.group or each.label, []).append(each)
    places = _places(groups)
    alone = all(len(members) == 1 for members in groups.values())
    greys, marks, published = cycle(("0.45", "0.65")), cycle((None, "x", "+", "1")), cycle("Dso^v")
    found: dict[str, dict[str, Any]] = {}
    for name, members in groups.items():
        place = places.get(name)
        grey = any(each.look in (*_COLOURED, "control") for each in members) and place is None
        colour = next(greys) if grey else "black" if place is None else _colour(place)
        strokes = cycle([STROKES[(place or 0) % len(STROKES)]] if alone else STROKES)
        for each in members:
            free = published if each.look == "published" else marks if grey else cycle([None])
            marker = next(free) if place is None else _marker(place)
            stroke = next(strokes) if each.look == "line" else "-"
            found[each.label] = _look(each.look, colour, marker, stroke)
    return {label: found[label] for label in every}


def _places(groups: Mapping[str, Sequence[Labelled]]) -> dict[str, int]:
    """The place in the palette of every group that has a colour."""
    coloured = {
        name: members[0].hue
        for name, members in groups.items()
        if any(each.look in _COLOURED for each in members)
        and not any(each.look == "control" for each in members)
    }
    chosen = {hue for hue in coloured.values() if hue is not None}
    free: Iterator[int] = (k for k in range(len(coloured) + len(chosen)) if k not in chosen)
    return {name: next(free) if hue is None else hue for name, hue in coloured.items()}


def _colour(place: int) -> str:
    colours = palette()
    return colours[place % len(colours)]


def _marker(place: int) -> str:
    return MARKERS[place % len(MARKERS)]


def _look(look: str, colour: str, marker: str | None, stroke: Any) -> dict[str, Any]:
    """Properties of a line of one look."""
    coloured = {"color": colour, "marker": marker}
    return {
        "line": {**coloured, "linestyle": stroke},
        "points": {**coloured, "linestyle": "none"},
        "control": {**coloured, "linestyle": "--"},
        "dotted": {**coloured, "linestyle": ":", "markerfacecolor": "white"},
        "reference": {"color": colour, "linewidth": 0.8},
        "published": {"color": "black", "marker": marker, "linestyle": "none", **_HOLLOW},
        "chance": _CHANCE,
        "level": _LEVEL,
        "faint": _FAINT,
    }[look]


def hatch_of(colour: str) -> str:
    """The fill of bars of a colour beside it."""
    colours = palette()
    return HATCHES[colours.index(colour) % len(HATCHES)] if colour in colours else ""
