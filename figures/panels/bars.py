"""Bars of categories, with intervals and marks to compare them with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry, patch_entry, rc
from repsim.figures.axes import check_limits, name_axes, set_limits
from repsim.figures.looks import hatch_of
from repsim.figures.series import Series, SeriesPanel, draw_whiskers
from repsim.figures.text import extent
from repsim.results.figure import Frame

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Share of the distance between categories that their bars take.
_FILLED = 0.8

#: Share of the axis by which a mark may stand above its bar before the number fits between them.
_NEAR = 0.1

#: Behind numbers on bars, so that no line strikes them through.
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}

#: Of hatches: white, half of it.
_HATCH = (1.0, 1.0, 1.0, 0.5)

_DIAMOND: dict[str, Any] = {
    "marker": "D",
    "color": "white",
    "markeredgecolor": "black",
    "markersize": 3,
    "linestyle": "none",
}


@dataclass(frozen=True)
class Mark(Series):
    """Numbers that bars are compared with, one for each category.

    A mark with ``of`` stands on the bars of that label, as a white diamond or, if its look is
    ``published``, a hollow one; without it, a line goes across all bars of the category.
    """

    noun: ClassVar[str] = "mark"

    of: str | None = None


@dataclass(frozen=True)
class Bars(SeriesPanel):
    """Bars of categories: one of each series beside the other.

    Categories stand below each other where their names are long, and bars then lie.

    Attributes:
        label: name of the axis of values.
        categories: (x,) their names.
        series: bars, with a value for each category.
        marks: what they are compared with.
        limits: ends of the axis of values; None leaves them to the values.
        numbers: write each value above its bar, with this many decimals; None leaves them out.
    """

    type: ClassVar[str] = "bars"

    label: str
    categories: Sequence[str]
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    limits: tuple[float, float] | None = None
    numbers: int | None = None

    def check(self) -> None:
        super().check()
        bars = {each.label for each in self.series}
        for each in (*self.series, *self.marks):
            each.check_length("values", len(self.categories), "one for each category")
        for mark in self.marks:
            self.require(mark.of is None or mark.of in bars, "marks of its own bars")
        self.require(not bars & {mark.label for mark in self.marks}, "marks of other labels")
        self.require(self.numbers is None or 0 <= self.numbers <= 9, "0 to 9 decimals as numbers")
        check_limits(self, self.limits)

    def tabulate(self) -> Iterator[dict[str, Any]]:
        yield from super().tabulate()
        for mark in self.marks:
            label = mark.label if mark.of is None else f"{mark.label}: {mark.of}"
            for row in mark.rows(self.categories):
                yield {**row, "series": label}

    def labelled(self) -> Sequence[Series]:
        return self.series

    def x_of(self, series: Series) -> Sequence[str]:
        return self.categories

    def symbol(self, series: Series, look: Mapping[str, Any]) -> Artist:
        return patch_entry(label=series.label, **_fill(look["color"]))

    def handles(self, looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
        marks = {mark.label: line_entry(label=mark.label, **_look(mark)) for mark in self.marks}
        return [*super().handles(looks), *marks.values()]

    def height(self, width: float) -> float:
        line = 1.2 * rc("font.size") / 72
        if self._lying(width):
            count = len(self.categories) * (len(self.series) + 0.6)
            return max(4, count) * 1.1 * line + 3 * line
        names = max(name.count("\n") for name in self._names(width))
        return super().height(width) + (names - 0.5) * line

    def _lying(self, width: float) -> bool:
        """Tell whether names of categories would not fit beside each other, however folded."""
        return max(map(_widest, self._folded())) > self._room(width)

    def _room(self, width: float) -> float:
        """Width of a category in units of the size of its name."""
        size = rc("xtick.labelsize")
        return 72 * 0.8 * width / len(self.categories) / size - 0.5

    def _names(self, width: float) -> list[str]:
        """Names of categories on one line where all fit, otherwise folded."""
        plain = list(self.categories)
        return plain if max(map(_widest, plain)) <= self._room(width) else self._folded()

    def _folded(self) -> list[str]:
        """Names with a line for each of their parts."""
        return [
            name.replace(":", ":\n").replace("-", "-\n").replace(", ", ",\n")
            for name in self.categories
        ]

    def draw(self, ax: Axes, frame: Frame) -> None:
        lying = self._lying(frame.width)
        places = np.arange(len(self.categories))
        for shift, each in self._shifted():
            self._draw_bars(ax, each, places + shift, frame.looks[each.label]["color"], lying)
        for mark in (mark for mark in self.marks if mark.of is None):
            _draw_level(ax, mark, places, lying)
        self._name(ax, frame, lying)
        self._write(ax, frame, lying)

    def _shifted(self) -> list[tuple[float, Series]]:
        """Every series with the distance of its bars from the middle of their category."""
        middle = (len(self.series) - 1) / 2
        return [((k - middle) * self._step, each) for k, each in enumerate(self.series)]

    @property
    def _step(self) -> float:
        """Distance between bars of a category."""
        return _FILLED / len(self.series)

    def _draw_bars(self, ax: Axes, bars: Series, at: np.ndarray, color: str, lying: bool) -> None:
        values, ends = np.array(bars.values, float), bars.ends()
        draw = ax.barh if lying else ax.bar
        draw(at, values, 0.92 * self._step, label=bars.label, **_fill(color))
        if ends is not None:
            look: dict[str, Any] = {"ecolor": "0.2", "capsize": 0, "zorder": 4}
            draw_whiskers(ax, at, values, ends, lying=lying, **look)
        for mark in self._on(bars):
            x, y = _turned(at, np.array(mark.values, float), lying)
            ax.plot(x, y, label=mark.label, zorder=5, **_look(mark))

    def _on(self, bars: Series) -> list[Mark]:
        return [mark for mark in self.marks if mark.of == bars.label]

    def _name(self, ax: Axes, frame: Frame, lying: bool) -> None:
        places = range(len(self.categories))
        if lying:
            ax.set_yticks(places, list(self.categories))
            ax.invert_yaxis()
            name_axes(ax, self.label, "", frame)
            ax.tick_params(axis="y", length=0)
            if self.limits is not None:
                ax.set_xlim(*self.limits)
            return
        ax.set_xticks(places, self._names(frame.width))
        ax.tick_params(axis="x", length=0)
        name_axes(ax, "", self.label, frame)
        set_limits(ax, self.limits)

    def _write(self, ax: Axes, frame: Frame, lying: bool) -> None:
        """Write the values at the ends of the bars, beyond whiskers and marks that are near."""
        if self.numbers is None:
            return
        low, high = ax.get_xlim() if lying else ax.get_ylim()
        for shift, each in self._shifted():
            for place, value in enumerate(each.values):
                top = self._top(each, place, abs(high - low))
                if top > high:  # a whisker that leaves the axes: below its end that can be seen
                    top = high - _NEAR * abs(high - low)
                at = _turned(place + shift, top, lying)
                text = "" if np.isnan(value) else f"{value:.{self.numbers}f}"
                _write_number(ax, text, at, lying)

    def _top(self, bars: Series, place: int, length: float) -> float:
        value = bars.values[place]
        ends = [value, 0.0 if bars.high is None else bars.high[place]]
        top = max((end for end in ends if not np.isnan(end)), default=0.0)
        for mark in sorted(mark.values[place] for mark in self._on(bars)):
            if value - _NEAR * length < mark < top + _NEAR * length:
                top = max(top, mark + _NEAR / 4 * length)
        return top


def _write_number(ax: Axes, text: str, at: tuple[Any, Any], lying: bool) -> None:
    ax.annotate(
        text,
        at,
        xytext=(2.5, 0) if lying else (0, 1.5),
        textcoords="offset points",
        ha="left" if lying else "center",
        va="center" if lying else "bottom",
        fontsize=0.75 * rc("font.size"),
        bbox=_PLATE,
    )


def _draw_level(ax: Axes, mark: Mark, places: np.ndarray, lying: bool) -> None:
    """A line across the bars of each category; named once."""
    draw = ax.vlines if lying else ax.hlines
    low, high = places - _FILLED / 2, places + _FILLED / 2
    draw(mark.values, low, high, label=mark.label, **_look(mark))


def _look(mark: Mark) -> dict[str, Any]:
    """A line across a category, or a diamond on a bar."""
    if mark.of is None:
        stroke = ":" if mark.look == "chance" else "-"
        return {"color": "black", "linewidth": 1.0, "linestyle": stroke}
    hollow = {"color": "none"} if mark.look == "published" else {}
    return {**_DIAMOND, **hollow}


def _fill(color: str) -> dict[str, Any]:
    return {"facecolor": color, "hatch": hatch_of(color), "edgecolor": _HATCH, "linewidth": 0}


def _turned(along: Any, value: Any, lying: bool) -> tuple[Any, Any]:
    return (value, along) if lying else (along, value)


def _widest(text: str) -> float:
    return max(map(extent, text.split("\n")))
