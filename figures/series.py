"""Series of numbers with a label, panels of them, and the one way in which lines are drawn."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import rc
from repsim.figures.axes import usual_height
from repsim.results.figure import Look, Panel
from repsim.results.records import Checked

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Values of a line, at most, that have a marker each; those of a longer one have none.
_MARKED = 40

#: Looks whose intervals are whiskers, for there is no line between their values.
APART = ("points", "published", "level")


@dataclass(frozen=True)
class Series(Checked):
    """Numbers with a label, and if need be an interval each.

    Attributes:
        label: the name in the legend; the same in other panels of a figure for the same look.
            Without one it has no entry there.
        values: (x,) numbers, one for each x of the panel; NaN leaves a gap.
        low: (x,) lower ends of intervals, as over seeds; together with ``high``.
        high: (x,) upper ends.
        look: ``line`` with marker; ``points``, markers alone, for what has no order; ``control``
            grey and dashed; ``dotted``, a control in the colour of its group; ``published`` black
            hollow markers; ``chance`` thin and dotted; ``level`` a black stroke at each x;
            ``reference`` thin, without markers; ``faint`` light grey, behind the others, with one
            entry in the legend for all of its group.
        group: series of one group share a colour, and are told apart by their strokes.
        hue: place of the colour in the palette, for the same one in several figures.
    """

    noun: ClassVar[str] = "series"

    #: Fields with an entry for each value; columns of the table, called so in the singular.
    columns: ClassVar[tuple[str, ...]] = ("values", "low", "high")

    label: str
    values: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    look: Look = "line"
    group: str | None = None
    hue: int | None = None

    def check(self) -> None:
        whole = (self.low is None) == (self.high is None)
        self.require(whole, "both ends of its intervals, or none")
        self.require(self.hue is None or self.hue >= 0, "a hue of at least 0")
        for name in self.columns:
            self.check_length(name, len(self.values), "one for each value")

    def check_length(self, name: str, length: int, why: str) -> None:
        """Refuse numbers of another length; ``why`` there are so many."""
        numbers = getattr(self, name)
        fits = numbers is None or len(numbers) == length
        self.require(fits, f"{length} numbers as {name}, {why}, NaN where there is none")

    def rows(self, x: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """A record a value."""
        fields = {name.removesuffix("s"): getattr(self, name) for name in self.columns}
        for k, at in enumerate(x):
            held = {name: each[k] for name, each in fields.items() if each is not None}
            yield {"series": self.label, "x": at, **held}

    def marked(self) -> list[int]:
        """Places of values that have a marker: all or none, for some would look like the data.

        A value between gaps, which no line would show, has one in any case.
        """
        if self.look in APART or len(self.values) <= _MARKED:
            return list(range(len(self.values)))
        there = np.concatenate([[False], np.isfinite(np.array(self.values, float)), [False]])
        alone: list[int] = np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:]).tolist()
        return alone

    def ends(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper ends of the intervals."""
        if self.low is None or self.high is None:
            return None
        return np.array(self.low, float), np.array(self.high, float)


@dataclass(frozen=True)
class SeriesPanel(Panel):
    """Base of the panels of series, each with a label of its own and an entry in the legend."""

    @abstractmethod
    def labelled(self) -> Sequence[Series]:
        """The series, in the order of the legend."""

    @abstractmethod
    def x_of(self, series: Any) -> Sequence[Any]:
        """Places of the values of a series, as the table has them."""

    @abstractmethod
    def symbol(self, series: Any, look: Mapping[str, Any]) -> Artist:
        """The entry of a series in the legend."""

    def check(self) -> None:
        labels = [each.label for each in self.labelled()]
        self.require(bool(labels), "some series")
        self.require(len(set(labels)) == len(labels), "a label of its own for every series")

    def tabulate(self) -> Iterator[dict[str, Any]]:
        for each in self.labelled():
            yield from each.rows(self.x_of(each))

    def handles(self, looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
        named = {
            (each.group or "") if each.look == "faint" else each.label: each
            for each in self.labelled()
        }
        named.pop("", None)
        found = []
        for name, each in named.items():
            handle = self.symbol(each, looks[each.label])
            handle.set_label(name)
            found.append(handle)
        return found

    def height(self, width: float) -> float:
        return usual_height(width)


def draw_series(
    ax: Axes, x: np.ndarray, series: Series, look: Mapping[str, Any], *, wider: float = 0.0
) -> None:
    """A line or points over ``x``, with a band or whiskers where there are intervals.

    A line under others is drawn ``wider`` by so many points, so that it shows on both sides.
    """
    values = np.array(series.values, float)
    apart = series.look in APART
    drawn = {"markersize": 3, "label": series.label, "markevery": series.marked(), **look}
    drawn["linewidth"] = drawn.get("linewidth", rc("lines.linewidth")) + wider
    drawn["markersize"] += wider
    ax.plot(x, values, **drawn)
    ends = series.ends()
    if ends is not None and (apart or len(x) == 1):
        draw_whiskers(ax, x, values, ends, ecolor=look["color"])
    elif ends is not None:
        ax.fill_between(x, *ends, color=look["color"], alpha=0.2, linewidth=0)


def draw_whiskers(
    ax: Axes,
    at: np.ndarray,
    values: np.ndarray,
    ends: Sequence[np.ndarray],
    *,
    lying: bool = False,
    **look: Any,
) -> None:
    """Whiskers from the lower to the upper ends; along the axis of x if they are ``lying``."""
    # An interval of Wilson's lies beside its value by a rounding where the accuracy is 1.
    reach = np.clip([values - ends[0], ends[1] - values], 0, None)
    x, y, error = (values, at, "xerr") if lying else (at, values, "yerr")
    look = {"fmt": "none", "elinewidth": 0.8, "capsize": 1.5, error: reach} | look
    ax.errorbar(x, y, **look)
