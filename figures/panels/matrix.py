"""Numbers in cells, on colours that follow them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.figures.artists import colormap, rc
from repsim.figures.axes import bare, check_limits, check_table
from repsim.figures.text import DASH, extent, fitting
from repsim.results.figure import Frame, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of numbers without a centre, rising in darkness, and of those around one.
_RISING, _DIVERGING = "Blues", "PuOr"

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Matrix(Panel):
    """Rows by columns of numbers, each written on a colour that follows it.

    With a ``centre`` colours diverge from it: white there, orange below, violet above. A cell
    without a number is grey, with a dash.

    Attributes:
        rows: (rows,) their names, from above.
        columns: (columns,) their names.
        values: (rows, columns) numbers, NaN where there is none.
        xlabel: name of the columns.
        ylabel: name of the rows.
        centre: number that colours diverge from; None lets them rise.
        limits: numbers at the ends of the colours; None takes the ends of the values.
        digits: decimals that are written.
        remarks: (rows, columns) small text below the numbers, such as ranks or intervals.
    """

    type: ClassVar[str] = "matrix"
    wide: ClassVar[bool] = True

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    xlabel: str = ""
    ylabel: str = ""
    centre: float | None = None
    limits: tuple[float, float] | None = None
    digits: int = 2
    remarks: Sequence[Sequence[str]] | None = None

    def check(self) -> None:
        down, across = len(self.rows), len(self.columns)
        self.require(bool(down and across), "names of rows and columns")
        check_table(self, "values", self.values, down, across)
        if self.remarks is not None:
            check_table(self, "remarks", self.remarks, down, across)
        check_limits(self, self.limits)
        self.require(self.centre is None or not np.isnan(self.centre), "a number as centre")
        self.require(0 <= self.digits <= 9, "0 to 9 digits")

    def tabulate(self) -> Iterator[dict[str, Any]]:
        for i, row in enumerate(self.rows):
            for j, column in enumerate(self.columns):
                remark = {} if self.remarks is None else {"remark": self.remarks[i][j]}
                yield {"series": row, "x": column, "value": self.values[i][j], **remark}

    def with_colours(self, limits: tuple[float, float]) -> Matrix:
        return replace(self, limits=limits)

    def texts(self) -> list[list[str]]:
        """The numbers as they are written."""
        return [[self._text(value) for value in row] for row in self.values]

    def _text(self, value: float) -> str:
        return DASH if np.isnan(value) else f"{value:.{self.digits}f}".replace("-", _MINUS)

    def height(self, width: float) -> float:
        line = 1.2 * rc("font.size") / 72
        cell = line * (1.9 if self.remarks is None else 3.1)
        names = max(map(extent, self.columns)) * line / 1.2 if self._upright(width) else line
        return len(self.rows) * cell + names + line * (1.4 if self.xlabel else 0.4)

    def _cell(self, width: float) -> float:
        """Inches that a cell is wide."""
        names = max(map(extent, self.rows)) * rc("ytick.labelsize") / 72
        return (0.9 * width - names - 0.3) / len(self.columns)

    def _upright(self, width: float) -> bool:
        """Names of columns are wider than their cells."""
        widest = max(map(extent, self.columns)) + 0.4
        return widest * rc("xtick.labelsize") / 72 > self._cell(width)

    def font(self, width: float, largest: float) -> float:
        longest = max(extent(text) for row in self.texts() for text in row)
        return fitting(longest + 0.6, self._cell(width), largest)

    def draw(self, ax: Axes, frame: Frame) -> None:
        from matplotlib.colors import Normalize

        values = np.ma.masked_invalid(np.array(self.values, float))
        low, high = self._ends(values)
        colours = colormap(_RISING if self.centre is None else _DIVERGING, bad="0.85")
        norm = Normalize(low, high)
        ax.imshow(values, cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
        self._write(ax, frame.font, colours(norm(values)))
        self._name(ax, 90 if self._upright(frame.width) else 0)

    def _ends(self, values: Any) -> tuple[float, float]:
        """Numbers at the ends of the colours; as far below the centre as above it."""
        low, high = self.limits or (
            (0.0, 1.0) if values.count() == 0 else (float(values.min()), float(values.max()))
        )
        if self.centre is None:
            return low, high
        reach = max(abs(low - self.centre), abs(high - self.centre))
        return self.centre - reach, self.centre + reach

    def _write(self, ax: Axes, font: float, colours: np.ndarray) -> None:
        at: dict[str, Any] = {"ha": "center", "va": "center"}
        for i, row in enumerate(self.texts()):
            for j, text in enumerate(row):
                ink = _ink(colours[i, j])
                lift = 0.0 if self.remarks is None else 0.14
                ax.text(j, i - lift, text, color=ink, fontsize=font, **at)
                if self.remarks is not None:
                    small = 0.75 * font
                    ax.text(j, i + 0.26, self.remarks[i][j], color=ink, fontsize=small, **at)

    def _name(self, ax: Axes, rotation: float) -> None:
        ax.set_xticks(range(len(self.columns)), list(self.columns), rotation=rotation)
        ax.set_yticks(range(len(self.rows)), list(self.rows))
        ax.set_xlabel(self.xlabel)
        ax.set_ylabel(self.ylabel)
        bare(ax)
        for edge in range(1, len(self.columns)):
            ax.axvline(edge - 0.5, color="white", linewidth=0.8)
        for edge in range(1, len(self.rows)):
            ax.axhline(edge - 0.5, color="white", linewidth=0.8)


def _ink(colour: np.ndarray) -> str:
    """Black or white, whichever has more contrast on a colour (WCAG 2.1, relative luminance)."""
    rgb = np.asarray(colour[:3], float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "black" if luminance > 0.179 else "white"
