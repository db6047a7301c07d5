"""Styles: plain rcParams dictionaries and widths, applied in a context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl
import seaborn as sns
from cycler import cycler
from matplotlib.font_manager import FontProperties

from repsim.errors import UsageError, choices
from repsim.figures.fonts import check_font

#: Settings that matplotlib reads when it writes a file, after the figure was drawn.
WRITING: dict[str, Any] = {
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: text stays text, which journals ask for
    "ps.fonttype": 42,
    "svg.hashsalt": "repsim",  # else ids differ from file to file
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


#: Settings that are sizes of text.
_SIZES: tuple[Any, ...] = (
    "axes.labelsize",
    "axes.titlesize",
    "legend.fontsize",
    "xtick.labelsize",
    "ytick.labelsize",
)


@dataclass(frozen=True)
class Style:
    """A style with another width or font.

    Attributes:
        base: ``column``, ``page`` or ``slide``.
        width: of the figure, in inches; None for the width of the base.
        font: family of the text, such as ``serif`` or the name of a font on the machine.
        size: of the text, in points; labels of ticks and legends have a point less.

    Raises:
        UsageError: no such style or font, or a width or size that cannot be.
    """

    base: str = "column"
    width: float | None = None
    font: str | None = None
    size: float | None = None

    def __post_init__(self) -> None:
        if self.base not in STYLES:
            raise UsageError(f"unknown style {self.base!r}; {choices(self.base, STYLES)}")
        if self.width is not None and not 1 <= self.width <= 40:
            raise UsageError(f"a width of {self.width:g} inches arrived; expected 1 to 40")
        if self.size is not None and not 3 <= self.size <= 72:
            raise UsageError(f"a font of {self.size:g} points arrived; expected 3 to 72")
        if self.font is not None:
            check_font(self.font)

    def settings(self) -> dict[str, Any]:
        """The settings of matplotlib."""
        usual = STYLES[self.base]
        width, size = self.width or usual["figure.figsize"][0], self.size or usual["font.size"]
        family = {} if self.font is None else {"font.family": self.font}
        return {**_sized(width, size), **family}


@contextmanager
def styled(style: str | Style) -> Iterator[float]:
    """Apply a style within the block; gives its width in inches.

    Raises:
        UsageError: no such style.
    """
    settings = (Style(style) if isinstance(style, str) else style).settings()
    with mpl.rc_context(rc=cast(Any, settings)):  # its stubs want literal keys
        yield settings["figure.figsize"][0]


@contextmanager
def in_points() -> Iterator[None]:
    """Turn sizes of text that are words, such as ``medium``, into points within the block."""
    sizes = {key: FontProperties(size=mpl.rcParams[key]).get_size_in_points() for key in _SIZES}
    with mpl.rc_context(rc=cast(Any, sizes)):
        yield


def is_narrow(width: float) -> bool:
    """Tell whether a figure of that many inches is a column's."""
    return width < 5
