"""Figures of probes over depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.figures.kinds import figures_of
from repsim.figures.layout import panels
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results import ProbeCurve, ProbeSeries
from repsim.results.figure import FigureData, Look
from repsim.results.images import counted, images_of, told_apart
from repsim.results.learned import not_held_out
from repsim.results.left_out import left_out

#: Share of the axis that accuracies take at least beside chance; otherwise chance is left out.
_SEEN = 0.25

#: Points in per cent above and below accuracies that are all one.
_ROOM = 1.0


@dataclass(frozen=True)
class _Words:
    """The words of a figure of accuracies: its axes, and the things that are accurate."""

    layer: str
    value: str
    of: str


_PROBES = _Words("layer", "probe accuracy (%)", "probes")

#: Words by solver, of results that are not of probes.
_WORDS = {
    "transfer": _Words(
        "frozen up to", "accuracy (%)", "networks frozen up to each layer, with the rest trained,"
    )
}


def probe_curves(
    result: ProbeCurve, *, style: str | Style = "column", ax: Axes | None = None
) -> Figure:
    """Held-out accuracy of probes at every layer, in per cent, a line for each of its series.

    Bands are 95 % intervals over draws of the held-out examples, whiskers standard deviations over
    seeds. Networks with the same layers share an axis of addresses; otherwise the axis is relative
    depth, from the first layer to the last. A network has a colour and a kind of probe a stroke;
    where there is one of either, both tell the others apart. Untrained networks are drawn in grey,
    and probes on random labels dotted, as the controls. The axis begins at 0; where the accuracies
    would take less than a quarter beside chance, it shows these alone, and legend and caption say
    where chance lies.
    """
    return panels(probe_figure(result), style=style, ax=ax)


@figures_of.register
def figures_of_probes(result: ProbeCurve, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    """The curves of a result."""
    return {"curves": probe_figure(result)}


def probe_figure(result: ProbeCurve) -> FigureData:
    """Accuracies over depth, as the data of a figure."""
    series = result.series()
    layouts = {tuple(point.layer for point in each.points) for each in series}
    shared = len(layouts) == 1
    layers = next(iter(layouts)) if shared else ()
    several = len({each.network for each in series}) > 1
    lines = [_line(each, several=several, relative=not shared) for each in series]
    limits, beyond = _limits(lines, 100 / result.classes)
    chance = _chance(result.classes, len(layers), beyond)
    words = _WORDS.get(result.solver, _PROBES)
    name = words.layer if shared else "relative depth (0: first layer, 1: last)"
    panel = Lines("", name, words.value, layers, [*lines, chance], ylim=limits)
    images = images_of(result.provenance)
    apart = told_apart(result.provenance, result.n_train, result.n_test)
    shown = images and f" of {images}"
    caption = (
        f"Accuracy of {words.of} on {result.n_test:,} held-out examples{shown}, "
        f"trained on {result.n_train:,} ({apart}). Bands are 95 % intervals over examples."
        + (f" Chance, {100 / result.classes:.3g} %, lies {beyond} the axis." if beyond else "")
        + left_out(result.provenance)
        + not_held_out(result.provenance)
    )
    heading = counted(result.provenance, result.n_test)
    return FigureData("Probes", caption, [panel], result.provenance, heading)


def _line(series: ProbeSeries, *, several: bool, relative: bool) -> Line:
    """Accuracies of one series in per cent; of several networks each has a colour, else of several
    kinds of probes."""
    last = max(1, len(series.points) - 1)
    return Line(
        series.label,
        _percent(series, "accuracy"),
        _percent(series, "low"),
        _percent(series, "high"),
        look=_look(series),
        group=series.network if several else _kind(series),
        x=[k / last for k in range(len(series.points))] if relative else None,
        spread=_spread(series),
    )


def _kind(series: ProbeSeries) -> str:
    """A name for probes that differ in their labels alone."""
    return f"{series.solver}, {series.component}, {series.label_fraction}"


def _look(series: ProbeSeries) -> Look:
    if series.labels == "random":
        return "dotted"
    return "control" if "untrained" in series.network else "line"


def _percent(series: ProbeSeries, key: str) -> list[float]:
    return [100 * getattr(point, key) for point in series.points]


def _spread(series: ProbeSeries) -> Sequence[float] | None:
    spread = _percent(series, "sd")
    return spread if any(value == value for value in spread) else None


def _limits(lines: Sequence[Line], chance: float) -> tuple[tuple[float, float], str]:
    """Ends of the axis of accuracies, and where chance lies if not between them."""
    tables = [np.array(table, float) for line in lines for table in _drawn(line)]
    known = [float(value) for table in tables for value in table if np.isfinite(value)] or [chance]
    low, high = min(known), max(known)
    room = max(0.1 * (high - low), _ROOM)
    if high - low >= _SEEN * (max(high, chance) - min(low, chance)):
        return (0.0, min(102.0, max(high, chance) + room)), ""
    return (max(0.0, low - room), min(102.0, high + room)), "below" if chance < low else "above"


def _drawn(line: Line) -> Iterator[Sequence[float]]:
    """The numbers of a line that take room: its values and the ends of bands and whiskers."""
    yield line.values
    yield from (ends for ends in (line.low, line.high) if ends is not None)
    for sign in (-1, 1) if line.spread is not None else ():
        pairs = zip(line.values, line.spread or (), strict=True)
        yield [value + sign * spread for value, spread in pairs]


def _chance(classes: int, layers: int, beyond: str) -> Line:
    """The level of chance, from the first layer to the last; ``beyond`` the axis, it is named."""
    x = None if layers else [0.0, 1.0]
    label = f"chance ({100 / classes:.3g} %), {beyond} the axis" if beyond else "chance"
    return Line(label, [100 / classes] * (layers or 2), look="chance", x=x)
