"""Dots of many examples, by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry, rc
from repsim.figures.axes import LONG, check_limits, name_axes, set_limits
from repsim.figures.series import Series, SeriesPanel
from repsim.figures.text import extent
from repsim.results.figure import Frame

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Distance between groups of a category, and half the width of a strip; categories are 1 apart.
_STEP, _HALF = 0.8, 0.14

#: Categories that have their names on the axis, at most.
_NAMED = 20


@dataclass(frozen=True)
class Dots(Series):
    """The examples of a group: ``values``, each in a category.

    Attributes:
        places: (examples,) place of each example's category, from 0.
    """

    noun: ClassVar[str] = "dots"

    places: Sequence[int] = ()

    def check(self) -> None:
        super().check()
        self.check_length("places", len(self.values), "one for each value")

    def strips(self) -> dict[int, np.ndarray]:
        """The values of each category that has any."""
        values, places = np.array(self.values, float), np.array(self.places, int)
        return {int(place): values[places == place] for place in np.unique(places)}


@dataclass(frozen=True)
class Strips(SeriesPanel):
    """Dots of many examples by category, the groups of one beside each other.

    A black stroke is the median of a group in a category.

    Attributes:
        xlabel: name of the axis of categories.
        ylabel: name of the axis of values.
        categories: their names; one alone may be empty.
        groups: the examples, with a label for each group.
        chance: the level of chance, as a dotted line; None without one.
        ylim: ends of the axis of values; None leaves them to the values.
    """

    type: ClassVar[str] = "strips"

    xlabel: str
    ylabel: str
    categories: Sequence[str]
    groups: Sequence[Dots]
    chance: float | None = None
    ylim: tuple[float, float] | None = None

    def check(self) -> None:
        super().check()
        self.require(bool(self.categories), "names of categories")
        places = [place for each in self.groups for place in each.places]
        fits = all(0 <= place < len(self.categories) for place in places)
        self.require(fits, f"places from 0 to {len(self.categories) - 1}")
        check_limits(self, self.ylim)

    def labelled(self) -> Sequence[Dots]:
        return self.groups

    def x_of(self, series: Dots) -> Sequence[str]:
        return [self.categories[place] for place in series.places]

    def symbol(self, series: Dots, look: Mapping[str, Any]) -> Artist:
        return line_entry(label=series.label, **{**_look(look), "markersize": 4})

    def handles(self, looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
        stroke = line_entry(color="black", linewidth=0.9, label="median")
        chance = line_entry(color="black", linewidth=0.7, linestyle=":", label="chance")
        return [*super().handles(looks), stroke, *([chance] if self.chance is not None else [])]

    def draw(self, ax: Axes, frame: Frame) -> None:
        rng = np.random.default_rng(0)
        for k, each in enumerate(self.groups):
            shift = (k - (len(self.groups) - 1) / 2) * _STEP / len(self.groups)
            self._draw_dots(ax, each, shift, rng, frame)
        if self.chance is not None:
            ax.axhline(self.chance, color="black", linewidth=0.7, linestyle=":")
        self._name_places(ax, frame)
        set_limits(ax, self.ylim)
        name_axes(ax, "" if self._unnamed else self.xlabel, self.ylabel, frame)

    def _draw_dots(
        self, ax: Axes, dots: Dots, shift: float, rng: np.random.Generator, frame: Frame
    ) -> None:
        """Dots scattered within their strips, in a file of lines as an image."""
        strips = dots.strips()
        half = _HALF * 2 / max(2, len(self.groups))
        x = [k + shift + rng.uniform(-half, half, len(each)) for k, each in strips.items()]
        look = _look(frame.looks[dots.label])
        y = np.concatenate(list(strips.values()))
        ax.plot(np.concatenate(x), y, label=dots.label, rasterized=True, alpha=0.5, **look)
        middles = [np.nanmedian(each) for each in strips.values()]
        places, reach = np.array(list(strips)) + shift, half + 0.04
        strokes: dict[str, Any] = {"color": "black", "linewidth": 0.9, "zorder": 3}
        ax.hlines(middles, places - reach, places + reach, **strokes)

    @property
    def _unnamed(self) -> bool:
        """There is one category without a name."""
        return list(self.categories) == [""]

    def _name_places(self, ax: Axes, frame: Frame) -> None:
        step = -(-len(self.categories) // _NAMED)
        places = [] if self._unnamed else range(0, len(self.categories), step)
        upright = 90 if self._upright(frame.width) else 0
        ax.set_xticks(places, [self.categories[place] for place in places], rotation=upright)

    def _upright(self, width: float) -> bool:
        """True if names of categories are wider than their places."""
        return _widest(self.categories) * len(self.categories) > LONG * width

    def height(self, width: float) -> float:
        names = _widest(self.categories) if self._upright(width) else 0.0
        return super().height(width) + names


def _look(look: Mapping[str, Any]) -> dict[str, Any]:
    shape = {"linestyle": "none", "markersize": 2.0, "markeredgewidth": 0.0}
    return {"color": look["color"], "marker": look.get("marker") or "o", **shape}


def _widest(names: Sequence[str]) -> float:
    """Inches of the longest name on an axis, with a gap beside it."""
    return (max(map(extent, names)) + 0.8) * rc("xtick.labelsize") / 72
