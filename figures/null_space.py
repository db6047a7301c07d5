"""Figures of null-space reports: what lies in the row space and in the null space of a head."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from repsim.errors import UsageError
from repsim.figures.kinds import figures_of_kind, figures_together
from repsim.figures.layout import panels
from repsim.figures.panels.bars import Bars, Mark
from repsim.figures.panels.histogram import Histogram
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.panels.strips import Dots, Strips
from repsim.figures.series import Series
from repsim.results import NullSpaceEntry, NullSpaceReport
from repsim.results.figure import FigureData, Panel

_Entries = Sequence[NullSpaceEntry | None]

#: Names of the parts of the feature space, and the places of their colours in the palette.
PARTS = {"full": ("all features", 2), "row": ("row space", 3), "null": ("null space", 4)}

#: How a level is written, at the end of a noise's name.
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"

#: Units of the levels of a noise.
_UNITS = {"gaussian": "standard deviation", "salt-and-pepper": "share of pixels"}

_CONTROL = "grey dashes and diamonds are the untrained network"


# --- as matplotlib figures


def null_space_figures(report: NullSpaceReport, *, style: str = "page") -> dict[str, Figure]:
    """Every figure that a report has numbers for, by name."""
    return {name: panels(data, style=style) for name, data in null_space_data(report).items()}


def null_space_bars(
    reports: NullSpaceReport | Sequence[NullSpaceReport], *, style: str = "page"
) -> Figure:
    """Energy of the features in the null space against chance, and what probes read from each part.

    Left: share of |f|², raw and centred, that the head cannot see; the line is the share
    1 - rank / d of features without direction. Right (in narrow styles, below), where probes were
    trained: their accuracy on the full features, the row-space and the null-space part. Whiskers
    are 95 % intervals, diamonds the untrained network, where the report has one.
    """
    return panels(bars_figure(reports), style=style)


def null_space_strips(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """Each of some examples by its class: how much of it lies in the null space, and its score.

    The score is the logit of a head with one (its scatter is that of log α), and λ of a head with
    several: how far the example lies along the direction that softmax ignores. Generated images
    stand beside the real ones, by the generator that made them.
    """
    return panels(strips_figure(report), style=style)


def score_histogram(report: NullSpaceReport, *, style: str = "column") -> Figure:
    """Distribution of the logit of a head with one, or of λ of a head with several.

    Real and generated images apart; ticks below are the medians of classes or generators.
    """
    return panels(histogram_figure(report), style=style)


def noise_curves(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """The share of a noise's effect on the features that the head sees, and probes under noise.

    Above: the row space's share of the energy of the displacement of f, by level of noise; dotted
    the median and shaded the 5th to 95th percentile of random subspaces of its rank; the thin line
    is the share of the displacements between classes. Below: accuracy of probes, trained on clean
    features, on noisy ones. Bands are 95 % intervals, grey dashes the untrained network, below with
    all features.
    """
    return panels(noise_figure(report), style=style)


def null_space_layers(report: NullSpaceReport, *, style: str = "column") -> Figure:
    """The part of each layer's input that its weights cannot see.

    The null space's share of the energy of the layer's patches, centred, on real and generated
    images, against 1 - rank / dim. Layers that have no null space are left out.

    Bands are 95 % intervals, grey dashes the untrained network.
    """
    return panels(layers_figure(report), style=style)


def alpha_curves(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """α = p_g / p_r as the discriminator saw it after each epoch: mean, and how much it varies.

    At the optimum without mode collapse it is the same for all real images (Mao et al., Corollaries
    1 to 3), so that its coefficient of variation falls to 0.
    """
    return panels(alpha_figure(report), style=style)


# --- as data


@figures_of_kind(NullSpaceReport)
def figures_of_report(report: NullSpaceReport, estimator: str) -> dict[str, FigureData]:
    """Every figure that a report has numbers for."""
    return null_space_data(report)


@figures_together(NullSpaceReport)
def figures_of_reports(reports: Sequence[NullSpaceReport]) -> dict[str, FigureData]:
    """The bars of several reports beside each other."""
    return {"bars": bars_figure(reports)}


def null_space_data(report: NullSpaceReport) -> dict[str, FigureData]:
    """The data of every figure that a report has numbers for, by name."""
    scored = bool(report.examples) and _scores(report) is not None
    layered = any(entry.layer is not None and entry.chance > 0 for entry in report.entries)
    wanted: dict[str, tuple[Callable[[NullSpaceReport], FigureData], bool]] = {
        "bars": (bars_figure, True),
        "strips": (strips_figure, bool(report.examples)),
        "histogram": (histogram_figure, scored),
        "noise": (noise_figure, bool(_noises(report))),
        "alpha": (alpha_figure, bool(report.alpha)),
        "layers": (layers_figure, layered),
    }
    return {name: make(report) for name, (make, there) in wanted.items() if there}


def _figure(report: NullSpaceReport, name: str, caption: str, *drawn: Panel) -> FigureData:
    whole = f"{caption} {report.name}, n = {report.n:,}."
    return FigureData(name, whole, [*drawn], report.provenance)


# --- bars


def bars_figure(reports: NullSpaceReport | Sequence[NullSpaceReport]) -> FigureData:
    """Energies in the null space and accuracies of probes, for one or more reports.

    Raises:
        UsageError: no report.
    """
    reports = [reports] if isinstance(reports, NullSpaceReport) else list(reports)
    if not reports:
        raise UsageError("no report arrived; expected at least one")
    drawn: list[Panel] = [_energies(reports)]
    if any(report.probes for report in reports):
        drawn.append(_accuracies(reports))
    caption = (
        "Energy of the features in the null space of the head, and accuracy of probes on each "
        "part. Whiskers are 95 % intervals, diamonds the untrained network."
    )
    provenance = {report.name: report.provenance for report in reports}
    return FigureData("Null space", caption, drawn, provenance)


def _energies(reports: Sequence[NullSpaceReport]) -> Bars:
    entries = {
        ("raw", 0): [report.find("energy", "null") for report in reports],
        ("centred", 1): [report.find("energy_centred", "null") for report in reports],
    }
    levels = [100 * (1 - report.chance) for report in reports]
    chance = Mark("chance: 1 - rank / d", levels, look="level")
    return _bars("energy in the null space (%)", reports, entries, [chance])


def _accuracies(reports: Sequence[NullSpaceReport]) -> Bars:
    entries = {
        named: [report.find("probe", part, "clean") for report in reports]
        for part, named in PARTS.items()
    }
    return _bars("probe accuracy (%)", reports, entries, [])


def _bars(
    label: str,
    reports: Sequence[NullSpaceReport],
    entries: Mapping[tuple[str, int], _Entries],
    marks: Sequence[Mark],
) -> Bars:
    """Bars in per cent, with a diamond for the untrained network where there is one."""
    controls = [
        Mark("untrained", _percent(found, "control"), look="control", of=name)
        for (name, _), found in entries.items()
        if any(value == value for value in _percent(found, "control"))
    ]
    return Bars(
        "",
        label,
        [f"{report.name}\nrank {report.rank}/{report.dim}" for report in reports],
        [_series(Series, name, found, 100, hue=hue) for (name, hue), found in entries.items()],
        [*marks, *controls],
        limits=(0, 104),
        numbers=0,
    )


# --- examples


def strips_figure(report: NullSpaceReport) -> FigureData:
    """Examples by class: their share in the null space, and their score.

    Raises:
        UsageError: a report without examples.
    """
    if not report.examples:
        raise UsageError(f"the report of {report.name} holds no examples")
    drawn = [_strips(report, "null_share", "share of |f|² in the null space", 1 - report.chance)]
    score = _scores(report)
    if score is not None:
        drawn.append(_strips(report, *score))
    caption = (
        "Share of each example's energy in the null space (dotted: 1 - rank / d), and its score, "
        "by class; strokes are medians."
    )
    return _figure(report, "Null space of examples", caption, *drawn)


def _strips(
    report: NullSpaceReport, column: str, ylabel: str, chance: float | None = None
) -> Strips:
    """A strip of dots a class, real and generated ones beside each other."""
    values = np.array(getattr(report.examples, column), float)
    kinds = _kinds(report)
    names = max((list(_classes(report, rows)) for rows in kinds.values()), key=len)
    groups = [
        _dots(kind, hue, values, _classes(report, rows))
        for hue, (kind, rows) in enumerate(kinds.items())
    ]
    made = "generated" in kinds and None not in _classes(report, kinds["generated"])
    xlabel = "class, or generator" if len(kinds) > 1 and made else "class"
    known = ["" if name is None else str(name) for name in names]
    return Strips("", xlabel, ylabel, known, groups, chance)


def _dots(kind: str, hue: int, values: np.ndarray, classes: Mapping[Any, np.ndarray]) -> Dots:
    rows = np.concatenate(list(classes.values()))
    places = [place for place, members in enumerate(classes.values()) for _ in members]
    return Dots(kind, values[rows].tolist(), hue=hue, places=places)


def histogram_figure(report: NullSpaceReport) -> FigureData:
    """The distribution of the scores of examples.

    Raises:
        UsageError: a report without scores.
    """
    score = _scores(report)
    if score is None:
        raise UsageError(f"the report of {report.name} holds no logits and no λ of examples")
    column, label = score
    values = np.array(getattr(report.examples, column), float)
    ticks = {
        kind: [float(np.nanmedian(values[each])) for each in _classes(report, rows).values()]
        for kind, rows in _kinds(report).items()
    }
    shown = {kind: values[rows] for kind, rows in _kinds(report).items()}
    panel = Histogram.of("", label, shown, bins=40, ticks=ticks)
    caption = f"Distribution of {label}; ticks below are medians of classes or generators."
    return _figure(report, "Scores", caption, panel)


def _scores(report: NullSpaceReport) -> tuple[str, str] | None:
    """The column of scores, and what to call it."""
    for column, label in (("logit", "logit"), ("along_ones", "λ, along the all-ones direction")):
        if getattr(report.examples, column):
            return column, label
    return None


def _kinds(report: NullSpaceReport) -> dict[str, np.ndarray]:
    """The rows of each kind of examples."""
    kinds = np.array(report.examples.group)
    return {kind: np.flatnonzero(kinds == kind) for kind in dict.fromkeys(kinds.tolist())}


def _classes(report: NullSpaceReport, rows: np.ndarray) -> dict[Any, np.ndarray]:
    """The rows of each class among them; all as one where there are no labels."""
    labels = [report.examples.label[row] for row in rows]
    known = sorted({label for label in labels if label is not None}) or [None]
    return {
        each: rows[[label == each for label in labels]] if each is not None else rows
        for each in known
    }


# --- noise


def noise_figure(report: NullSpaceReport) -> FigureData:
    """Displacements by noise in the row space, and probes on noisy features.

    Raises:
        UsageError: a report without noise.
    """
    noises = _noises(report)
    if not noises:
        raise UsageError(f"the report of {report.name} holds no noise")
    drawn = [_shares(report, kind, levels) for kind, levels in noises.items()]
    if report.probes:
        drawn += [_read(report, kind, levels) for kind, levels in noises.items()]
    caption = (
        "Row space's share of the energy of what noise does to the features (dotted and shaded: "
        "random subspaces of its rank; thin: displacements between classes), and accuracy of "
        f"probes on noisy features. Bands are 95 % intervals, {_CONTROL}."
    )
    return _figure(report, "Noise", caption, *drawn)


def _noises(report: NullSpaceReport) -> dict[str, list[str]]:
    """Levels of each kind of noise, ascending, as they were written; a name without a level has
    no curve."""
    found: dict[str, list[str]] = {}
    for entry in report.entries:
        kind, _, level = entry.group.rpartition(" ")
        if (entry.quantity, entry.part) != ("noise_share", "row") or not kind:
            continue
        if re.fullmatch(_NUMBER, level):
            found.setdefault(kind, []).append(level)
    return {kind: sorted(levels, key=float) for kind, levels in found.items()}


def _shares(report: NullSpaceReport, kind: str, levels: Sequence[str]) -> Lines:
    entries = [report.find("noise_share", "row", f"{kind} {level}") for level in levels]
    label, hue = PARTS["row"]
    median, low, high = (_numbers(entries, key) for key in _CHANCE)
    lines = [
        _series(Line, label, entries, hue=hue),
        *_control(entries),
        Line("chance", median, low, high, look="chance"),
    ]
    between = report.find("displacement_share", "row")
    if between is not None:
        level = [between.value] * len(levels)
        lines.append(Line("between classes", level, look="reference", hue=0))
    highest = max(
        value
        for line in lines
        for value in (*line.values, *(line.high or ()), 0.0)
        if value == value
    )
    axes = (_UNITS.get(kind, "level"), "share in row space")
    x = [float(level) for level in levels]
    return Lines(kind.replace("-", " "), *axes, x, lines, ylim=(0, 1.05 * highest or 1.0))


def _read(report: NullSpaceReport, kind: str, levels: Sequence[str]) -> Lines:
    groups = ["clean", *(f"{kind} {level}" for level in levels)]
    lines = []
    for part, (label, hue) in PARTS.items():
        entries = [report.find("probe", part, group) for group in groups]
        if any(entries):
            lines.append(_series(Line, label, entries, 100, hue=hue))
            lines += _control(entries, 100) if part == "full" else []
    chance = report.find("probe", "full", "clean")
    if chance is not None:
        lines.append(Line("chance", [100 * chance.chance] * len(groups), look="chance"))
    x = [0.0, *(float(level) for level in levels)]
    axes = (_UNITS.get(kind, "level"), "probe accuracy (%)")
    return Lines(kind.replace("-", " "), *axes, x, lines, ylim=(0, 102))


# --- layers and training


def layers_figure(report: NullSpaceReport) -> FigureData:
    """The share of centred energy in the null space of each layer.

    Raises:
        UsageError: a report without other layers.
    """
    entries = [each for each in report.entries if each.quantity == "layer_energy_centred"]
    # A layer with as many filters as inputs sees everything, whatever the images.
    layers = list(
        dict.fromkeys(entry.layer for entry in entries if entry.layer and entry.chance > 0)
    )
    if not layers:
        raise UsageError(f"the report of {report.name} holds no other layers")
    lines = []
    for hue, (group, label) in enumerate((("all", "real"), ("generated", "generated"))):
        found = [report.find("layer_energy_centred", "null", group, layer) for layer in layers]
        if any(found):
            lines.append(_series(Line, label, found, hue=hue))
        if group == "all":
            lines += _control(found)
            lines.append(Line("1 - rank / dim", _numbers(found, "chance"), look="level"))
    ylabel = "share of centred energy\nin the null space"
    panel = Lines("", "layer", ylabel, layers, lines, ylim=(0, 1.04))
    caption = (
        "Share of the centred energy of each layer's patches that its own weights cannot see. "
        f"Bands are 95 % intervals, {_CONTROL}."
    )
    return _figure(report, "Null spaces of layers", caption, panel)


def alpha_figure(report: NullSpaceReport) -> FigureData:
    """α after each epoch of training: its mean, and its coefficient of variation.

    Raises:
        UsageError: a report without α.
    """
    if not report.alpha:
        raise UsageError(f"the report of {report.name} holds no α of training")
    drawn = [
        _alpha(report, "mean α", ""),
        _alpha(report, "coefficient of variation of α", "_cv"),
    ]
    caption = "α = p_g / p_r as the discriminator saw it after each epoch of training."
    return _figure(report, "Alpha", caption, *drawn)


def _alpha(report: NullSpaceReport, ylabel: str, suffix: str) -> Lines:
    lines = [
        Line(
            label,
            [_positive(getattr(row, f"alpha_{kind}{suffix}")) for row in report.alpha],
            hue=hue,
        )
        for hue, (kind, label) in enumerate((("real", "real"), ("fake", "generated")))
    ]
    return Lines("", "epoch", ylabel, [row.epoch for row in report.alpha], lines, log=True)


def _positive(value: float) -> float:
    """The value; NaN where a logarithmic axis has no place for it."""
    return value if 0 < value < np.inf else np.nan


# --- series of entries

#: Numbers of random subspaces: median and percentiles.
_CHANCE = ("chance", "chance_low", "chance_high")


def _series(
    kind: type[Any],
    label: str,
    entries: _Entries,
    scale: float = 1,
    *,
    hue: int,
) -> Any:
    """Values of entries with their intervals, where they have any."""
    value, low, high = (_numbers(entries, key, scale) for key in ("value", "low", "high"))
    certain = any(end == end for end in low)
    return kind(label, value, low if certain else None, high if certain else None, hue=hue)


def _control(entries: _Entries, scale: float = 1) -> list[Line]:
    """The untrained network, if the entries have one."""
    values = _numbers(entries, "control", scale)
    there = any(value == value for value in values)
    return [Line("untrained", values, look="control")] if there else []


def _percent(entries: _Entries, key: str) -> list[float]:
    return _numbers(entries, key, 100)


def _numbers(entries: _Entries, key: str, scale: float = 1) -> list[float]:
    """A number of each entry; NaN where there is none."""
    return [np.nan if entry is None else scale * getattr(entry, key) for entry in entries]
