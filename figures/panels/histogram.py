"""Distributions of a quantity, by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import line_entry, patch_entry
from repsim.figures.axes import few_ticks, name_axes, set_limits
from repsim.figures.series import Series, SeriesPanel
from repsim.results.figure import Frame
from repsim.results.records import is_finite

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Share of the axis of densities that marks of a group have above the bins.
_LANE = 0.07

_MARK: dict[str, Any] = {"marker": "|", "markersize": 5, "linestyle": "none"}


@dataclass(frozen=True)
class Distribution(Series):
    """A distribution: ``values`` are its densities, one for each bin.

    Attributes:
        ticks: numbers that are marked above the bins, such as medians of classes.
    """

    noun: ClassVar[str] = "distribution"

    ticks: Sequence[float] = ()


@dataclass(frozen=True)
class Histogram(SeriesPanel):
    """Densities of a quantity between edges, the groups over each other.

    Attributes:
        xlabel: name of the quantity.
        edges: (bins + 1,) rising ends of the bins.
        groups: the distributions, with a label for each.
        marked: the meaning of the ticks, for the legend.
    """

    type: ClassVar[str] = "histogram"

    xlabel: str
    edges: Sequence[float]
    groups: Sequence[Distribution]
    marked: str = "medians of classes"

    @classmethod
    def of(
        cls,
        title: str,
        xlabel: str,
        values: Mapping[str, np.ndarray],
        *,
        bins: int = 40,
        ticks: Mapping[str, Sequence[float]] | None = None,
        marked: str = "medians of classes",
    ) -> Histogram:
        """Distributions of values over bins that they share; NaN is left out.

        Args:
            title: what stands above it.
            xlabel: name of the quantity.
            values: (examples,) numbers by label of their group.
            bins: how many.
            ticks: numbers to mark above the bins, by label.
            marked: their meaning, for the legend.
        """
        finite = {label: each[np.isfinite(each)] for label, each in values.items()}
        edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins)
        groups = [
            Distribution(
                label,
                np.histogram(each, edges, density=True)[0].tolist(),
                ticks=(ticks or {}).get(label, ()),
            )
            for label, each in finite.items()
        ]
        return cls(title, xlabel, edges.tolist(), groups, marked)

    def check(self) -> None:
        super().check()
        rising = is_finite(self.edges) and bool((np.diff(self.edges) > 0).all())
        self.require(len(self.edges) > 1 and rising, "rising edges of bins")
        for each in self.groups:
            each.check_length("values", len(self.edges) - 1, "one for each bin")

    def labelled(self) -> Sequence[Distribution]:
        return self.groups

    def x_of(self, series: Distribution) -> list[float]:
        """The middles of the bins."""
        return ((np.array(self.edges[1:]) + np.array(self.edges[:-1])) / 2).tolist()

    def symbol(self, series: Distribution, look: Mapping[str, Any]) -> Artist:
        return patch_entry(label=series.label, **_fill(look))

    def handles(self, looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
        mark = line_entry(label=self.marked, color="black", **_MARK)
        return [*super().handles(looks), *([mark] if self._lanes() else [])]

    def _lanes(self) -> list[Distribution]:
        """The groups with ticks, each in a lane of its own."""
        return [each for each in self.groups if each.ticks]

    def draw(self, ax: Axes, frame: Frame) -> None:
        for each in self.groups:
            look = frame.looks[each.label]
            ax.stairs(each.values, self.edges, fill=True, label=each.label, **_fill(look))
        set_limits(ax, None)
        ax.xaxis.set_major_locator(few_ticks(frame.width))
        highest = max((value for each in self.groups for value in each.values), default=0.0)
        free = _LANE * (len(self._lanes()) + 0.5)
        ax.set_ylim(0, 1.03 * highest / (1 - free) or 1.0)
        for k, each in enumerate(self._lanes()):
            self._draw_ticks(
                ax, each.ticks, 1 - _LANE * (k + 0.5), frame.looks[each.label]["color"]
            )
        name_axes(ax, self.xlabel, "density", frame)

    def _draw_ticks(self, ax: Axes, ticks: Sequence[float], height: float, color: str) -> None:
        places = np.full(len(ticks), height)
        ax.plot(ticks, places, color=color, transform=ax.get_xaxis_transform(), **_MARK)


def _fill(look: Mapping[str, Any]) -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    stroke = look.get("linestyle", "-")
    edge = {"edgecolor": look["color"], "linewidth": 0.8, "linestyle": stroke}
    return {"facecolor": to_rgba(look["color"], 0.3), **edge}
