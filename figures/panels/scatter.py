"""Points of two quantities, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry
from repsim.figures.axes import check_limits, few_ticks, name_axes, set_limits
from repsim.figures.series import Series, SeriesPanel, draw_whiskers
from repsim.results.figure import Frame

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Points(Series):
    """A group of points: ``values`` over ``x``.

    Attributes:
        x: (points,) numbers, one for each value.
        x_low: (points,) lower ends of intervals of ``x``; together with ``x_high``.
        x_high: (points,) upper ends.
        names: (points,) the name of each point, for the table.
        joined: draw a line through the points, in their order.
    """

    noun: ClassVar[str] = "points"
    columns: ClassVar[tuple[str, ...]] = (*Series.columns, "x_low", "x_high", "names")

    x: Sequence[float] = ()
    x_low: Sequence[float] | None = None
    x_high: Sequence[float] | None = None
    names: Sequence[str] | None = None
    joined: bool = False

    def check(self) -> None:
        super().check()
        self.require((self.x_low is None) == (self.x_high is None), "both ends of x, or none")
        self.check_length("x", len(self.values), "one for each value")


@dataclass(frozen=True)
class Scatter(SeriesPanel):
    """Points of two quantities, told apart by colour and marker.

    Attributes:
        xlabel: name of the axis of ``x``.
        ylabel: name of the axis of values.
        groups: the points, with a label for each group.
        xlim: ends of the axis of ``x``; None leaves them to the points.
        ylim: ends of the axis of values.
        diagonal: draw a dotted line where both quantities are equal.
    """

    type: ClassVar[str] = "scatter"

    xlabel: str
    ylabel: str
    groups: Sequence[Points]
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    diagonal: bool = False

    def check(self) -> None:
        super().check()
        check_limits(self, self.xlim)
        check_limits(self, self.ylim)

    def labelled(self) -> Sequence[Points]:
        return self.groups

    def x_of(self, series: Points) -> Sequence[float]:
        return series.x

    def symbol(self, series: Points, look: Mapping[str, Any]) -> Artist:
        return line_entry(label=series.label, **_look(series, look))

    def height(self, width: float) -> float:
        return 1.1 * super().height(width)

    def draw(self, ax: Axes, frame: Frame) -> None:
        for each in self.groups:
            self._draw_points(ax, each, frame.looks[each.label])
        ax.xaxis.set_major_locator(few_ticks(frame.width))
        set_limits(ax, self.ylim)
        if self.xlim is not None:
            ax.set_xlim(*self.xlim)
        if self.diagonal:
            ax.axline((0, 0), slope=1, color="0.5", linewidth=0.7, linestyle=":", zorder=0)
        name_axes(ax, self.xlabel, self.ylabel, frame)

    def _draw_points(self, ax: Axes, points: Points, look: Mapping[str, Any]) -> None:
        x, y = np.array(points.x, float), np.array(points.values, float)
        ax.plot(x, y, label=points.label, **_look(points, look))
        ends = points.ends()
        if ends is not None:
            draw_whiskers(ax, x, y, ends, ecolor=look["color"])
        if points.x_low is not None and points.x_high is not None:
            ends = (np.array(points.x_low, float), np.array(points.x_high, float))
            draw_whiskers(ax, y, x, ends, lying=True, ecolor=look["color"])


def _look(points: Points, look: Mapping[str, Any]) -> dict[str, Any]:
    marker = look.get("marker") or "o"
    stroke = look.get("linestyle", "-") if points.joined else "none"
    thin = {"linewidth": 0.8, "markersize": 4}
    return {**look, **thin, "marker": marker, "linestyle": stroke}
