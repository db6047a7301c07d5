"""α over training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.figures.layout import panels
from repsim.figures.nullspace.entries import MissingNumbersError, figure_of
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData


def alpha_curves(
    report: NullSpaceReport,
    *,
    style: str | Style = "page",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """α = p_g / p_r as the discriminator saw it after each epoch: mean and variation.

    At the optimum without mode collapse it is the same for all real images (Mao et al., Corollaries
    1 to 3), so that its coefficient of variation falls to 0.
    """
    return panels(alpha_figure(report), style=style, ax=ax)


def alpha_figure(report: NullSpaceReport) -> FigureData:
    """α after each epoch of training: its mean, and its coefficient of variation.

    Raises:
        UsageError: a report without α.
    """
    if not report.alpha:
        raise MissingNumbersError(report, "α of training")
    drawn = [
        _alpha(report, "mean α", ""),
        _alpha(report, "coefficient of variation of α", "_cv"),
    ]
    caption = "α = p_g / p_r as the discriminator saw it after each epoch of training"
    caption += _statistics(report)
    return figure_of(report, "Alpha", caption, *drawn)


def _statistics(report: NullSpaceReport) -> str:
    """Words on the statistics of batch normalisation that α was taken with."""
    own = sum(row.alpha_batches > 0 for row in report.alpha)
    if own == len(report.alpha):
        return ", real and generated images each with their own batch statistics."
    until = "" if not own else f" until epoch {report.alpha[-own - 1].epoch:g}"
    return f", by mixed batch statistics of real and generated images{until}."


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
