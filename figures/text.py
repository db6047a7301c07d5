"""Text that fits: its width, and lines of a length."""

from __future__ import annotations

import textwrap
from bisect import bisect_right
from functools import lru_cache

from repsim.figures.artists import rc

#: Written where there is no number.
DASH = "\N{EN DASH}"

#: Written where text is left out.
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def extent(text: str) -> float:
    """Width of a line of text in units of its size, in the font and as the style draws it."""
    return _extent(text, tuple(rc("font.family")), rc("text.parse_math")) if text else 0.0


@lru_cache(maxsize=4096)
def _extent(text: str, families: tuple[str, ...], formulas: bool) -> float:
    """The width by all it depends on; labels are measured often while a figure is laid out."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=100, usetex=False).get_extents().width / 100)


def shortened(text: str, most: float) -> str:
    """A line of at most ``most`` units of its size, an ellipsis for its middle if it is longer."""
    if extent(text) <= most:
        return text
    kept = bisect_right(range(len(text)), most, key=lambda count: extent(_ends(text, count))) - 1
    return _ends(text, max(2, kept))


def _ends(text: str, count: int) -> str:
    """The first and last of so many letters, with an ellipsis between them."""
    return f"{text[: count // 2]}{ELLIPSIS}{text[len(text) - (count - count // 2) :]}"


def wrapped(text: str, inches: float) -> str:
    """A text in lines that are no longer, at the size of labels; its own lines stay apart."""
    letters = max(8, int(inches * 72 / (0.55 * rc("font.size"))))
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def fitting(text: float, inches: float, largest: float) -> float:
    """The size in points at which ``text``, in units of its size, is at most that wide."""
    return min(largest, 72 * inches / text) if text else largest
