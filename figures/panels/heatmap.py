"""Layers against layers, as colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from repsim.figures.artists import COLORMAP, colormap, line_entry, rc
from repsim.figures.axes import bare, check_table
from repsim.figures.layer_labels import boundaries, label_layers
from repsim.moved import renamed_parameters
from repsim.results import SimilarityMap, best_match
from repsim.results.figure import Frame, Panel, Scale

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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
        dots: mark the most similar layer of b for each layer of a by a white dot.
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
        return 0.88 * width + 2.4 * rc("font.size") / 72

    @classmethod
    def notes(cls, panels: Sequence[Heatmap]) -> list[Artist]:
        columns = dict.fromkeys(panel.name_b for panel in panels if panel.dots)
        name = next(iter(columns), "") if len(columns) == 1 else "column"
        label = f"most similar {name} layer"
        return [line_entry(color="none", **_dot(), label=label)] if columns else []

    @classmethod
    def scale(cls, panels: Sequence[Heatmap]) -> Scale:
        labels = {panel.meaning for panel in panels}
        return Scale(labels.pop() if len(labels) == 1 else "CKA", 0.0, 1.0, COLORMAP)

    @property
    def meaning(self) -> str:
        """The similarity that colours show."""
        name, _, fraction = self.kernel.partition(":")
        name = f"RBF ({fraction} of the median)" if name == "rbf" else name.capitalize()
        return f"{name} CKA ({self.estimator})"

    def draw(self, ax: Axes, frame: Frame) -> None:
        values = np.array(self.values, float)
        self._draw_cells(ax, values)
        self._draw_groups(ax)
        best = [(j, i) for i, j in enumerate(best_match(values)) if j is not None]
        if self.dots and best:
            ax.plot(*zip(*best, strict=True), linestyle="none", **_dot())
        inches = 0.6 * min(frame.width, frame.height)
        label_layers(ax.xaxis, self.layers_b, inches=inches, rotation=90)
        label_layers(ax.yaxis, self.layers_a, inches=inches)
        ax.set_xlabel(f"{self.name_b} layer")
        ax.set_ylabel(f"{self.name_a} layer")
        bare(ax)

    def settle(self, ax: Axes) -> None:
        ax.set_box_aspect(1)

    def _draw_cells(self, ax: Axes, values: np.ndarray) -> None:
        ax.imshow(
            np.ma.masked_invalid(values),
            origin="lower",
            vmin=0,
            vmax=1,
            cmap=colormap(COLORMAP, bad="0.7"),
            interpolation="nearest",
            aspect="auto",
        )

    def _draw_groups(self, ax: Axes) -> None:
        for position in boundaries(self.layers_b):
            ax.axvline(position - 0.5, color="white", linewidth=0.6)
        for position in boundaries(self.layers_a):
            ax.axhline(position - 0.5, color="white", linewidth=0.6)


def _dot() -> dict[str, Any]:
    return {
        "markersize": 0.43 * rc("font.size"),
        "marker": "o",
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.4,
    }
