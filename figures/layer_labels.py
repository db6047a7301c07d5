"""Layer addresses on an axis: the groups they fall into, and labels that fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, takewhile
from typing import TYPE_CHECKING

from repsim.figures.artists import rc
from repsim.figures.text import DASH, extent, shortened

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.transforms import Transform

#: A group with more than this share of the layers is split where the names of its layers vary.
_MOST = 0.5

#: Height of a label with the space around it, in units of its size.
_LINE = 1.15

#: Width of the names that need not be turned, and the space between them, in units of their size.
_SHORT, _APART = 1.4, 0.4

#: Inches that the text of a label may be long, if nothing else is said.
LONGEST = 1.4

#: Inches between a label and its tick along the axis, from which on a line joins them.
_JOINED = 0.01

#: The lines between ticks and labels that make way for others.
_LEADER = "leader"


@dataclass(frozen=True)
class Span:
    """A run of layers under one name.

    Attributes:
        first: the levels that all addresses begin with; of joined runs, in the first run.
        last: these levels in the last of joined runs, otherwise the same.
        start: index of the first layer.
        stop: index after the last.
    """

    first: str
    last: str
    start: int
    stop: int

    @property
    def middle(self) -> float:
        """The place on the axis between the first layer and the last."""
        return (self.start + self.stop - 1) / 2

    @property
    def size(self) -> int:
        """The number of layers."""
        return self.stop - self.start

    def joined(self, other: Span) -> Span:
        """This run and the next one as one."""
        return Span(self.first, other.last, self.start, other.stop)

    def without(self, part: str) -> Span:
        """The same run, with names that leave out the levels that begin every address."""
        skipped = len(part) + 1 if part else 0
        return Span(self.first[skipped:], self.last[skipped:], self.start, self.stop)

    def text(self, longest: float) -> str:
        """The label, at most ``longest`` inches long: the middle of a longer name is left out."""
        most = 72 * longest / rc("xtick.labelsize")
        shared = "" if self.first == self.last else common_part([self.first, self.last])
        names = dict.fromkeys([self.first, self.without(shared).last])
        return f" {DASH} ".join(shortened(name, most / len(names)) for name in names)


def spans(layers: Sequence[str]) -> list[Span]:
    """Runs of layers that share their address up to the first level at which names vary.

    ``bg1.b0.even`` lies in ``bg1``. A run that holds most of the layers is split again, where the
    names of its own layers vary: ``layers.3.mlp`` of a transformer lies in ``layers.3``. Runs that
    have one name, with others between them, have further levels: ``model.embed`` and ``model.norm``
    around ``stage.0``.
    """
    parts = [layer.split(".") for layer in layers]
    return _distinct(_split(parts, 0, len(layers)), parts)


def _distinct(found: list[Span], parts: Sequence[list[str]]) -> list[Span]:
    """Runs with as many further levels as tell apart those of one name."""
    count = Counter(span.first for span in found)
    longer = [
        each
        for span in found
        for each in (_deeper(span, parts) if count[span.first] > 1 else [span])
    ]
    return found if longer == found else _distinct(longer, parts)


def _deeper(span: Span, parts: Sequence[list[str]]) -> list[Span]:
    """A run by one more level of its addresses."""
    level, start, found = span.first.count(".") + 2, span.start, []
    for name, run in groupby(parts[span.start : span.stop], key=lambda part: part[:level]):
        whole, stop = ".".join(name), start + len(list(run))
        found.append(Span(whole, whole, start, stop))
        start = stop
    return found


def _split(parts: Sequence[list[str]], start: int, total: int) -> list[Span]:
    level = len(_common(parts)) + 1
    found: list[Span] = []
    for name, run in groupby(parts, key=lambda part: part[:level]):
        members = list(run)
        if _MOST * total < len(members) < len(parts):
            found += _split(members, start, total)
        else:
            whole = ".".join(name)
            found.append(Span(whole, whole, start, start + len(members)))
        start += len(members)
    return found


def _common(parts: Sequence[list[str]]) -> list[str]:
    """The levels that begin every address."""
    levels = zip(*parts, strict=False)
    return [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]


def boundaries(layers: Sequence[str]) -> list[int]:
    """Positions between two groups, one with several layers: i lies before layer i."""
    return [two.start for one, two in pairwise(spans(layers)) if max(one.size, two.size) > 1]


def common_part(layers: Sequence[str]) -> str:
    """The levels that begin every address, short of a whole address."""
    parts = [layer.split(".")[:-1] for layer in layers]
    return ".".join(_common(parts)) if len(layers) > 1 else ""


def axis_name(name: str, layers: Sequence[str]) -> str:
    """The name of an axis of layers, with the part of their addresses that its labels leave out."""
    part = common_part(layers)
    return f"{name} in {part}" if part else name


def labelled_spans(layers: Sequence[str], inches: float) -> list[tuple[float, Span]]:
    """The labels of an axis of a length, with their places: every layer, or groups of many layers.

    Labels of small groups make way for each other by no more than a line, and reach no farther
    beyond the ends of the axis than they are away from it, for there lie the labels of the other
    axis and the title. Neighbours that need more room have one label, so that each layer lies under
    one.
    """
    part = common_part(layers)
    gap = len(layers) * line_height() / inches
    if gap <= 1:
        return [(k, Span(layer, layer, k, k + 1).without(part)) for k, layer in enumerate(layers)]
    beyond = rc("xtick.major.pad") / 72 * len(layers) / inches
    ends = gap / 2 - 0.5 - beyond, len(layers) - 0.5 - gap / 2 + beyond
    found = [each.without(part) for each in spans(layers)]
    while len(found) > 1:
        middles = [span.middle for span in found]
        places = _apart(middles, gap, *ends)
        moved = max(abs(p - m) for p, m in zip(places, middles, strict=True))
        if moved <= gap and places[0] >= ends[0]:
            return list(zip(places, found, strict=True))
        k = min(range(len(found) - 1), key=lambda k: found[k + 1].middle - found[k].middle)
        found[k : k + 2] = [found[k].joined(found[k + 1])]
    return [(span.middle, span) for span in found]


def _apart(places: Sequence[float], gap: float, first: float, last: float) -> list[float]:
    """Rising places at least ``gap`` apart, as near to the given ones as can be.

    They lie between ``first`` and ``last``; without room for all, some lie before ``first``.
    """
    blocks: list[tuple[float, int]] = []  # mean of places less their gaps, count; means rise
    for k, place in enumerate(places):
        mean, count = place - k * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    most = last - (len(places) - 1) * gap
    shifts = [min(max(first, mean), most) for mean, count in blocks for _ in range(count)]
    return [shift + k * gap for k, shift in enumerate(shifts)]


def line_height() -> float:
    """Inches that a label takes along its axis."""
    return _LINE * rc("xtick.labelsize") / 72


def label_room(layers: Sequence[str], inches: float, longest: float = LONGEST) -> float:
    """Inches from an axis of a length to the far end of its labels; at most ``longest``."""
    found = labelled_spans(layers, inches)
    widest = max((extent(span.text(longest)) for _, span in found), default=0)
    return widest * rc("xtick.labelsize") / 72


def label_layers(
    axis: Axis,
    layers: Sequence[str],
    *,
    inches: float,
    rotation: float = 0,
    longest: float = LONGEST,
) -> None:
    """Ticks with names of layers at positions 0, 1, ... of an axis of that many inches.

    Ticks stay at their layers, groups at their middle; a line leads to a label that makes way for
    another. Names as short as a number are not turned, where they have room.
    """
    found = labelled_spans(layers, inches)
    texts = [span.text(longest) for _, span in found]
    widest, place = max(map(extent, texts)), 72 * inches / rc("xtick.labelsize") / len(layers)
    rotation = 0 if widest <= min(_SHORT, place - _APART) else rotation
    axis.reset_ticks()  # of labels that were moved before
    axis.set_ticks([span.middle for _, span in found], labels=texts, rotation=rotation)
    for leader in [text for text in axis.axes.texts if text.get_gid() == _LEADER]:
        leader.remove()
    for tick, (at, span) in zip(axis.get_major_ticks(), found, strict=True):
        moved = (at - span.middle) * inches / len(layers)
        if abs(moved) > _JOINED:
            tick.label1.set_transform(tick.label1.get_transform() + _shift(axis, moved))
            _lead(axis, span.middle, moved)


def _is_upright(axis: Axis) -> bool:
    return axis is axis.axes.yaxis


def _shift(axis: Axis, along: float, away: float = 0.0) -> Transform:
    """A move by inches: along an axis, and away from its cells."""
    from matplotlib.transforms import ScaledTranslation

    inches = (-away, along) if _is_upright(axis) else (along, -away)
    figure = axis.axes.get_figure()
    assert figure is not None  # the axes are on one
    return ScaledTranslation(*inches, figure.dpi_scale_trans)


def _lead(axis: Axis, place: float, moved: float) -> None:
    """Draw a line from a tick to its label, which lies so many inches farther along the axis."""
    upright = _is_upright(axis)
    on_axis = axis.axes.get_yaxis_transform() if upright else axis.axes.get_xaxis_transform()
    tick, gap = (axis.get_ticklines()[0].get_markersize() / 72, rc("xtick.major.pad") / 72)
    at = (0, place) if upright else (place, 0)
    axis.axes.annotate(
        "",
        at,
        at,
        xycoords=on_axis + _shift(axis, 0, tick),
        textcoords=on_axis + _shift(axis, moved, tick + 0.55 * gap),
        arrowprops={"arrowstyle": "-", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
        gid=_LEADER,
    )
