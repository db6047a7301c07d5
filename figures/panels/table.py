"""Tables, as papers print them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import rc
from repsim.figures.text import DASH, extent, fitting
from repsim.results.figure import Frame, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Share of its width that is left beside names and bars of other panels.
_SHARE = 0.75


@dataclass(frozen=True)
class PrintedTable(Panel):
    """A table, with rules above, below the names of the columns and below; first column left.

    Attributes:
        columns: their names; the first column names the rows.
        rows: a list of cells each. Text is printed as it is; of numbers four digits, of NaN a dash.
    """

    type: ClassVar[str] = "table"
    wide: ClassVar[bool] = True

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    def check(self) -> None:
        count = len(self.columns)
        self.require(count > 0, "names of columns")
        fits = bool(self.rows) and all(len(row) == count for row in self.rows)
        self.require(fits, f"rows of {count} texts or numbers")

    def tabulate(self) -> Iterator[dict[str, Any]]:
        for first, *cells in self.rows:
            for column, cell in zip(self.columns[1:], cells, strict=True):
                yield {"series": column, "x": first, "value": cell}

    def height(self, width: float) -> float:
        return (len(self.rows) + 2) * 1.4 * 1.2 * rc("font.size") / 72

    def _texts(self) -> list[list[str]]:
        return [list(self.columns), *([_text(cell) for cell in row] for row in self.rows)]

    def _edges(self) -> np.ndarray:
        """Left ends of the columns and the right end of the last, in units of the font's size."""
        columns = zip(*self._texts(), strict=True)
        return np.cumsum([0.0, *(max(map(extent, column)) + 1.2 for column in columns)])

    def font(self, width: float, largest: float) -> float:
        return fitting(self._edges()[-1], _SHARE * width, largest)

    def draw(self, ax: Axes, frame: Frame) -> None:
        texts, edges = self._texts(), self._edges()
        for i, row in enumerate(texts):
            self._write(ax, i, row, edges, frame.font)
        for at, thick in ((0, 1.0), (1, 0.6), (len(texts), 1.0)):
            ax.plot([0, edges[-1]], [at, at], color="black", linewidth=thick, clip_on=False)
        # Not wider or higher than its text, even where its row is.
        reach = max(0.0, 72 * _SHARE * frame.width / frame.font - edges[-1]) / 2
        ax.set_xlim(-reach, edges[-1] + reach)
        highest = 0.8 * frame.height * 72 / (1.7 * frame.font)
        ax.set_ylim(max(len(texts) + 0.1, highest), -0.1)
        ax.axis("off")

    def _write(self, ax: Axes, i: int, row: list[str], edges: np.ndarray, font: float) -> None:
        for k, cell in enumerate(row):
            at = 0.3 if k == 0 else edges[k + 1] - 0.3
            ax.text(at, i + 0.5, cell, ha="left" if k == 0 else "right", va="center", size=font)


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return DASH if math.isnan(cell) else f"{cell:.4g}"
