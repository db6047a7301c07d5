"""Training, epoch by epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.errors import DataError
from repsim.figures.layout import panels
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results.figure import FigureData

#: Columns of ``metrics.csv`` that are no quantities of training.
_SKIPPED = ("epoch", "images_per_second", "classifier_accuracy", "alpha_batches")
_WORDS = {"alpha": "α", "alpha cv": "variation of α", "d": "D", "c accuracy": "accuracy of C"}


def training_curves(
    rows: Sequence[Mapping[str, float]],
    *,
    style: str | Style = "column",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Every quantity of ``metrics.csv`` over epochs, one panel for those of a kind.

    What is told for real and generated images shares a panel, and so do the losses. A quantity of
    each generator is drawn in grey behind that of all. Positive ones that range over more than two
    decades have a logarithmic axis.

    Args:
        rows: one an epoch, as of ``Run.metrics``.
        style: the size.

    Raises:
        DataError: no epoch, or nothing that was measured in one.
    """
    return panels(training_figure(rows), style=style, ax=ax)


def training_figure(rows: Sequence[Mapping[str, float]], run: str | None = None) -> FigureData:
    """Quantities of training over epochs, of a run if it has a name, as the data of a figure.

    Raises:
        DataError: no epoch, or nothing that was measured in one.
    """
    kinds: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        if name not in _SKIPPED:
            kinds.setdefault(_kind(name), []).append(name)
    if not kinds:
        raise DataError("there are no metrics to draw; a run has them after its first epoch")
    drawn = [_panel(rows, kind, names) for kind, names in kinds.items()]
    of = f" of {run}" if run else ""
    caption = f"Quantities of training{of} over {len(rows)} epochs."
    return FigureData("Training", caption, [*drawn], heading=run)


def _kind(name: str) -> str:
    """The quantity, whichever images, network or generator it was measured on."""
    plain = re.sub(r"_(real|fake)(?=_|$)", "", name.partition(".")[0])
    return "loss" if plain.startswith("loss") else plain.replace("_", " ")


def _panel(rows: Sequence[Mapping[str, float]], kind: str, names: Sequence[str]) -> Lines:
    values = {name: [_finite(row[name]) for row in rows] for name in names}
    flat = [value for each in values.values() for value in each if value == value]
    whole = [name for name in names if "." not in name]
    lines = [
        _line(name, kind, values[name], alone=len(whole) == 1)
        for name in sorted(names, key=lambda name: name in whole)
    ]
    wide = bool(flat) and min(flat) > 0 and max(flat) > 100 * min(flat)
    epochs = [row["epoch"] for row in rows]
    return Lines("", "epoch", _WORDS.get(kind, kind), epochs, lines, log=wide)


def _finite(value: float) -> float:
    """The value; a gap for infinity, which has no place on an axis."""
    return value if math.isfinite(value) else math.nan


def _line(name: str, kind: str, values: Sequence[float], *, alone: bool) -> Line:
    if "." in name:
        each = re.sub(r"\d+$", "", name.partition(".")[2])
        return Line(name, values, look="faint", group=f"each {each}")
    return Line("" if alone else _label(name, kind), values)


def _label(name: str, kind: str) -> str:
    """The part of a quantity's name that its panel does not say."""
    found = re.search(r"_(real|fake)(?=_|$)", name)
    if found:
        return {"real": "real", "fake": "generated"}[found[1]]
    return name.removeprefix(f"{kind}_").replace("_", " ")
