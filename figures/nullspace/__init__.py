"""Figures of null-space reports: what lies in the row space and in the null space of a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from matplotlib.figure import Figure

from repsim.figures.drawing import draw
from repsim.figures.kinds import figures_of, figures_together
from repsim.figures.nullspace.alpha import alpha_curves, alpha_figure
from repsim.figures.nullspace.bars import bars_figure, null_space_bars
from repsim.figures.nullspace.entries import MissingNumbersError
from repsim.figures.nullspace.examples import (
    histogram_figure,
    null_space_strips,
    score_histogram,
    strips_figure,
)
from repsim.figures.nullspace.layers import layers_figure, null_space_layers
from repsim.figures.nullspace.noise import noise_curves, noise_figure
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData

__all__ = [
    "alpha_curves",
    "bars_figure",
    "noise_curves",
    "noise_figure",
    "null_space_bars",
    "null_space_figures",
    "null_space_layers",
    "null_space_strips",
    "score_histogram",
    "strips_figure",
]

_FIGURES: dict[str, Callable[[NullSpaceReport], FigureData]] = {
    "bars": bars_figure,
    "strips": strips_figure,
    "histogram": histogram_figure,
    "noise": noise_figure,
    "alpha": alpha_figure,
    "layers": layers_figure,
}


def null_space_figures(
    report: NullSpaceReport, *, style: str | Style = "page"
) -> dict[str, Figure]:
    """Every figure that a report has numbers for, by name."""
    return draw(report, style=style)


@figures_of.register
def figures_of_report(
    report: NullSpaceReport, *, estimator: str = "unbiased"
) -> dict[str, FigureData]:
    """The data of every figure that a report has numbers for, by name."""
    found = {}
    for name, make in _FIGURES.items():
        with suppress(MissingNumbersError):
            found[name] = make(report)
    return found


@figures_together(NullSpaceReport)
def figures_of_reports(reports: Sequence[NullSpaceReport]) -> dict[str, FigureData]:
    """The bars of several reports beside each other."""
    return {"bars": bars_figure(reports)}
