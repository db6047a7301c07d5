"""Effects of noise on the features, by its level."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.figures.layout import panels
from repsim.figures.nullspace.entries import (
    PARTS,
    MissingNumbersError,
    control_of,
    control_said,
    figure_of,
    numbers_of,
    series_of,
)
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData

#: A level, at the end of a noise's name.
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"

#: Units of the levels of a noise.
_UNITS = {"gaussian": "standard deviation", "salt-and-pepper": "share of pixels"}

#: The quantity of a share about the mean; a report of an earlier release has none.
_CENTRED = "noise_share_centred"

#: Numbers of random subspaces: median and percentiles.
_CHANCE = ("chance", "chance_low", "chance_high")


def noise_curves(
    report: NullSpaceReport,
    *,
    style: str | Style = "page",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """The share of a noise's effect on the features that the head sees, and probes under noise.

    Above: the row space's share of the energy of the displacement of f, by level of noise, as it is
    and about its mean, since most of a share may be a shift of all images alike; dotted the median
    and shaded the 5th to 95th percentile of random subspaces of its rank, for the share as it is;
    the thin line is the share of the displacements between classes. Below: accuracy of probes,
    trained on clean features, on noisy ones. Bands are 95 % intervals, grey dashes the untrained
    network: above as it is, below with all features.
    """
    return panels(noise_figure(report), style=style, ax=ax)


def noise_figure(report: NullSpaceReport) -> FigureData:
    """Displacements by noise in the row space, and probes on noisy features.

    Raises:
        UsageError: a report without noise.
    """
    noises = _noises(report)
    if not noises:
        raise MissingNumbersError(report, "noise")
    shares = [_shares(report, kind, levels) for kind, levels in noises.items()]
    read = [_read(report, kind, levels) for kind, levels in noises.items() if report.probes]
    return figure_of(report, "Noise", _caption(report, shares, read), *shares, *read)


def _caption(report: NullSpaceReport, shares: Sequence[Lines], read: Sequence[Lines]) -> str:
    """The panels in words, and nothing that is in none of them."""
    measured = any(entry.quantity == _CENTRED for entry in report.entries)
    centred = "about its mean" if measured else "about its mean (not measured)"
    classes = any(line.look == "reference" for panel in shares for line in panel.series)
    return (
        "Row space's share of the energy of what noise does to the features, as it is and "
        f"{centred}; dotted and shaded: random subspaces of its rank, as it is"
        + ("; thin: displacements between classes. " if classes else ". ")
        + ("Accuracy of probes on noisy features. " if read else "")
        + f"Bands are 95 % intervals{control_said([*shares, *read])}."
    )


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
    centred = [report.find(_CENTRED, "row", f"{kind} {level}") for level in levels]
    label, hue = PARTS["row"]
    median, low, high = (numbers_of(entries, key) for key in _CHANCE)
    lines = [
        series_of(Line, label, entries, hue=hue),
        *([series_of(Line, f"{label}, centred", centred, hue=1)] if any(centred) else []),
        *control_of(entries),
        Line("random subspaces", median, low, high, look="chance"),
    ]
    between = report.find("displacement_share", "row")
    if between is not None:
        level = [between.value] * len(levels)
        lines.append(Line("between classes", level, look="reference", hue=0))
    highest = np.nanmax([0.0, *(v for line in lines for v in (*line.values, *(line.high or ())))])
    axes = (_UNITS.get(kind, "level"), "share in row space")
    x = [float(level) for level in levels]
    return Lines(kind.replace("-", " "), *axes, x, lines, ylim=(0, 1.05 * float(highest) or 1.0))


def _read(report: NullSpaceReport, kind: str, levels: Sequence[str]) -> Lines:
    groups = ["clean", *(f"{kind} {level}" for level in levels)]
    lines = []
    for part, (label, hue) in PARTS.items():
        entries = [report.find("probe", part, group) for group in groups]
        if any(entries):
            lines.append(series_of(Line, label, entries, 100, hue=hue))
            lines += control_of(entries, 100) if part == "full" else []
    chance = report.find("probe", "full", "clean")
    if chance is not None:
        lines.append(Line("chance", [100 * chance.chance] * len(groups), look="chance"))
    x = [0.0, *(float(level) for level in levels)]
    axes = (_UNITS.get(kind, "level"), "probe accuracy (%)")
    return Lines(kind.replace("-", " "), *axes, x, lines, ylim=(0, 102))
