"""Series over numbers or over layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry, rc
from repsim.figures.axes import LONG, check_limits, few_ticks, name_axes, set_limits
from repsim.figures.layer_labels import axis_name, boundaries, label_layers, label_room
from repsim.figures.series import Series, SeriesPanel, draw_series, draw_whiskers
from repsim.results.figure import Frame
from repsim.results.records import is_finite

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Points by which a line is wider than the one that covers it, and its markers larger; and by which
#: the lowest of a pile is wider than the topmost, at most.
_WIDER, _WIDEST = 2.0, 3.0

#: Share of the axis of values within which two lines lie on each other.
_NEAR = 0.015


@dataclass(frozen=True)
class Line(Series):
    """A series of a panel of lines.

    Attributes:
        x: (x,) places of its own, instead of the panel's.
        spread: (x,) half lengths of whiskers, such as standard deviations over seeds.
    """

    noun: ClassVar[str] = "line"
    columns: ClassVar[tuple[str, ...]] = (*Series.columns, "spread")

    x: Sequence[float] | None = None
    spread: Sequence[float] | None = None

    def check(self) -> None:
        super().check()
        self.check_length("x", len(self.values), "one for each value")
        self.require(self.x is None or is_finite(self.x), "finite numbers as x")


@dataclass(frozen=True)
class Lines(SeriesPanel):
    """Series over numbers or layers.

    Attributes:
        xlabel: name of the axis of ``x``.
        ylabel: name of the axis of values.
        x: (x,) finite numbers, such as epochs, or layer addresses in order of execution; empty
            where every line has its own.
        series: the lines, with a label each.
        ylim: ends of the axis of values; None leaves them to the values.
        log: draw the axis of values logarithmically; what is not above 0 is a gap.
    """

    type: ClassVar[str] = "lines"

    xlabel: str
    ylabel: str
    x: Sequence[float] | Sequence[str]
    series: Sequence[Line]
    ylim: tuple[float, float] | None = None
    log: bool = False

    def check(self) -> None:
        super().check()
        numbers = not self.layers
        self.require(not numbers or is_finite(self._numbers()), "finite numbers or layers as x")
        for each in self.series:
            if each.x is None:
                why = "one for each x"
                each.check_length("values", len(self.x), why)
            else:
                self.require(numbers, "layers, or lines with an x of their own")
        check_limits(self, self.ylim)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers on the axis; none where it has numbers."""
        return tuple(x for x in self.x if isinstance(x, str))

    def _numbers(self) -> list[float]:
        return [x for x in self.x if not isinstance(x, str)]

    def labelled(self) -> Sequence[Line]:
        return self.series

    def x_of(self, series: Line) -> Sequence[float] | Sequence[str]:
        return series.x or self.x

    def symbol(self, series: Line, look: Mapping[str, Any]) -> Artist:
        shown = dict(look) if series.marked() else {**look, "marker": None}
        return line_entry(label=series.label, **shown)

    def height(self, width: float) -> float:
        named = label_room(self.layers, LONG * width)
        return super().height(width) + max(0.0, named - 1.5 * rc("xtick.labelsize") / 72)

    def draw(self, ax: Axes, frame: Frame) -> None:
        places = np.arange(len(self.layers)) if self.layers else np.array(self._numbers(), float)
        covered = self._covered()
        step = min(_WIDER, _WIDEST / max(1, *covered))
        for each, count in zip(self.series, covered, strict=True):
            own = places if each.x is None else np.array(each.x, float)
            self._draw_line(ax, each, own, frame, step * count)
        self._name_places(ax, frame)
        set_limits(ax, self._limits(), log=self.log)
        name_axes(ax, axis_name(self.xlabel, self.layers), self.ylabel, frame)

    def _limits(self) -> tuple[float, float] | None:
        """Ends of the axis of values: ``ylim``, or further out for values beyond it.

        The level of chance stays beyond it: its label says so.
        """
        if self.ylim is None:
            return None
        shown = [each for each in self.series if each.look != "chance"]
        found = [value for each in shown for value in each.values if np.isfinite(value)]
        return min([self.ylim[0], *found]), max([self.ylim[1], *found])

    def _covered(self) -> list[int]:
        """For each series, the number of later ones that lie on it wherever it is drawn."""
        tables = [np.array(each.values, float) for each in self.series]
        if self.log:
            tables = [np.log(np.where(each > 0, each, np.nan)) for each in tables]
        known = [value for each in tables for value in each if np.isfinite(value)] or [0.0]
        low, high = (None if self.log else self._limits()) or (min(known), max(known))
        near = _NEAR * max(high - low, np.finfo(float).tiny)
        return [
            sum(
                self.x_of(self.series[k]) == self.x_of(other) and _on(tables[k], tables[j], near)
                for j, other in enumerate(self.series)
                if j > k
            )
            for k in range(len(self.series))
        ]

    def _draw_line(self, ax: Axes, line: Line, x: np.ndarray, frame: Frame, wider: float) -> None:
        look = frame.looks[line.label]
        draw_series(ax, x, line, look, wider=wider)
        if line.spread is not None:
            values, spread = np.array(line.values, float), np.array(line.spread, float)
            ends = (values - spread, values + spread)
            draw_whiskers(ax, x, values, ends, ecolor=look["color"])

    def _name_places(self, ax: Axes, frame: Frame) -> None:
        if not self.layers:
            used = [x for each in self.series for x in each.x or self._numbers()]
            whole = all(float(x).is_integer() for x in used)
            ax.xaxis.set_major_locator(few_ticks(frame.width, integer=whole))
            return
        long = frame.inside[0] if frame.inside else LONG * frame.width
        for position in boundaries(self.layers):
            ax.axvline(position - 0.5, color="0.85", linewidth=0.6, zorder=0)
        label_layers(ax.xaxis, self.layers, inches=long, rotation=90)


def _on(values: np.ndarray, others: np.ndarray, near: float) -> bool:
    """Test if ``others`` lie within ``near`` of all finite ``values``."""
    there = np.isfinite(values)
    return bool(there.any()) and bool(np.all(np.abs(values - others)[there] <= near))
