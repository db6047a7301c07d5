"""Numbers of reports as series, and figures of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from repsim.errors import UsageError
from repsim.figures.panels.lines import Line, Lines
from repsim.results import NullSpaceEntry, NullSpaceReport
from repsim.results.figure import FigureData, Panel
from repsim.results.images import counted
from repsim.results.learned import not_held_out

Entries = Sequence[NullSpaceEntry | None]

#: Names of the parts of the feature space, and the places of their colours in the palette.
PARTS = {"full": ("all features", 2), "row": ("row space", 3), "null": ("null space", 4)}


class MissingNumbersError(UsageError):
    """A report without the numbers that a figure shows."""

    def __init__(self, report: NullSpaceReport, what: str) -> None:
        super().__init__(f"the report of {report.name} holds no {what}")


def figure_of(report: NullSpaceReport, name: str, caption: str, *drawn: Panel) -> FigureData:
    """Panels as a figure, whose caption ends with the name of the report and its examples."""
    shown = f"{report.name}, {counted(report.provenance, report.n)}"
    caption = f"{caption} {shown}.{not_held_out(report.provenance)}"
    return FigureData(name, caption, [*drawn], report.provenance, shown)


def series_of(kind: type[Any], label: str, entries: Entries, scale: float = 1, *, hue: int) -> Any:
    """Values of entries with their intervals, where they have any, as a ``Series`` of a kind."""
    value, low, high = (numbers_of(entries, key, scale) for key in ("value", "low", "high"))
    certain = any(end == end for end in low)
    return kind(label, value, low if certain else None, high if certain else None, hue=hue)


def control_of(entries: Entries, scale: float = 1) -> list[Line]:
    """The untrained network, if the entries have one."""
    values = numbers_of(entries, "control", scale)
    there = any(value == value for value in values)
    return [Line("untrained", values, look="control")] if there else []


def control_said(drawn: Sequence[Lines]) -> str:
    """The untrained network as a caption names it; empty where no curve is of it."""
    there = any(line.look == "control" for panel in drawn for line in panel.series)
    return ", grey dashes and diamonds are the untrained network" if there else ""


def numbers_of(entries: Entries, key: str, scale: float = 1) -> list[float]:
    """A number of each entry; NaN where there is none."""
    return [np.nan if entry is None else scale * getattr(entry, key) for entry in entries]
