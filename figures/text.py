"""Text that fits: its width, and lines of a length."""

from __future__ import annotations

import textwrap

from repsim.figures.artists import rc

#: Written where there is no number.
DASH = "\N{EN DASH}"

#: Written where text is left out.
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def extent(text: str) -> float:
    """Width of a line of text in units of its size."""
    from matplotlib.textpath import TextPath

    return TextPath((0, 0), text, size=100, usetex=False).get_extents().width / 100 if text else 0


def shortened(text: str, most: float) -> str:
    """A line of at most ``most`` units of its size, an ellipsis for its middle if it is longer."""
    kept = len(text)
    while extent(text) > most and kept > 2:
        kept -= 1
        text = f"{text[: kept // 2]}{ELLIPSIS}{text[-(kept - kept // 2) :]}"
    return text


def wrapped(text: str, inches: float) -> str:
    """A text in lines that are no longer, at the size of labels; its own lines stay apart."""
    letters = max(8, int(inches * 72 / (0.55 * rc("font.size"))))
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))


def fitting(text: float, inches: float, largest: float) -> float:
    """The size in points at which ``text``, in units of its size, is at most that wide."""
    return min(largest, 72 * inches / text) if text else largest
