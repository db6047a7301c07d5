"""Tables and small pictures as HTML, as notebooks show results and stores."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

#: Rows of a table that are shown; the others are counted below it.
_ROWS = 10

_CELL = "text-align: {}; padding: 0 0.8em 0 0; white-space: nowrap"


def box(title: str, *parts: str) -> str:
    """Parts below each other, under a title."""
    return f'<div class="repsim"><p><b>{escape(title)}</b></p>{"".join(parts)}</div>'


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The first of some records as a table, and how many there are more; empty without any."""
    if not rows:
        return ""
    head = "".join(_cell(name, "th", "left") for name in rows[0])
    lines = "".join(f"<tr>{_line(row)}</tr>" for row in rows[:_ROWS])
    more = f"<p>and {len(rows) - _ROWS:,} more rows</p>" if len(rows) > _ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}"


def picture(png: bytes, width: int = 360) -> str:
    """A PNG inside the page, at most so many pixels wide."""
    data = base64.b64encode(png).decode()
    return f'<img style="max-width: {width}px" src="data:image/png;base64,{data}">'


def share(value: float, largest: float, width: int = 80) -> Markup:
    """A bar as long as a value's share of the largest."""
    pixels = round(width * value / largest) if largest else 0
    style = f"display: inline-block; height: 0.7em; width: {pixels}px; background: #4c72b0"
    return Markup(f'<span style="{style}"></span>')


class Markup(str):
    """A cell that is HTML already."""


def _line(row: Mapping[str, Any]) -> str:
    return "".join(_cell(value, "td", _side(value)) for value in row.values())


def _side(value: Any) -> str:
    return "right" if isinstance(value, (int, float)) else "left"


def _cell(value: Any, tag: str, side: str) -> str:
    return f'<{tag} style="{_CELL.format(side)}">{_text(value)}</{tag}>'


def _text(value: Any) -> str:
    if isinstance(value, Markup):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
