"""Examples of a report: strips by class, and the distribution of their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.figures.layout import panels
from repsim.figures.nullspace.entries import MissingNumbersError, figure_of
from repsim.figures.panels.histogram import Histogram
from repsim.figures.panels.strips import Dots, Strips
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData


def null_space_strips(
    report: NullSpaceReport,
    *,
    style: str | Style = "page",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Each of some examples by its class: its share in the null space, and its score.

    The score is the logit of a head with one (its scatter is that of log α), and λ of a head with
    several: how far the example lies along the direction that softmax ignores. Generated images
    stand beside the real ones, by the generator that made them.
    """
    return panels(strips_figure(report), style=style, ax=ax)


def score_histogram(
    report: NullSpaceReport,
    *,
    style: str | Style = "column",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Distribution of the logit of a head with one, or of λ of a head with several.

    Real and generated images apart; ticks above are the medians of classes or generators.
    """
    return panels(histogram_figure(report), style=style, ax=ax)


def strips_figure(report: NullSpaceReport) -> FigureData:
    """Examples by class: their share in the null space, and their score.

    Raises:
        UsageError: a report without examples.
    """
    if not report.examples:
        raise MissingNumbersError(report, "examples")
    drawn = [_strips(report, "null_share", "share of |f|² in the null space", 1 - report.chance)]
    score = _scores(report)
    if score is not None:
        drawn.append(_strips(report, *score))
    caption = (
        "Share of each example's energy in the null space (dotted: 1 - rank / d), and its score, "
        "by class; strokes are medians."
    )
    return figure_of(report, "Null space of examples", caption, *drawn)


def _strips(
    report: NullSpaceReport, column: str, ylabel: str, chance: float | None = None
) -> Strips:
    """A strip of dots a class, real and generated ones beside each other."""
    values = np.array(getattr(report.examples, column), float)
    kinds = {kind: _classes(report, rows) for kind, rows in _kinds(report).items()}
    known = sorted({label for each in kinds.values() for label in each if label is not None})
    groups = [
        _dots(kind, hue, values, classes, known)
        for hue, (kind, classes) in enumerate(kinds.items())
    ]
    made = kinds.get("generated", {}).keys() - {None}
    xlabel = "class, or generator" if len(kinds) > 1 and made else "class"
    names = [_category(report.examples.classes, label, label in made) for label in known]
    return Strips("", xlabel, ylabel, names or [""], groups, chance)


def _category(classes: Sequence[str], label: int, made: bool) -> str:
    """The name of a class; where a generator has its number, with the number."""
    if label >= len(classes):
        return str(label)
    return f"{classes[label]}, {label}" if made else classes[label]


def _dots(
    kind: str,
    hue: int,
    values: np.ndarray,
    classes: Mapping[Any, np.ndarray],
    known: Sequence[int],
) -> Dots:
    """The examples of a kind, each at the place of its class; without classes, at the first."""
    rows = np.concatenate(list(classes.values()))
    places = [
        0 if label is None else known.index(label)
        for label, members in classes.items()
        for _ in members
    ]
    return Dots(kind, values[rows].tolist(), hue=hue, places=places)


def histogram_figure(report: NullSpaceReport) -> FigureData:
    """The distribution of the scores of examples.

    Raises:
        UsageError: a report without scores.
    """
    score = _scores(report)
    if score is None:
        raise MissingNumbersError(report, "logits and no λ of examples")
    column, label = score
    values = np.array(getattr(report.examples, column), float)
    ticks = {
        kind: [float(np.nanmedian(values[each])) for each in _classes(report, rows).values()]
        for kind, rows in _kinds(report).items()
    }
    shown = {kind: values[rows] for kind, rows in _kinds(report).items()}
    labelled = any(each is not None for each in report.examples.label)
    marked = "medians of classes" if labelled else "medians"
    panel = Histogram.of("", label, shown, bins=40, ticks=ticks, marked=marked)
    caption = f"Distribution of {label}; ticks above are medians of classes or generators."
    return figure_of(report, "Scores", caption, panel)


def _scores(report: NullSpaceReport) -> tuple[str, str] | None:
    """The column of scores, and its name."""
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
