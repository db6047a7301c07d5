"""What lies in the row space and in the null space of a head."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from repsim.errors import UsageError
from repsim.figures.style import styled
from repsim.results import NullSpaceReport


def null_space_bars(
    reports: NullSpaceReport | Sequence[NullSpaceReport], *, style: str = "page"
) -> Figure:
    """Energy of the features in the null space against chance, and what probes read from each part.

    Left: share of |f|², raw and centred, that the head cannot see; the line is the share
    1 - rank / d of features without direction. Right (in narrow styles, below), where probes were
    trained: their accuracy on the full features, the row-space and the null-space part.
    """
    reports = [reports] if isinstance(reports, NullSpaceReport) else list(reports)
    if not reports:
        raise UsageError("no report arrived; expected at least one")
    probed = any(report.probes for report in reports)
    with styled(style) as width:
        stacked = width * 72 / mpl.rcParams["font.size"] < _LETTERS
        panels = 2 if probed else 1
        fig, grid = plt.subplots(
            panels if stacked else 1,
            1 if stacked else panels,
            figsize=(width, (0.62 * panels if stacked else 0.42) * width),
            layout="constrained",
            squeeze=False,
        )
        axes = grid.ravel()
        _energies(axes[0], reports)
        if probed:
            _accuracies(axes[1], reports)
        for ax in axes:
            _name(ax, reports, inches=0.8 * width / (1 if stacked else panels))
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, borderaxespad=0.2)
    return fig


#: Width in units of the font size below which two panels do not fit side by side.
_LETTERS = 60


#: Behind the values on bars, so that the line of chance does not strike them through.
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}


def _energies(ax: Axes, reports: Sequence[NullSpaceReport]) -> None:
    series = {
        "raw": [100 * (1 - report.row_energy) for report in reports],
        "centred": [100 * (1 - report.row_energy_centred) for report in reports],
    }
    _grouped(ax, reports, series)
    for k, report in enumerate(reports):
        label = "chance: 1 - rank / d" if k == 0 else "_"  # named once
        ax.hlines(100 * (1 - report.chance), k - 0.4, k + 0.4, color="black", lw=1, label=label)
    ax.set_ylabel("energy in the null space (%)")
    ax.set_ylim(0, 104)


def _accuracies(ax: Axes, reports: Sequence[NullSpaceReport]) -> None:
    names = {"full": "all features", "row": "row space", "null": "null space"}
    series = {
        label: [100 * report.probes.get(part, np.nan) for report in reports]
        for part, label in names.items()
    }
    _grouped(ax, reports, series, first_color=2)
    ax.set_ylabel("probe accuracy (%)")
    ax.set_ylim(0, 104)


def _grouped(
    ax: Axes,
    reports: Sequence[NullSpaceReport],
    series: dict[str, list[float]],
    first_color: int = 0,
) -> None:
    width = 0.8 / len(series)
    small = 0.75 * mpl.rcParams["font.size"]
    for k, (label, values) in enumerate(series.items()):
        offsets = np.arange(len(reports)) + (k - (len(series) - 1) / 2) * width
        bars = ax.bar(offsets, values, 0.92 * width, label=label, color=f"C{first_color + k}")
        ax.bar_label(
            bars,
            fmt=lambda v: "" if np.isnan(v) else f"{v:.0f}",
            fontsize=small,
            padding=1,
            bbox=_PLATE,
        )


def _name(ax: Axes, reports: Sequence[NullSpaceReport], inches: float) -> None:
    """Name the groups of bars, upright where they would not fit beside each other."""
    upright = [
        f"{report.name.replace(':', ':' + chr(10))}\nrank {report.rank}/{report.dim}"
        for report in reports
    ]
    labels = [label.replace("-", "-\n") for label in upright]
    size = FontProperties(size=mpl.rcParams["xtick.labelsize"]).get_size_in_points()
    lines = {line for label in labels for line in label.split("\n") if line}
    widest = max(TextPath((0, 0), line, size=size).get_extents().width for line in lines)
    fits = widest + size / 2 < 72 * inches / len(labels)
    ax.set_xticks(range(len(labels)), labels if fits else upright, rotation=0 if fits else 90)
    ax.tick_params(axis="x", length=0)
