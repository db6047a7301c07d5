"""Series over numbers or over layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry, rc
from repsim.figures.axes import check_limits, few_ticks, name_axes, set_limits
from repsim.figures.layer_labels import axis_name, boundaries, label_layers, label_room
from repsim.figures.series import Series, SeriesPanel, draw_series, draw_whiskers
from repsim.results.figure import Frame
from repsim.results.records import is_finite

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Share of its width that the axis takes.
_LONG = 0.7


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
        return line_entry(label=series.label, **look)

    def height(self, width: float) -> float:
        named = label_room(self.layers, _LONG * width)
        return super().height(width) + max(0.0, named - 1.5 * rc("xtick.labelsize") / 72)

    def draw(self, ax: Axes, frame: Frame) -> None:
        places = np.arange(len(self.layers)) if self.layers else np.array(self._numbers(), float)
        for each in self.series:
            self._draw_line(ax, each, places if each.x is None else np.array(each.x, float), frame)
        self._name_places(ax, frame)
        set_limits(ax, self.ylim, log=self.log)
        name_axes(ax, axis_name(self.xlabel, self.layers), self.ylabel, frame)

    def _draw_line(self, ax: Axes, line: Line, x: np.ndarray, frame: Frame) -> None:
        look = frame.looks[line.label]
        draw_series(ax, x, line, look)
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
        long = frame.inside[0] if frame.inside else _LONG * frame.width
        for position in boundaries(self.layers):
            ax.axvline(position - 0.5, color="0.85", linewidth=0.6, zorder=0)
        label_layers(ax.xaxis, self.layers, inches=long, rotation=90)
