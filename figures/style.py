"""Styles: plain rcParams dictionaries and widths, applied in a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
import seaborn as sns
from cycler import cycler

from repsim.errors import UsageError, choices

#: Settings that matplotlib reads when it writes a file, after the figure was drawn.
WRITING: dict[str, Any] = {
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: text stays text, which journals ask for
    "ps.fonttype": 42,
}

_COMMON: dict[str, Any] = {
    **WRITING,
    "figure.dpi": 150,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "axes.prop_cycle": cycler(color=sns.color_palette("colorblind")),
}


def _sized(width: float, font: float) -> dict[str, Any]:
    return {
        **_COMMON,
        "figure.figsize": (width, 0.75 * width),
        "font.size": font,
        "axes.labelsize": font,
        "axes.titlesize": font,
        "legend.fontsize": font - 1,
        "xtick.labelsize": font - 1,
        "ytick.labelsize": font - 1,
    }


#: Widths in inches: a column and a full page of a two-column paper, and a slide.
STYLES: dict[str, dict[str, Any]] = {
    "column": _sized(3.3, 7),
    "page": _sized(6.9, 8),
    "slide": _sized(10.0, 14),
}


@contextmanager
def styled(style: str) -> Iterator[float]:
    """Apply a style within the block; gives its width in inches.

    Raises:
        UsageError: no such style.
    """
    if style not in STYLES:
        raise UsageError(f"unknown style {style!r}; {choices(style, STYLES)}")
    with mpl.rc_context(rc=cast(Any, STYLES[style])):  # its stubs want literal keys
        yield STYLES[style]["figure.figsize"][0]


def is_narrow(width: float) -> bool:
    """Tell whether a figure of that many inches is a column's."""
    return width < 5
