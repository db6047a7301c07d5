"""Energies in the null space and accuracies of probes, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.errors import UsageError
from repsim.figures.layout import panels
from repsim.figures.nullspace.entries import PARTS, Entries, control_of, numbers_of, series_of
from repsim.figures.panels.bars import Bars, Mark
from repsim.figures.series import Series
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData
from repsim.results.images import common_heading
from repsim.results.learned import not_held_out

_CLASSES, _SIDES = "classes", "real or generated"

#: What probes read in a panel, by its title, as captions say it.
_READ = {_CLASSES: "the classes", _SIDES: "real against generated images"}


def null_space_bars(
    reports: NullSpaceReport | Sequence[NullSpaceReport],
    *,
    style: str | Style = "page",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Energy of the features in the null space against chance, and what probes read from each part.

    First: share of |f|², raw and centred, that the head cannot see; the line is the share
    1 - rank / d of features without direction. Then, where probes were trained, their accuracy on
    the full features, the row-space and the null-space part: of the classes, and of telling real
    from generated images, with chance as a line. Whiskers are 95 % intervals, diamonds the
    untrained network, where the report has one.
    """
    return panels(bars_figure(reports), style=style, ax=ax)


def bars_figure(reports: NullSpaceReport | Sequence[NullSpaceReport]) -> FigureData:
    """Energies in the null space and accuracies of probes, for one or more reports.

    Raises:
        UsageError: no report.
    """
    reports = [reports] if isinstance(reports, NullSpaceReport) else list(reports)
    if not reports:
        raise UsageError("no report arrived; expected at least one")
    drawn = [_energies(reports)]
    if any(report.probes for report in reports):
        drawn.append(_accuracies(_CLASSES, "probe", "clean", reports))
    if any(report.find("real_fake_probe", "full") for report in reports):
        drawn.append(_accuracies(_SIDES, "real_fake_probe", "all", reports))
    provenance = {report.name: report.provenance for report in reports}
    heading = common_heading(reports)
    named = ", ".join(filter(None, (*provenance, heading)))
    caption = f"{_caption(drawn)} {named}.{not_held_out(provenance)}"
    return FigureData("Null space", caption, drawn, provenance, heading)


def _caption(drawn: Sequence[Bars]) -> str:
    """The panels in words, and nothing that is in none of them."""
    marks = [mark.look for panel in drawn for mark in panel.marks]
    whiskers = any(series.low for panel in drawn for series in panel.series)
    read = " and of ".join(_READ[panel.title] for panel in drawn if panel.title)
    signs = [
        *(["whiskers are 95 % intervals"] if whiskers else []),
        *(["diamonds are the untrained network"] if "control" in marks else []),
    ]
    said = [
        "Energy of the features in the null space of the head, raw and centred; black: chance, "
        "1 - rank / d.",
        f"Accuracy of probes of {read} on all features and on each part; dotted: chance."
        if read
        else "",
        f"{', '.join(signs)}.".capitalize() if signs else "",
    ]
    return " ".join(filter(None, said))


def _energies(reports: Sequence[NullSpaceReport]) -> Bars:
    entries = {
        ("raw", 0): [report.find("energy", "null") for report in reports],
        ("centred", 1): [report.find("energy_centred", "null") for report in reports],
    }
    levels = [100 * (1 - report.chance) for report in reports]
    chance = Mark("chance: 1 - rank / d", levels, look="level")
    return _bars("", "energy in the null space (%)", reports, entries, [chance])


def _accuracies(title: str, quantity: str, group: str, reports: Sequence[NullSpaceReport]) -> Bars:
    """Accuracies of probes on each part."""
    entries = {
        named: [report.find(quantity, part, group) for report in reports]
        for part, named in PARTS.items()
    }
    level = Mark("chance", numbers_of(entries[PARTS["full"]], "chance", 100), look="chance")
    return _bars(title, "probe accuracy (%)", reports, entries, [level])


def _bars(
    title: str,
    label: str,
    reports: Sequence[NullSpaceReport],
    entries: Mapping[tuple[str, int], Entries],
    marks: Sequence[Mark],
) -> Bars:
    """Bars in per cent, with a diamond for the untrained network where there is one."""
    controls = [
        Mark("untrained", line.values, look="control", of=name)
        for (name, _), found in entries.items()
        for line in control_of(found, 100)
    ]
    return Bars(
        title,
        label,
        [f"{report.name}\nrank {report.rank}/{report.dim}" for report in reports],
        [series_of(Series, name, found, 100, hue=hue) for (name, hue), found in entries.items()],
        [*marks, *controls],
        limits=(0, 113),  # room for a number on a bar of 100
        numbers=0,
    )
