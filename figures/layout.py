"""Figures of several panels, drawn from their data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from repsim.errors import UsageError
from repsim.figures.axes import inches_of
from repsim.figures.fonts import fonts_for
from repsim.figures.legends import Legend, draw_own, legend_of, own_height
from repsim.figures.looks import looks_of
from repsim.figures.style import Style, in_points, is_narrow, styled
from repsim.figures.text import wrapped
from repsim.results.figure import FigureData, Frame, Panel, Scale

#: Inches that all rows may be high: of a slide, and of a page.
_SLIDE, _PAGE = 5.0, 8.6

#: Share of a panel that its axes take, of the names and ticks around them the rest.
_INSIDE = 0.75

#: Space between panels and the legend below them, at most, in units of the font.
_GAP = 1.0


class Drawn(Figure):
    """A figure that keeps its data, so that its caption can be written beside it."""

    def __init__(self, *arguments: Any, data: FigureData, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.data = data


def panels(
    data: FigureData,
    *,
    style: str | Style = "page",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """The panels of a figure: up to three side by side; on a column below each other, or if they
    are many by twos, with diagrams and tables over its width.

    Panels of a type share one scale of colours and its bar, all panels a legend where each has an
    entry in common with another: in the place of a missing last panel, or below all. A label has
    one look in the whole figure; looks differ in marker or stroke as well as in colour. Text is
    drawn as it is, without TeX; another font of the machine draws letters that the first lacks.

    Args:
        data: what to draw.
        style: the size.
        ax: axes to draw on, one for each panel; then their figure is returned, and the settings in
            force hold instead of a style.

    Raises:
        UsageError: no such style, or another number of axes than of panels.
    """
    if ax is not None:
        return _draw_on(data, [ax] if isinstance(ax, Axes) else list(ax))
    with styled(style) as width, fonts_for(data):
        looks = looks_of(data.panels)
        legend = legend_of(data.panels, looks)
        plan = _planned(data, width, legend)
        fig = plt.figure(
            figsize=(width, plan.height), layout="constrained", FigureClass=Drawn, data=data
        )
        if plan.heading:
            fig.suptitle(plan.heading, fontsize=mpl.rcParams["font.size"])
        heights = [row.height for row in plan.rows]
        grid = fig.add_gridspec(len(plan.rows), plan.across, height_ratios=heights)
        placed = _draw_panels(fig, grid, plan, looks)
        _draw_bars(fig, plan, placed)
        _draw_legend(fig, grid, plan)
        _settle(fig, placed)
        _tighten(fig)
    return fig


def _draw_on(data: FigureData, axes: Sequence[Axes]) -> Figure:
    """Draw the panels on given axes, each with its bar and legend."""
    if len(axes) != len(data.panels):
        raise UsageError(
            f"{len(axes)} axes arrived for {len(data.panels)} panels; expected one each"
        )
    with in_points(), fonts_for(data):
        looks = looks_of(data.panels)
        for panel, ax in zip(data.panels, axes, strict=True):
            _draw_alone(ax, panel, looks)
    return cast(Figure, axes[0].get_figure(root=True))


def _draw_alone(ax: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    inside = inches_of(ax)
    across, tall = (each / _INSIDE for each in inside)
    font = panel.font(across, mpl.rcParams["font.size"])
    panel.draw(ax, Frame(across, tall, font, looks, inside))
    scale = type(panel).scale([panel])
    if scale is not None:
        _draw_bar(cast(Figure, ax.get_figure(root=True)), [ax], scale, tall)
    handles = [*panel.handles(looks), *type(panel).notes([panel])]
    draw_own(ax, handles, across)
    _set_title(ax, panel.title, inside[0], own_height(handles, across))


# --- where


@dataclass(frozen=True)
class _Row:
    """Panels beside each other.

    Attributes:
        panels: with their titles.
        width: of each, in inches.
        height: of all, in inches.
    """

    panels: list[tuple[str, Panel]]
    width: float
    height: float

    def of(self, kind: type[Panel]) -> list[Panel]:
        """Its panels of a type."""
        return [panel for _, panel in self.panels if type(panel) is kind]


@dataclass(frozen=True)
class _Plan:
    """Places of the panels of a figure.

    Attributes:
        width: of the figure, in inches.
        rows: from above.
        legend: of the whole figure.
        beside: the legend stands in the place of a missing last panel.
        heading: the lines above all panels, empty without any.
    """

    width: float
    rows: list[_Row]
    legend: Legend
    beside: bool
    heading: str

    @property
    def across(self) -> int:
        """Panels of the fullest row."""
        return max(len(row.panels) for row in self.rows)

    @property
    def height(self) -> float:
        """Inches of the figure."""
        below = 0.0 if self.beside else self.legend.height(self.width)
        lines = self.heading.count("\n") + 1 if self.heading else 0
        above = 1.4 * lines * mpl.rcParams["font.size"] / 72
        return above + sum(row.height for row in self.rows) + below + 0.05

    def font(self, kind: type[Panel]) -> float:
        """The size of text in panels of a type."""
        largest = mpl.rcParams["font.size"]
        return min(panel.font(row.width, largest) for row in self.rows for panel in row.of(kind))

    def height_of(self, kind: type[Panel]) -> float:
        """Inches of the rows that have panels of a type."""
        return sum(row.height for row in self.rows if row.of(kind))


def _planned(data: FigureData, width: float, legend: Legend) -> _Plan:
    """The plan of a figure, with the legend beside the last panels if it fits there."""
    several = len(data.panels) > 1
    heading = wrapped(data.heading or "", 0.9 * width)
    titled = [(f"({a}) {p.title}" if several else p.title, p) for a, p in data.lettered()]
    arranged = _arranged(titled, narrow=is_narrow(width))
    across, last = max(map(len, arranged)), arranged[-1]
    widths = [width / (1 if len(row) == 1 else across) for row in arranged]
    if legend.shared and len(last) < across and legend.own[id(last[-1][1])]:
        rows = _sized(arranged, [*widths[:-1], width / across], width, legend)
        if legend.fits(width * (1 - len(last) / across), 0.8 * rows[-1].height):
            return _Plan(width, rows, legend, beside=True, heading=heading)
    rows = _sized(arranged, widths, width, legend)
    return _Plan(width, rows, legend, beside=False, heading=heading)


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


def _sized(
    arranged: Sequence[list[tuple[str, Panel]]],
    widths: Sequence[float],
    width: float,
    legend: Legend,
) -> list[_Row]:
    """Rows of panels of the widths, which fit on a page together."""
    needed = [
        max(_height(title, panel, inches, legend) for title, panel in row)
        for row, inches in zip(arranged, widths, strict=True)
    ]
    squeeze = min(1.0, (_SLIDE if width > 8 else _PAGE) / sum(needed))
    heights = [squeeze * high for high in needed]
    return [_Row(*each) for each in zip(arranged, widths, heights, strict=True)]


def _height(title: str, panel: Panel, inches: float, legend: Legend) -> float:
    """Inches of a panel with its title and its own legend."""
    line = 1.2 * mpl.rcParams["font.size"] / 72
    lines = len(wrapped(title, 0.8 * inches).splitlines())
    above = own_height(legend.above(panel), inches)
    return panel.height(inches) + line * max(1, lines) + above


# --- drawing


@dataclass(frozen=True)
class _Placed:
    """A panel on its axes."""

    ax: Axes
    panel: Panel
    frame: Frame


def _draw_panels(
    fig: Figure, grid: GridSpec, plan: _Plan, looks: dict[str, dict[str, Any]]
) -> list[_Placed]:
    """Every panel on its axes, with a title that stands as high as the others of its row."""
    placed = []
    for i, row in enumerate(plan.rows):
        above = max(own_height(plan.legend.above(panel), row.width) for _, panel in row.panels)
        for j, (title, panel) in enumerate(row.panels):
            ax = fig.add_subplot(grid[i, j if row.width < plan.width else slice(None)])
            frame = Frame(row.width, row.height, plan.font(type(panel)), looks)
            panel.draw(ax, frame)
            draw_own(ax, plan.legend.above(panel), row.width)
            # The axes have less than all of the width.
            _set_title(ax, title, 0.8 * row.width, above)
            placed.append(_Placed(ax, panel, frame))
    return placed


def _set_title(ax: Axes, title: str, inches: float, above: float) -> None:
    """Set a title in lines of a length, as many inches higher as a legend below it needs."""
    ax.set_title(wrapped(title, inches), pad=mpl.rcParams["axes.titlepad"] + 72 * above)


def _draw_bars(fig: Figure, plan: _Plan, placed: Sequence[_Placed]) -> None:
    """A bar for the colours that the panels of a type share."""
    for kind in dict.fromkeys(type(each.panel) for each in placed):
        alike = [each for each in placed if type(each.panel) is kind]
        scale = kind.scale([each.panel for each in alike])
        if scale is not None:
            _draw_bar(fig, [each.ax for each in alike], scale, plan.height_of(kind))


def _draw_bar(fig: Figure, axes: Sequence[Axes], scale: Scale, height: float) -> None:
    # Labels of one width whatever their number: a layout that moves them would not end.
    ticks = MaxNLocator("auto", steps=[2, 5, 10])
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colormap)
    shrink = min(0.8, 2.4 / height)
    look: dict[str, Any] = {"shrink": shrink, "pad": 0.02, "aspect": 22, "ticks": ticks}
    look["extend"] = scale.beyond
    bar = fig.colorbar(colours, ax=list(axes), **look)
    bar.set_label(wrapped(scale.label, 0.7 * height))
    bar.outline.set_visible(False)


def _draw_legend(fig: Figure, grid: GridSpec, plan: _Plan) -> None:
    handles: list[Artist] = plan.legend.handles
    if not handles:
        return
    if plan.beside:
        free = fig.add_subplot(grid[-1, len(plan.rows[-1].panels) :])
        free.set_axis_off()
        free.legend(handles=handles, handlelength=plan.legend.length, loc="center")
        return
    fig.legend(
        handles=handles,
        handlelength=plan.legend.length,
        loc="outside lower center",
        ncols=plan.legend.columns(plan.width),
    )


def _settle(fig: Figure, placed: Sequence[_Placed]) -> None:
    """Give axes their shapes in their places, for the layout takes gaps for room.

    Legends that are wider than their axes move over the names beside them, long names of axes into
    the figure.
    """
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    for each in placed:
        each.panel.settle(each.ax, each.frame)
        legend = each.ax.get_legend()
        if legend is not None and legend.get_window_extent().x1 > each.ax.bbox.x1:
            legend.set_bbox_to_anchor((1.0, 1.0), each.ax.transAxes)
            legend.set_loc("lower right")
    for ax in fig.axes:
        _keep_inside(fig, ax)
    _centre(fig)


def _centre(fig: Figure) -> None:
    """Move all axes by so much that the figure is as empty on the left as on the right.

    Axes that are narrower than their places stand beside their bar of colours.
    """
    boxes = [box for box in (ax.get_tightbbox() for ax in fig.axes) if box is not None]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    shift = (fig.bbox.x0 + fig.bbox.x1 - left - right) / 2 / fig.bbox.width
    for ax in fig.axes:
        ax.set_position(ax.get_position(original=True).translated(shift, 0))


def _tighten(fig: Figure) -> None:
    """Take the room out of a figure that panels, flatter than their places, leave above a legend.

    Axes keep their inches, and the legend stays at the lower edge.
    """
    lowest = min(box.y0 for box in (ax.get_tightbbox() for ax in fig.axes) if box is not None)
    edge = max((each.get_window_extent().y1 for each in fig.legends), default=fig.bbox.y0)
    spare = lowest - edge - _GAP * mpl.rcParams["font.size"] * fig.dpi / 72
    if spare <= 0:
        return
    before = fig.bbox.height
    places = {ax: ax.get_position(original=True) for ax in fig.axes}
    fig.set_figheight((before - spare) / fig.dpi)
    for ax, place in places.items():
        rows = [(end * before - spare) / (before - spare) for end in (place.y0, place.y1)]
        ax.set_position((place.x0, rows[0], place.width, rows[1] - rows[0]))


def _keep_inside(fig: Figure, ax: Axes) -> None:
    """Move the names of axes that are longer than these away from the edge of the figure."""
    across, upright = ax.xaxis.label, ax.yaxis.label
    beyond = across.get_window_extent().x1 - fig.bbox.x1
    if beyond > 0:
        across.set_x(across.get_position()[0] - beyond / ax.bbox.width)
    above = upright.get_window_extent().y1 - fig.bbox.y1
    if above > 0:
        upright.set_y(upright.get_position()[1] - above / ax.bbox.height)
