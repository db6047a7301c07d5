"""Figures of several panels, drawn from their data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from repsim.figures.legends import Legend, draw_own, legend_of, own_height
from repsim.figures.looks import looks_of
from repsim.figures.style import is_narrow, styled
from repsim.figures.text import wrapped
from repsim.results.figure import FigureData, Frame, Panel, Scale

#: Inches that all rows may be high: of a slide, and of a page.
_SLIDE, _PAGE = 5.0, 8.6


def panels(data: FigureData, *, style: str = "page") -> Figure:
    """The panels of a figure: up to three side by side; on a column below each other, or if they
    are many by twos, with diagrams and tables over its width.

    Panels of a type share one scale of colours and its bar, all panels a legend where each has an
    entry in common with another: in the place of a missing last panel, or below all. A label has
    one look in the whole figure; looks differ in marker or stroke as well as in colour. Text is
    drawn as it is, without TeX.

    Args:
        data: what to draw.
        style: the size.

    Raises:
        UsageError: no such style.
    """
    with styled(style) as width, mpl.rc_context({"text.parse_math": False}):
        looks = looks_of(data.panels)
        legend = legend_of(data.panels, looks)
        plan = _planned(data, width, legend)
        fig = plt.figure(figsize=(width, plan.height), layout="constrained")
        grid = fig.add_gridspec(len(plan.rows), plan.across, height_ratios=plan.heights)
        placed = _draw_panels(fig, grid, plan, looks)
        _draw_bars(fig, plan, placed)
        _draw_legend(fig, grid, plan)
        _settle(fig, placed)
    return fig


# --- where


@dataclass(frozen=True)
class _Plan:
    """Places of the panels of a figure.

    Attributes:
        width: of the figure, in inches.
        rows: the panels with their titles, row by row.
        cells: by how many panels the width is shared in each row.
        heights: of the rows, in inches.
        legend: of the whole figure.
        beside: the legend stands in the place of a missing last panel.
    """

    width: float
    rows: list[list[tuple[str, Panel]]]
    cells: list[int]
    heights: list[float]
    legend: Legend
    beside: bool

    @property
    def across(self) -> int:
        """Panels of the fullest row."""
        return max(map(len, self.rows))

    @property
    def height(self) -> float:
        """Inches of the figure."""
        below = 0.0 if self.beside else self.legend.height(self.width)
        return sum(self.heights) + below + 0.05

    def font(self, kind: type[Panel]) -> float:
        """The size of text in panels of a type."""
        largest = mpl.rcParams["font.size"]
        return min(
            panel.font(self.width / count, largest)
            for row, count in zip(self.rows, self.cells, strict=True)
            for _, panel in row
            if type(panel) is kind
        )

    def height_of(self, kind: type[Panel]) -> float:
        """Inches of the rows that have panels of a type."""
        return sum(
            height
            for row, height in zip(self.rows, self.heights, strict=True)
            if any(type(panel) is kind for _, panel in row)
        )


def _planned(data: FigureData, width: float, legend: Legend) -> _Plan:
    """The plan of a figure, with the legend beside the last panels if it fits there."""
    several = len(data.panels) > 1
    titled = [(f"({a}) {p.title}" if several else p.title, p) for a, p in data.lettered()]
    rows = _arranged(titled, narrow=is_narrow(width))
    across = max(map(len, rows))
    if legend.shared and len(rows[-1]) < across and legend.handles_of(rows[-1][-1][1]):
        cells = [1 if len(row) == 1 else across for row in rows[:-1]] + [across]
        heights = _heights(rows, cells, width, legend)
        free = width * (1 - len(rows[-1]) / across)
        if legend.fits(free, 0.8 * heights[-1]):
            return _Plan(width, rows, cells, heights, legend, beside=True)
    cells = [1 if len(row) == 1 else across for row in rows]
    return _Plan(width, rows, cells, _heights(rows, cells, width, legend), legend, beside=False)


def _arranged(
    titled: Sequence[tuple[str, Panel]], *, narrow: bool
) -> list[list[tuple[str, Panel]]]:
    """The rows of a figure."""
    if not narrow:
        return _even(titled, 3)
    found: list[list[tuple[str, Panel]]] = []
    for wide, run in groupby(titled, lambda pair: pair[1].wide):
        found += _even(list(run), 1 if wide or len(titled) <= 3 else 2)
    return found


def _even(titled: Sequence[Any], most: int) -> list[list[Any]]:
    """Rows of at most so many panels, as even as can be."""
    lines = -(-len(titled) // most)
    columns = -(-len(titled) // lines)
    return [list(titled[k : k + columns]) for k in range(0, len(titled), columns)]


def _heights(
    rows: Sequence[Sequence[tuple[str, Panel]]],
    cells: Sequence[int],
    width: float,
    legend: Legend,
) -> list[float]:
    """Inches of the rows, which fit on a page together."""
    needed = [
        max(_height(title, panel, width / count, legend) for title, panel in row)
        for row, count in zip(rows, cells, strict=True)
    ]
    squeeze = min(1.0, (_SLIDE if width > 8 else _PAGE) / sum(needed))
    return [height * squeeze for height in needed]


def _height(title: str, panel: Panel, inches: float, legend: Legend) -> float:
    """Inches of a panel with its title and its own legend."""
    line = 1.2 * mpl.rcParams["font.size"] / 72
    lines = len(wrapped(title, 0.8 * inches).splitlines())
    own = 0.0 if legend.shared else own_height(legend.handles_of(panel), inches)
    return panel.height(inches) + line * max(1, lines) + own


# --- drawing


def _draw_panels(
    fig: Figure, grid: GridSpec, plan: _Plan, looks: dict[str, dict[str, Any]]
) -> list[tuple[Axes, Panel]]:
    """Every panel on its axes, with a title that stands as high as the others of its row."""
    placed = []
    for i, row in enumerate(plan.rows):
        width = plan.width / plan.cells[i]
        own = [[] if plan.legend.shared else plan.legend.handles_of(panel) for _, panel in row]
        above = max(own_height(handles, width) for handles in own)
        for j, (title, panel) in enumerate(row):
            ax = fig.add_subplot(grid[i, j if plan.cells[i] > 1 else slice(None)])
            panel.draw(ax, Frame(width, plan.heights[i], plan.font(type(panel)), looks))
            draw_own(ax, own[j], width)
            # The axes have less than all of the width.
            pad = mpl.rcParams["axes.titlepad"] + 72 * above
            ax.set_title(wrapped(title, 0.8 * width), pad=pad)
            placed.append((ax, panel))
    return placed


def _draw_bars(fig: Figure, plan: _Plan, placed: Sequence[tuple[Axes, Panel]]) -> None:
    """A bar for the colours that the panels of a type share."""
    for kind in dict.fromkeys(type(panel) for _, panel in placed):
        axes = [ax for ax, panel in placed if type(panel) is kind]
        scale = kind.scale([panel for _, panel in placed if type(panel) is kind])
        if scale is not None:
            _draw_bar(fig, axes, scale, plan.height_of(kind))


def _draw_bar(fig: Figure, axes: Sequence[Axes], scale: Scale, height: float) -> None:
    # Labels of one width whatever their number: a layout that moves them would not end.
    ticks = MaxNLocator("auto", steps=[2, 5, 10])
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colormap)
    shrink = min(0.8, 2.4 / height)
    look: dict[str, Any] = {"shrink": shrink, "pad": 0.02, "aspect": 22, "ticks": ticks}
    bar = fig.colorbar(colours, ax=list(axes), **look)
    bar.set_label(wrapped(scale.label, 0.7 * height))
    bar.outline.set_visible(False)


def _draw_legend(fig: Figure, grid: GridSpec, plan: _Plan) -> None:
    handles: list[Artist] = plan.legend.handles
    if not handles:
        return
    if plan.beside:
        free = fig.add_subplot(grid[-1, len(plan.rows[-1]) :])
        free.set_axis_off()
        free.legend(handles=handles, handlelength=plan.legend.length, loc="center")
        return
    fig.legend(
        handles=handles,
        handlelength=plan.legend.length,
        loc="outside lower center",
        ncols=plan.legend.columns(plan.width),
    )


def _settle(fig: Figure, placed: Sequence[tuple[Axes, Panel]]) -> None:
    """Give axes their shapes in their places, for the layout takes gaps for room; and move a legend
    that is wider than its axes to the left, over the names beside them."""
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    for ax, panel in placed:
        panel.settle(ax)
        legend = ax.get_legend()
        if legend is not None and legend.get_window_extent().x1 > ax.bbox.x1:
            legend.set_bbox_to_anchor((1.0, 1.0), ax.transAxes)
            legend.set_loc("lower right")
