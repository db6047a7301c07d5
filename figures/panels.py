"""Figures of several panels, drawn from their data alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import cycle, groupby
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from repsim.figures.heatmap import colour_bar, dot_handle, draw_map, scale_label
from repsim.figures.layers import boundaries, label_layers
from repsim.figures.style import MARKERS, STROKES, legend_columns, styled
from repsim.results.figure import ELLIPSIS, FigureData

Record = dict[str, Any]

#: Points of a line that have a marker: of many epochs, some.
_MARKED = 12


def panels(data: FigureData, *, style: str = "page") -> Figure:
    """The panels of a figure: up to three side by side; on a column below each other, or if they
    are many by twos, with diagrams and tables over its width.

    Heatmaps share one scale and one bar; lines share one legend where the same ones come again, in
    the place of a missing last panel or below all. A label has one look in the whole figure; looks
    differ in marker or stroke as well as in colour. Bands are the intervals of the data. Text is
    drawn as it is, without TeX.

    Args:
        data: what to draw.
        style: the size.

    Raises:
        UsageError: no such style.
    """
    with styled(style) as width, mpl.rc_context({"text.parse_math": False}):
        rows = _arranged(data.panels, narrow=width < 5)
        across = max(map(len, rows))
        legend = _legend(data.panels, looks := _looks(data.panels))
        size = mpl.rcParams["legend.fontsize"] / 72
        named = {str(handle.get_label()) for handle in legend}
        longest = max(map(len, named), default=0)
        spare = bool(legend) and len(rows[-1]) < across and rows[-1][-1]["type"] == "lines"
        cells, heights = _cells(rows, width, beside=spare)
        if spare:
            high, wide = 1.6 * size * len(legend), size * (0.55 * longest + 6)
            spare = high < 0.8 * heights[-1] and wide < width * (1 - len(rows[-1]) / across)
            cells, heights = _cells(rows, width, beside=spare)
        below_own = [max(_own_legend(panel, named) for panel in row) for row in rows]
        heights = [height + extra for height, extra in zip(heights, below_own, strict=True)]
        columns = 1 if spare else legend_columns(width, longest)
        below = 0.0 if spare else -(-len(legend) // columns) * 1.6 * size
        fig = plt.figure(figsize=(width, sum(heights) + below + 0.05), layout="constrained")
        grid = fig.add_gridspec(len(rows), across, height_ratios=heights)
        diagrams = [
            _font(panel, width / count)
            for row, count in zip(rows, cells, strict=True)
            for panel in row
            if panel["type"] == "diagram"
        ]
        letters = iter(letter for letter, _ in data.lettered())
        maps: list[tuple[Axes, AxesImage, Record]] = []
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                ax = fig.add_subplot(grid[i, j if cells[i] > 1 else slice(None)])
                size = (width / cells[i], heights[i])
                if panel["type"] == "heatmap":
                    maps.append((ax, _heatmap(ax, panel, size), panel))
                elif panel["type"] == "lines":
                    _lines(ax, panel, looks, size, own=not named.issuperset(_labels(panel)))
                elif panel["type"] == "diagram":
                    _diagram(ax, panel, size, min(diagrams))
                else:
                    _table(ax, panel, size)
                _title(ax, panel["title"], next(letters), size[0], len(data.panels) > 1)
        if maps:
            scales = {scale_label(panel["kernel"], panel["estimator"]) for _, _, panel in maps}
            label = scales.pop() if len(scales) == 1 else "CKA"
            high = sum(
                height
                for row, height in zip(rows, heights, strict=True)
                if any(panel["type"] == "heatmap" for panel in row)
            )
            axes = [ax for ax, _, _ in maps]
            colour_bar(
                fig, maps[0][1], axes, _wrapped(label, 0.7 * high), shrink=min(0.8, 2.4 / high)
            )
        if spare:
            free = fig.add_subplot(grid[-1, len(rows[-1]) :])
            free.set_axis_off()
            free.legend(handles=legend, handlelength=3.6, loc="center")
        elif legend:
            fig.legend(handles=legend, handlelength=3.6, loc="outside lower center", ncols=columns)
        # Square axes leave gaps that the layout would take for room; they become so in their place.
        fig.draw_without_rendering()
        fig.set_layout_engine("none")
        for ax, _, _ in maps:
            ax.set_box_aspect(1)
    return fig


# --- where


def _arranged(panels: Sequence[Record], *, narrow: bool) -> list[list[Record]]:
    """The rows of a figure."""
    if not narrow:
        return _even(panels, 3)
    found: list[list[Record]] = []
    for wide, run in groupby(panels, lambda panel: panel["type"] in ("diagram", "table")):
        found += _even(list(run), 1 if wide or len(panels) <= 3 else 2)
    return found


def _even(panels: Sequence[Record], most: int) -> list[list[Record]]:
    """Rows of at most so many panels, as even as can be."""
    lines = -(-len(panels) // most)
    columns = -(-len(panels) // lines)
    return [list(panels[k : k + columns]) for k in range(0, len(panels), columns)]


def _cells(
    rows: Sequence[Sequence[Record]], width: float, *, beside: bool
) -> tuple[list[int], list[float]]:
    """How many panels the width is shared by in each row, and how high the rows are.

    A panel alone in its row takes all of it, unless the legend stands beside it.
    """
    across = max(map(len, rows))
    cells = [1 if len(row) == 1 else across for row in rows]
    if beside:
        cells[-1] = across
    heights = [
        max(_height(panel, width / count) for panel in row)
        for row, count in zip(rows, cells, strict=True)
    ]
    highest = 5.0 if width > 8 else 8.6  # a slide, or a page, has no more
    squeeze = min(1.0, highest / sum(heights))
    return cells, [height * squeeze for height in heights]


def _height(panel: Record, inches: float) -> float:
    """What a panel of that width needs, with its title and the names of its axes."""
    line = 1.2 * mpl.rcParams["font.size"] / 72
    title = line * len(_wrapped(panel["title"], 0.8 * inches).splitlines())
    if panel["type"] == "heatmap":
        return 0.88 * inches + 2 * line + title
    if panel["type"] == "lines":
        return min(0.8 * inches, 0.12 * inches + 1.9) + line + title
    if panel["type"] == "diagram":
        deepest = max(box["row"] for box in panel["boxes"])
        return (deepest + 1) * 3.3 * line + title
    return (len(panel["rows"]) + 2) * 1.4 * line + title


def _title(ax: Axes, title: str, letter: str, inches: float, lettered: bool) -> None:
    text = f"({letter}) {title}" if lettered else title
    ax.set_title(_wrapped(text, 0.8 * inches))  # of which the axes have not all


def _wrapped(text: str, inches: float) -> str:
    """Lines of the font size of labels that long."""
    letters = int(inches * 72 / (0.55 * mpl.rcParams["font.size"]))
    return textwrap.fill(text, max(8, letters))


# --- heatmaps


def _heatmap(ax: Axes, panel: Record, size: tuple[float, float]) -> AxesImage:
    image = draw_map(
        ax,
        np.array(panel["values"], float),
        (panel["layers_a"], panel["layers_b"]),
        (panel["name_a"], panel["name_b"]),
        dots=panel["dots"],
        inches=0.6 * min(size),
    )
    ax.set_box_aspect(None)
    return image


# --- lines


def _labels(panel: Record) -> list[str]:
    return [series["label"] for series in panel.get("series", ())]


def _looks(panels: Sequence[Record]) -> dict[str, Record]:
    """By label: a colour and a marker a group, a stroke for each member of it."""
    every = {each["label"]: each for panel in panels for each in panel.get("series", ())}
    groups: dict[str, list[str]] = {}
    for label, each in every.items():
        if each["look"] in ("line", "points"):
            groups.setdefault(each["group"] or label, []).append(label)
    palette = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    own = dict(zip(groups, zip(cycle(palette), cycle(MARKERS), strict=False), strict=False))
    alone = all(len(members) == 1 for members in groups.values())
    controls: Iterator[tuple[str, str | None]] = cycle((("0.45", None), ("0.65", "x")))
    published = cycle("Dso^v")
    found: dict[str, Record] = {}
    for label, each in every.items():
        group = each["group"] or label
        if each["look"] in ("line", "points"):
            colour, marker = own[group]
            place = list(groups).index(group) if alone else groups[group].index(label)
            stroke = STROKES[place % len(STROKES)] if each["look"] == "line" else "none"
            found[label] = {"color": colour, "marker": marker, "linestyle": stroke}
        elif each["look"] == "control":
            grey, mark = next(controls)
            found[label] = {"color": grey, "marker": mark, "linestyle": "--"}
        elif each["look"] == "published":
            marker = own[group][1] if group in own else next(published)
            found[label] = {"color": "black", "marker": marker, "linestyle": "none"}
            found[label] |= {"markerfacecolor": "none", "markeredgewidth": 0.8, "zorder": 4}
        else:
            found[label] = {"color": "0.3", "linewidth": 0.7, "linestyle": (0, (1, 3))}
    return found


def _legend(panels: Sequence[Record], looks: dict[str, Record]) -> list[Line2D]:
    """What all panels share: lines, where none has any that the longest has not; and the dots."""
    labels = max((_labels(panel) for panel in panels), key=len)
    several = [_labels(panel) for panel in panels if panel["type"] == "lines"]
    handles = []
    if all(set(labels).issuperset(each) for each in several):
        handles = [Line2D([], [], label=label, **looks[label]) for label in labels]
    columns = dict.fromkeys(
        panel["name_b"] for panel in panels if panel["type"] == "heatmap" and panel["dots"]
    )
    if columns:
        name = next(iter(columns)) if len(columns) == 1 else "column"
        handles.append(dot_handle(name))
    return handles


def _own_legend(panel: Record, shared: set[str]) -> float:
    """Inches of the legend below a panel whose lines the shared one does not name."""
    if (
        panel["type"] != "lines"
        or shared.issuperset(_labels(panel))
        or isinstance(panel["x"][0], str)
    ):
        return 0.0
    return (len(_labels(panel)) + 1) // 2 * 1.4 * mpl.rcParams["legend.fontsize"] / 72


def _lines(
    ax: Axes, panel: Record, looks: dict[str, Record], size: tuple[float, float], *, own: bool
) -> None:
    layers = panel["x"] if isinstance(panel["x"][0], str) else None
    x = np.arange(len(layers)) if layers else np.array(panel["x"], float)
    for series in panel["series"]:
        look = looks[series["label"]]
        values = np.array(series["values"], float)
        apart = series["look"] in ("points", "published")
        marked = _marked(values, all_of_them=apart)
        ax.plot(x, values, label=series["label"], markersize=3, markevery=marked, **look)
        if series["low"] is not None:
            low, high = (np.array(series[key], float) for key in ("low", "high"))
            if apart or len(x) == 1:
                reach = np.clip([values - low, high - values], 0, None)
                bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 0.8, "capsize": 1.5}
                ax.errorbar(x, values, reach, **bars)
            else:
                ax.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
    if layers:
        for position in boundaries(layers):
            ax.axvline(position - 0.5, color="0.85", linewidth=0.6, zorder=0)
        label_layers(ax.xaxis, layers, inches=0.7 * size[0], rotation=90)
    else:
        whole = all(float(value).is_integer() for value in x)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    if panel["ylim"] is not None:
        ax.set_ylim(*panel["ylim"])
    ax.set_xlabel(panel["xlabel"])
    ax.set_ylabel(panel["ylabel"])
    if own and layers:
        ax.legend(handlelength=3.6, labelspacing=0.25, borderaxespad=0.2)
    elif own:  # below the name of the axis
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=4.2,
            handlelength=3.6,
            labelspacing=0.25,
            columnspacing=1.2,
            ncols=2,
        )


def _marked(values: np.ndarray, *, all_of_them: bool) -> list[int]:
    """Which points have a marker: those between gaps, which no line would show, in any case."""
    every = 1 if all_of_them else max(1, -(-len(values) // _MARKED))
    there = np.concatenate([[False], np.isfinite(values), [False]])
    alone = there[1:-1] & ~there[:-2] & ~there[2:]
    return sorted({*range(0, len(values), every), *np.flatnonzero(alone).tolist()})


# --- diagrams


def _diagram(ax: Axes, panel: Record, size: tuple[float, float], font: float) -> None:
    """Boxes of a unit of width a column and a unit of height a row, the first row above."""
    boxes = {box["id"]: box for box in panel["boxes"]}
    right = max(box["column"] + box["span"] for box in boxes.values())
    lowest = max(box["row"] for box in boxes.values())
    gap, tall = 0.08, 0.56
    for box in boxes.values():
        middle = (box["column"] + box["span"] / 2, box["row"] + 0.5)
        if box["text"] != ELLIPSIS:
            corner = (box["column"] + gap, middle[1] - tall / 2)
            shape = FancyBboxPatch(
                corner,
                box["span"] - 2 * gap,
                tall,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor="0.92" if box["span"] > 1 else "white",
                edgecolor="0.25",
                linewidth=0.7,
                mutation_aspect=right / (lowest + 1) * size[1] / size[0],
            )
            ax.add_patch(shape)
        text = {"ha": "center", "va": "center", "fontsize": font, "linespacing": 1.1}
        ax.text(*middle, box["text"], **cast(Any, text))
    for start, end in panel["arrows"]:
        one, two = boxes[start], boxes[end]
        left = max(one["column"], two["column"])
        stop = min(one["column"] + one["span"], two["column"] + two["span"])
        # Where one lies below the other the arrow is upright, otherwise from middle to middle.
        at = [(left + stop) / 2] * 2
        if stop <= left:
            at = [box["column"] + box["span"] / 2 for box in (one, two)]
        down = 1 if two["row"] >= one["row"] else -1
        ends = [one["row"] + 0.5 + down * tall / 2, two["row"] + 0.5 - down * tall / 2]
        arrow = {"arrowstyle": "-|>", "color": "0.25", "linewidth": 0.7, "mutation_scale": 6}
        arrow |= {"shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (at[1], ends[1]), (at[0], ends[0]), arrowprops=arrow)
    ax.set_xlim(0, right)
    ax.set_ylim(lowest + 1, 0)
    ax.axis("off")


def _font(panel: Record, inches: float) -> float:
    """The largest size, at most that of labels, at which every text is within its box."""
    right = max(box["column"] + box["span"] for box in panel["boxes"])
    fitting = [mpl.rcParams["xtick.labelsize"]]
    for box in panel["boxes"]:
        unit = max(_extent(text) for text in box["text"].split("\n"))
        fitting.append(72 * 0.8 * inches / right * (box["span"] - 0.2) / max(unit, 0.1))
    return max(3.0, min(fitting))


def _extent(text: str) -> float:
    """Width of a line of text in units of its size."""
    return TextPath((0, 0), text, size=100, usetex=False).get_extents().width / 100 if text else 0


# --- tables


def _table(ax: Axes, panel: Record, size: tuple[float, float]) -> None:
    """Rules above, below the names of the columns and below; first column left, others right."""
    cells = [panel["columns"], *([_text(cell) for cell in row] for row in panel["rows"])]
    widths = [max(_extent(row[k]) for row in cells) + 1.2 for k in range(len(cells[0]))]
    edges = np.cumsum([0.0, *widths])
    inches = 0.75 * size[0]  # what names and bars beside it leave at least
    font = min(mpl.rcParams["font.size"], 72 * inches / edges[-1])
    for i, row in enumerate(cells):
        for k, cell in enumerate(row):
            at = 0.3 if k == 0 else edges[k + 1] - 0.3
            ax.text(at, i + 0.5, cell, ha="left" if k == 0 else "right", va="center", size=font)
    for at, thick in ((0, 1.0), (1, 0.6), (len(cells), 1.0)):
        ax.plot([0, edges[-1]], [at, at], color="black", linewidth=thick, clip_on=False)
    # Not wider or higher than its text, even where its row is.
    reach = max(0.0, 72 * inches / font - edges[-1]) / 2
    ax.set_xlim(-reach, edges[-1] + reach)
    ax.set_ylim(max(len(cells) + 0.1, 0.8 * size[1] * 72 / (1.7 * font)), -0.1)
    ax.axis("off")


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    return "–" if np.isnan(cell) else f"{cell:.4g}"
