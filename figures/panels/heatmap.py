"""Layers against layers, as colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from repsim.figures.artists import COLORMAP, colormap, line_entry, rc
from repsim.figures.axes import bare, check_limits, check_table, inches_of
from repsim.figures.layer_labels import axis_name, boundaries, label_layers, label_room, line_height
from repsim.moved import renamed_parameters
from repsim.results import SimilarityMap, best_match, own_cells
from repsim.results.figure import Frame, Panel, Scale
from repsim.results.records import SPARSE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Height of all cells in units of their width: of few rows, and of many rows with labels.
_FLATTEST, _TALLEST = 0.4, 3.5

#: Height of all cells in widths of the panel, at most, and their usual width.
_HIGHEST, _USUAL = 1.5, 0.45

#: Share of the expected length of an axis below which its labels are chosen again.
_CLOSER = 0.92

#: Length of labels of rows in widths of the panel, at most.
_NAMES = 0.38

#: Width of the name of the axis and the bar of colours, beside cells and labels, in units of the
#: font's size.
_BESIDE = 7.5

#: Height of the name of the axis with the gaps around it, in units of the font's size.
_BELOW = 4.6

#: Rounding, by which the similarity of a layer to itself may differ from 1.
_ROUNDING = 1e-6

#: Diameter of a dot in points, at least.
_SMALLEST = 0.8


@dataclass(frozen=True)
class Heatmap(Panel):
    """CKA of every pair of layers as colour, from 0 to 1.

    Rows are layers of a, upwards in order of execution; columns are layers of b. Lines separate
    block groups. Undefined cells are grey.

    Attributes:
        layers_a: addresses of the rows, in order of execution.
        layers_b: addresses of the columns.
        name_a: what the rows belong to.
        name_b: what the columns belong to.
        values: (layers_a, layers_b) numbers; NaN where undefined.
        low: (layers_a, layers_b) lower ends of intervals; together with ``high``.
        high: (layers_a, layers_b) upper ends.
        kernel: ``"linear"`` or ``"rbf:FRACTION"``.
        estimator: of the values.
        dots: mark the most similar layer of b for each layer of a by a white dot; of a network
            that is compared with itself, the most similar other layer.
        limits: values at the ends of the colours; None for 0 and 1.
    """

    type: ClassVar[str] = "heatmap"

    layers_a: Sequence[str]
    layers_b: Sequence[str]
    name_a: str
    name_b: str
    values: Sequence[Sequence[float]]
    low: Sequence[Sequence[float]] | None
    high: Sequence[Sequence[float]] | None
    kernel: str
    estimator: Literal["unbiased", "biased"] = "unbiased"
    dots: bool = True
    limits: tuple[float, float] | None = field(default=None, metadata=SPARSE)

    @classmethod
    @renamed_parameters(map="similarity")
    def of(
        cls,
        similarity: SimilarityMap,
        title: str,
        *,
        estimator: Literal["unbiased", "biased"] = "unbiased",
        dots: bool = True,
    ) -> Heatmap:
        """A map as a panel, with the 95 % intervals of its unbiased values where it has them.

        Args:
            similarity: layers of a against layers of b.
            title: what stands above it.
            estimator: which of the map's values.
            dots: mark the most similar layer of b for each layer of a.

        Raises:
            UsageError: an estimator that the map does not hold.
        """
        values = similarity.values(estimator)
        certain = similarity.stderr is not None and estimator == "unbiased"
        low, high = similarity.interval() if certain else (None, None)
        return cls(
            title=title,
            layers_a=similarity.layers_a,
            layers_b=similarity.layers_b,
            name_a=similarity.name_a,
            name_b=similarity.name_b,
            values=values.tolist(),
            low=None if low is None else low.tolist(),
            high=None if high is None else high.tolist(),
            kernel=similarity.kernel,
            estimator=estimator,
            dots=dots,
        )

    def check(self) -> None:
        self.require(bool(self.layers_a and self.layers_b), "layers on both sides")
        self.require((self.low is None) == (self.high is None), "both ends of intervals, or none")
        check_limits(self, self.limits)
        for name, table in self._tables().items():
            check_table(self, name, table, len(self.layers_a), len(self.layers_b))

    def _tables(self) -> dict[str, Sequence[Sequence[float]]]:
        held = {"values": self.values, "low": self.low, "high": self.high}
        return {name: table for name, table in held.items() if table is not None}

    def tabulate(self) -> Iterator[dict[str, Any]]:
        for i, layer_a in enumerate(self.layers_a):
            for j, layer_b in enumerate(self.layers_b):
                held = {name.removesuffix("s"): t[i][j] for name, t in self._tables().items()}
                yield {"layer_a": layer_a, "layer_b": layer_b, **held}

    def height(self, width: float) -> float:
        across, tall = self._cells(width)
        return tall + label_room(self.layers_b, across) + _BELOW * rc("font.size") / 72

    def _cells(self, width: float) -> tuple[float, float]:
        """Width and height of all cells in inches, in a panel of a width.

        Cells are as high as labels of all rows need, up to a limit that grows with the number of
        rows for each column; a map of few rows is flat.
        """
        rows, columns = len(self.layers_a), len(self.layers_b)
        beside = _BESIDE * rc("font.size") / 72
        needed = line_height() * rows
        highest = min(_HIGHEST, _USUAL * min(_TALLEST, max(1.0, rows / columns))) * width
        tall = min(needed, highest)
        for _ in range(2):  # the labels follow from the height, the width from the labels
            named = label_room(self.layers_a, tall, _NAMES * width)
            across = max(0.2 * width, width - named - beside)
            usual = across * min(1.0, max(_FLATTEST, rows / columns))
            tall = max(usual, min(needed, highest if rows > columns else across))
        return across, tall

    @classmethod
    def notes(cls, panels: Sequence[Heatmap]) -> list[Artist]:
        labels = dict.fromkeys(panel._dotted for panel in panels if panel.dots)
        name = next(iter(labels)) if len(labels) == 1 else "column layer"
        return [line_entry(color="none", **_dot(), label=f"most similar {name}")] if labels else []

    @property
    def _dotted(self) -> str:
        """The name of the layers that dots mark."""
        return "other layer" if self._own() else f"{self.name_b} layer"

    def _own(self) -> dict[int, int]:
        values = np.array(self.values, float)
        return own_cells(values, self.name_a, self.name_b, self.layers_a, self.layers_b)

    @classmethod
    def scale(cls, panels: Sequence[Heatmap]) -> Scale:
        labels = {panel.meaning for panel in panels}
        label = labels.pop() if len(labels) == 1 else "CKA"
        ends = np.array([panel.ends for panel in panels])
        low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
        found = [value for panel in panels for row in panel.values for value in row]
        known = [value for value in found if not np.isnan(value)] or [low]
        return Scale(label, low, high, COLORMAP, _beyond(known, low, high))

    @property
    def ends(self) -> tuple[float, float]:
        """Values at the ends of the colours."""
        return self.limits or (0.0, 1.0)

    def with_colours(self, limits: tuple[float, float]) -> Heatmap:
        return replace(self, limits=limits)

    @property
    def meaning(self) -> str:
        """The similarity that colours show."""
        name, _, fraction = self.kernel.partition(":")
        name = f"RBF ({fraction} of the median)" if name == "rbf" else name.capitalize()
        return f"{name} CKA ({self.estimator})"

    def draw(self, ax: Axes, frame: Frame) -> None:
        across, tall = frame.inside or self._squeezed(frame)
        self._draw_cells(ax, np.array(self.values, float))
        self._draw_groups(ax)
        if self.dots:
            self._draw_dots(ax, across, tall)
        bare(ax)
        self._name_layers(ax, frame, across, tall)
        ax.set_xlabel(axis_name(f"{self.name_b} layer", self.layers_b))
        ax.set_ylabel(axis_name(f"{self.name_a} layer", self.layers_a))

    def _squeezed(self, frame: Frame) -> tuple[float, float]:
        """Width and height of all cells in a frame that may be lower than they need."""
        across, tall = self._cells(frame.width)
        needed = self.height(frame.width) + 1.2 * rc("font.size") / 72
        share = min(1.0, (frame.height - needed + tall) / tall)
        return share * across, share * tall

    def _name_layers(self, ax: Axes, frame: Frame, across: float, tall: float) -> None:
        label_layers(ax.xaxis, self.layers_b, inches=across, rotation=90)
        label_layers(ax.yaxis, self.layers_a, inches=tall, longest=_NAMES * frame.width)

    def settle(self, ax: Axes, frame: Frame) -> None:
        across, tall = self._squeezed(frame)
        ax.set_box_aspect(tall / across)
        wide, high = inches_of(ax)
        left = min(wide / across, high / tall)
        if left < _CLOSER:  # other names and the bar took more than was reckoned
            self._name_layers(ax, frame, left * across, left * tall)

    def _draw_dots(self, ax: Axes, across: float, tall: float) -> None:
        """Draw dots no larger than a cell, so that dots of neighbours stay apart."""
        found = best_match(np.array(self.values, float), self._own())
        best = [(j, i) for i, j in enumerate(found) if j is not None]
        cell = 72 * min(across / len(self.layers_b), tall / len(self.layers_a))
        look = _dot()
        look["markersize"] = min(look["markersize"], max(_SMALLEST, cell))
        if best:
            ax.plot(*zip(*best, strict=True), linestyle="none", **look)

    def _draw_cells(self, ax: Axes, values: np.ndarray) -> None:
        ax.imshow(
            np.ma.masked_invalid(values),
            origin="lower",
            vmin=self.ends[0],
            vmax=self.ends[1],
            cmap=colormap(COLORMAP, bad="0.7"),
            interpolation="nearest",
            aspect="auto",
        )

    def _draw_groups(self, ax: Axes) -> None:
        for position in boundaries(self.layers_b):
            ax.axvline(position - 0.5, color="white", linewidth=0.6)
        for position in boundaries(self.layers_a):
            ax.axhline(position - 0.5, color="white", linewidth=0.6)


def _beyond(
    values: Sequence[float], low: float, high: float
) -> Literal["neither", "min", "max", "both"]:
    """The ends of a scale that values lie beyond, by more than rounding."""
    below, above = min(values) < low - _ROUNDING, max(values) > high + _ROUNDING
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def _dot() -> dict[str, Any]:
    return {
        "markersize": 0.43 * rc("font.size"),
        "marker": "o",
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.4,
    }
