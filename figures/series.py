"""Series of numbers with a label, and the one way in which lines are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from repsim.results.checked import Checked
from repsim.results.figure import Look, Panel

#: Points of a line that have a marker: of many epochs, some.
_MARKED = 12

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
            ``reference`` thin, without markers; ``faint`` light grey, behind the others.
        group: series of one group share a colour, and are told apart by their strokes.
        hue: place of the colour in the palette, for the same one in several figures.
    """

    noun: ClassVar[str] = "series"

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
        for name in ("low", "high"):
            self.check_length(name, len(self.values), "one for each value")

    def check_length(self, name: str, length: int, why: str) -> None:
        """Refuse numbers of another length; ``why`` there are so many."""
        numbers = getattr(self, name)
        fits = numbers is None or len(numbers) == length
        self.require(fits, f"{length} numbers as {name}, {why}, NaN where there is none")

    def interval(self, k: int) -> dict[str, float]:
        """The value at a place, with its interval, as columns of a table."""
        ends = {"low": self.low, "high": self.high}
        return {"value": self.values[k]} | {
            name: numbers[k] for name, numbers in ends.items() if numbers is not None
        }

    def rows(self, x: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """A record a value."""
        for k, at in enumerate(x):
            yield {"series": self.label, "x": at, **self.interval(k)}

    def ends(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper ends of the intervals."""
        if self.low is None or self.high is None:
            return None
        return np.array(self.low, float), np.array(self.high, float)


def check_labels(panel: Panel, series: Sequence[Series]) -> None:
    """Refuse a panel without series, or with two of one label."""
    panel.require(bool(series), "some series")
    labels = [each.label for each in series]
    panel.require(len(set(labels)) == len(labels), "a label of its own for every series")


def draw_series(ax: Axes, x: np.ndarray, series: Series, look: Mapping[str, Any]) -> None:
    """A line or points over ``x``, with a band or whiskers where there are intervals."""
    values = np.array(series.values, float)
    apart = series.look in APART
    marked = _marked(values, all_of_them=apart)
    ax.plot(x, values, **{"markersize": 3, "label": series.label, "markevery": marked, **look})
    ends = series.ends()
    if ends is not None and (apart or len(x) == 1):
        draw_whiskers(ax, x, values, ends, look["color"])
    elif ends is not None:
        ax.fill_between(x, *ends, color=look["color"], alpha=0.2, linewidth=0)


def draw_whiskers(
    ax: Axes, x: np.ndarray, values: np.ndarray, ends: Sequence[np.ndarray], color: str
) -> None:
    """Whiskers from the lower to the upper ends."""
    # An interval of Wilson's lies beside its value by a rounding where the accuracy is 1.
    reach = np.clip([values - ends[0], ends[1] - values], 0, None)
    ax.errorbar(x, values, reach, fmt="none", ecolor=color, elinewidth=0.8, capsize=1.5)


def _marked(values: np.ndarray, *, all_of_them: bool) -> list[int]:
    """Places that have a marker; those between gaps, which no line would show, in any case."""
    every = 1 if all_of_them else max(1, -(-len(values) // _MARKED))
    there = np.concatenate([[False], np.isfinite(values), [False]])
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    return sorted({*range(0, len(values), every), *np.flatnonzero(alone).tolist()})
