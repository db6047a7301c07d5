"""Axes: their ends, ticks, scales and names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from repsim.figures.artists import rc
from repsim.figures.text import wrapped
from repsim.results.figure import Frame, Panel
from repsim.results.records import is_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import MaxNLocator

#: Inches below which labels of five ticks would meet.
_FEW = 2.2

#: Share of the width of a panel that its horizontal axis takes, about.
LONG = 0.7

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def check_limits(panel: Panel, limits: tuple[float, float] | None) -> None:
    """Refuse ends of an axis that are not two rising numbers."""
    rising = limits is None or (is_finite(limits) and limits[0] < limits[1])
    panel.require(rising, "two rising numbers as limits of an axis")


def check_table(
    panel: Panel, name: str, table: Sequence[Sequence[Any]], rows: int, columns: int
) -> None:
    """Refuse a table of another shape."""
    fits = len(table) == rows and all(len(row) == columns for row in table)
    panel.require(fits, f"{rows} rows of {columns} as {name}")


def few_ticks(width: float = math.inf, *, integer: bool = False) -> MaxNLocator:
    """Ticks at round numbers: about five, or three on a panel of few inches."""
    from matplotlib.ticker import MaxNLocator

    most, least = 3 if width < _FEW else 5, 1 if integer else 2  # one whole number is enough
    return MaxNLocator(most, integer=integer, steps=[1, 2, 2.5, 5, 10], min_n_ticks=least)


def name_axes(ax: Axes, xlabel: str, ylabel: str, frame: Frame) -> None:
    """Names of the axes, in lines that are no longer than these."""
    ax.set_xlabel(wrapped(xlabel, 0.85 * frame.width))
    ax.set_ylabel(wrapped(ylabel, 0.8 * frame.height))


def bare(ax: Axes) -> None:
    """Leave out frame and ticks; their labels stay."""
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def inches_of(ax: Axes) -> tuple[float, float]:
    """Width and height of axes as they are laid out, in inches."""
    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    return box.width, box.height


def usual_height(width: float) -> float:
    """Inches of a panel of numbers over numbers: flatter where it is wide."""
    size = rc("font.size") / 72
    return min(0.8 * width, 0.12 * width + 17 * size) + 1.2 * size


def set_limits(ax: Axes, limits: tuple[float, float] | None, *, log: bool = False) -> None:
    """Ends, ticks and scale of the axis of values."""
    from matplotlib.ticker import FuncFormatter

    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: _between(ax, value)))
    else:
        ax.yaxis.set_major_locator(few_ticks())
        ax.ticklabel_format(axis="y", useOffset=False)
    if limits is not None:
        ax.set_ylim(*limits)


def power(value: float) -> str:
    """A number on a logarithmic axis, powers of ten as such, without TeX."""
    exponent = math.log10(value) if value > 0 else math.nan
    if abs(exponent) < 3 or not exponent.is_integer():
        return f"{value:g}"
    return "10" + str(int(exponent)).translate(_SUPERSCRIPTS)


def _between(ax: Axes, value: float) -> str:
    """A number between powers of ten, where an axis shows fewer than two of these."""
    low, high = (math.log10(end) for end in sorted(ax.get_ylim()))
    powers = math.floor(high) - math.ceil(low) + 1
    leading = f"{value:e}"[0]
    return f"{value:g}" if powers < 1 or (powers == 1 and leading in "25") else ""
