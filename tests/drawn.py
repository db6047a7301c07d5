"""Texts and legends of a figure as they are drawn, and laws on their places."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def shown_texts(figure: Figure) -> list[Text]:
    """Texts that are drawn: no labels of ticks outside their axes or of hidden axes."""
    figure.draw_without_rendering()
    hidden: set[Text] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (ax.axison and low - 1e-9 <= tick.get_loc() <= high + 1e-9):
                    hidden |= {tick.label1, tick.label2}
    every = figure.findobj(Text)
    return [each for each in every if each.get_text().strip() and each not in hidden]


def meet(one: Bbox, two: Bbox) -> bool:
    """Test two boxes for an overlap of more than a pixel."""
    wide, tall = (min(one.max[k], two.max[k]) - max(one.min[k], two.min[k]) for k in (0, 1))
    return bool(wide > 1 and tall > 1)


def leaves(figure: Figure, box: Bbox) -> bool:
    """Test a box for more than a pixel outside the figure."""
    return bool((box.min < -1).any() or (box.max > figure.bbox.max + 1).any())


def legends_of(figure: Figure) -> list[Legend]:
    """The legends of the figure and of its axes."""
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]


def faults(figure: Figure) -> list[Any]:
    """Texts that meet each other, a legend of other texts, or the edge; legends that meet it."""
    boxes = [(text, text.get_window_extent()) for text in shown_texts(figure)]
    boxes = [(text, box) for text, box in boxes if text.get_visible() and box.width > 0]
    found: list[Any] = [
        (one.get_text(), two.get_text())
        for (one, a), (two, b) in combinations(boxes, 2)
        if meet(a, b)
    ]
    found += [text.get_text() for text, box in boxes if leaves(figure, box)]
    for legend in legends_of(figure):
        own = set(legend.get_texts())
        area = legend.get_window_extent()
        found += ["legend"] * leaves(figure, area)
        found += [("legend", t.get_text()) for t, box in boxes if t not in own and meet(area, box)]
    return found
