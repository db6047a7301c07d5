"""Networks as boxes and arrows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from repsim.errors import UsageError
from repsim.figures.artists import rc
from repsim.figures.text import extent, fitting
from repsim.results.figure import Frame, Panel
from repsim.results.records import Checked, is_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyBboxPatch

#: A box with this text stands for boxes left out; no arrow leads to or from it.
ELLIPSIS = "…"

#: Left beside a box, and its height; a column is 1 wide and a row 1 high.
_GAP, _TALL = 0.08, 0.56

#: Points that text in boxes has at least.
_SMALLEST = 3.0


@dataclass(frozen=True)
class Box(Checked):
    """A box of a diagram.

    Attributes:
        id: its name for arrows.
        text: its lines.
        row: from above, from 0.
        column: from the left, from 0.
        span: columns that it takes.
    """

    noun: ClassVar[str] = "box"

    id: str
    text: str
    row: float
    column: float
    span: float = 1

    @property
    def called(self) -> str:
        return f"box {self.id!r:.40}"

    def check(self) -> None:
        places = (self.row, self.column, self.span)
        fits = is_finite(places) and all(0 <= place <= 100 for place in places) and self.span > 0
        self.require(fits, "row, column and span from 0 to 100")

    @property
    def end(self) -> float:
        """The right end of the box."""
        return self.column + self.span

    @property
    def middle(self) -> tuple[float, float]:
        """Its place on the axes."""
        return self.column + self.span / 2, self.row + 0.5


@dataclass(frozen=True)
class Diagram(Panel):
    """Boxes of a unit of width a column and a unit of height a row, the first row above.

    Attributes:
        boxes: with an id each.
        arrows: ids of two boxes each.
    """

    type: ClassVar[str] = "diagram"
    wide: ClassVar[bool] = True

    boxes: Sequence[Box]
    arrows: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, title: str, columns: Sequence[Sequence[Mapping[str, Any]]]) -> Diagram:
        """Networks as boxes, from the input above to the output below, with arrows between.

        Boxes with ``shared`` that are equal and beside each other are drawn as one box across their
        columns. Of many branches, some may stand for all: a box labelled ``…`` is drawn without a
        frame, and no arrow meets it.

        Args:
            title: what stands above it.
            columns: for each branch its boxes from above, each with ``label`` and if need be
                ``note`` (small, below the label) and ``shared``.

        Raises:
            UsageError: no box, or one without a label.
        """
        depth = max((len(column) for column in columns), default=0)
        rows = [_row_of_boxes(columns, row) for row in range(depth)]
        spans = Counter(box for row in rows for box in row.values())
        boxes = [replace(box, span=count) for box, count in spans.items()]
        return cls(title, boxes, _arrows_between(rows))

    def check(self) -> None:
        known = {box.id for box in self.boxes}
        self.require(bool(known), "some boxes")
        self.require(len(known) == len(self.boxes), "an id of its own for every box")
        ends = {end for arrow in self.arrows for end in arrow}
        self.require(ends <= known, "arrows from the id of a box to another")

    @property
    def _size(self) -> tuple[float, float]:
        """Columns and rows."""
        return max(box.end for box in self.boxes), max(box.row for box in self.boxes) + 1

    def height(self, width: float) -> float:
        return self._size[1] * 3.3 * 1.2 * rc("font.size") / 72

    def font(self, width: float, largest: float) -> float:
        size = min(largest, rc("xtick.labelsize"))
        unit = 0.8 * width / self._size[0]
        for box in self.boxes:
            widest = max(map(extent, box.text.split("\n")))
            size = fitting(widest, unit * (box.span - 0.2), size)
        return max(_SMALLEST, size)

    def draw(self, ax: Axes, frame: Frame) -> None:
        right, down = self._size
        for box in self.boxes:
            if box.text != ELLIPSIS:
                ax.add_patch(_frame_of(box, right / down * frame.height / frame.width))
            at = {"ha": "center", "va": "center", "linespacing": 1.1}
            ax.text(*box.middle, box.text, fontsize=frame.font, **at)  # type: ignore[arg-type]
        boxes = {box.id: box for box in self.boxes}
        for start, end in self.arrows:
            _draw_arrow(ax, boxes[start], boxes[end])
        ax.set_xlim(0, right)
        ax.set_ylim(down, 0)
        ax.axis("off")


def _row_of_boxes(columns: Sequence[Sequence[Mapping[str, Any]]], row: int) -> dict[int, Box]:
    """The box of each column in a row; shared ones that are equal are one."""
    found: dict[int, Box] = {}
    for place, column in enumerate(columns):
        if row >= len(column):
            continue
        box = column[row]
        if not isinstance(box, Mapping) or not isinstance(box.get("label"), str):
            raise UsageError(f"{box!r:.60} is no box; expected a dictionary with a label")
        left = columns[place - 1] if place else ()
        if box.get("shared") and place - 1 in found and left[row] == box:
            found[place] = found[place - 1]
        else:
            text = "\n".join(filter(None, (box["label"], box.get("note"))))
            found[place] = Box(f"{row}.{place}", text, row, place)
    return found


def _arrows_between(rows: Sequence[Mapping[int, Box]]) -> list[tuple[str, str]]:
    """From each box to those below it, once each."""
    pairs = [
        (above[place], box)
        for above, row in pairwise(rows)
        for place, box in row.items()
        if place in above
    ]
    shown = [(a.id, b.id) for a, b in pairs if ELLIPSIS not in (a.text, b.text)]
    return list(dict.fromkeys(shown))


def _frame_of(box: Box, aspect: float) -> FancyBboxPatch:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        (box.column + _GAP, box.middle[1] - _TALL / 2),
        box.span - 2 * _GAP,
        _TALL,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor="0.92" if box.span > 1 else "white",
        edgecolor="0.25",
        linewidth=0.7,
        mutation_aspect=aspect,
    )


def _draw_arrow(ax: Axes, one: Box, two: Box) -> None:
    """An arrow, upright where one box lies below the other, else from middle to middle."""
    left, stop = max(one.column, two.column), min(one.end, two.end)
    upright = ((left + stop) / 2,) * 2
    start, end = upright if stop > left else (one.middle[0], two.middle[0])
    half = _TALL / 2 if two.row >= one.row else -_TALL / 2
    arrow = {"arrowstyle": "-|>", "color": "0.25", "linewidth": 0.7, "mutation_scale": 6}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    tip, tail = (end, two.middle[1] - half), (start, one.middle[1] + half)
    ax.annotate("", tip, tail, arrowprops=arrow)
