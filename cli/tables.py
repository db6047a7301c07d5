"""Tables on stdout: names fold where a terminal is narrow, values never do."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from repsim.visible import visible

#: Least signs that a name keeps on a line: with room to spare, and without.
_ROOMY, _TIGHT = 12, 6

#: A number with its unit, an interval, a shape, a share: text that would mean something else in
#: parts. Its only words stand between numbers or behind them.
_VALUE = re.compile(r"(?=.*\d)[^A-Za-z]*((to|of|x|e|inf|nan|[kKMGT]i?B|ms|s|min|h|d)\b[^A-Za-z]*)*")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout; numbers to the right, NaN as a dash.

    Where not even the shortest names leave room for the values, each row is a list of its own.
    """
    from rich.console import Console

    table = _Table(
        tuple(map(visible, columns)),
        [tuple(map(_cell, row)) for row in rows],
        _numeric(rows, len(columns)),
    )
    room = Console().width if sys.stdout.isatty() else None  # a pipe has no width to fit
    if room is None or table.fits(room):
        shown, width = table.drawn(room)
    else:
        shown, width = table.turned().drawn(room)
    console = Console(width=width, highlight=False, markup=False)
    if title:  # not the table's own, which would break where the table is narrow
        console.print(visible(title), style="bold", soft_wrap=True)
    console.print(shown)


@dataclass(frozen=True)
class _Table:
    """Texts of a table.

    Attributes:
        columns: heads.
        rows: cells, with the line breaks that they must have.
        numeric: columns of numbers, which stand to the right.
        sections: rows with a space above them.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[bool, ...]
    sections: frozenset[int] = frozenset()

    def fits(self, room: int) -> bool:
        """True if the values and the shortest names have room."""
        return self._tight(sum(self._least(_TIGHT))) <= room

    def turned(self) -> _Table:
        """The same with a line for each cell: its column and its value."""
        width = len(self.columns)
        lines = [pair for row in self.rows for pair in zip(self.columns, row, strict=True)]
        starts = frozenset(range(width, len(lines), width))
        return _Table(("", ""), lines, (False, False), starts)

    def drawn(self, room: int | None) -> tuple[Any, int]:
        """The table for a terminal of so many columns, and the columns that it takes."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        natural = [max(self._widths(at), default=0) for at in range(len(self.columns))]
        roomy = room is None or self._roomy(sum(self._least(_ROOMY))) <= room
        total = self._roomy if roomy else self._tight
        widths = natural
        if room is not None:
            least = self._least(_ROOMY if roomy else _TIGHT)
            widths = _shrunk(natural, least, room - total(0))
        made = Table(
            box=SIMPLE_HEAD,
            padding=(0, 1) if roomy else (0, 0),
            show_header=any(self.columns),
        )
        for name, width, numeric in zip(self.columns, widths, self.numeric, strict=True):
            justify: Literal["right", "left"] = "right" if numeric else "left"
            made.add_column(name, justify=justify, width=width, overflow="fold")
        for at, row in enumerate(self.rows):
            if at in self.sections:
                made.add_row()
            made.add_row(*map(_folded, row, widths))
        return made, max(total(sum(widths)), room or 0, 80)

    def _roomy(self, cells: int) -> int:
        return cells + 3 * len(self.columns) + 1

    def _tight(self, cells: int) -> int:
        return cells + len(self.columns) + 1

    def _widths(self, at: int) -> list[int]:
        """Signs of every line of a column, its head among them."""
        from rich.cells import cell_len

        texts = (self.columns[at], *(row[at] for row in self.rows))
        return [cell_len(line) for text in texts for line in text.split("\n")]

    def _least(self, names: int) -> list[int]:
        """Signs that each column needs: its values whole, and at least ``names`` of other text."""
        from rich.cells import cell_len

        found = []
        for at, head in enumerate(self.columns):
            lines = [line for row in self.rows for line in row[at].split("\n")]
            values = (cell_len(line) for line in lines if _VALUE.fullmatch(line))
            words = (cell_len(word) for word in head.split())
            free = min(names, max(self._widths(at), default=0))
            text = any(not _VALUE.fullmatch(line) for line in lines if line not in ("", "-"))
            found.append(max([*values, *words, free if text else 0]))
        return found


def _shrunk(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that fit into ``room`` where they can: the widest give way first."""
    widths = list(natural)
    while sum(widths) > room:
        free = [at for at in range(len(widths)) if widths[at] > least[at]]
        if not free:
            break
        widths[max(free, key=lambda at: widths[at])] -= 1
    return widths


def _folded(text: str, width: int) -> str:
    """The text with breaks in names that are too long, behind signs that part them."""
    return re.sub(r"\S+", lambda found: "\n".join(_pieces(found[0], width)), text)


def _pieces(name: str, width: int) -> Iterator[str]:
    from rich.cells import cell_len

    while cell_len(name) > width:
        heads = accumulate(re.findall(r".+?(?:[./:_-]+|(?<=[a-z])(?=[A-Z]))", name))
        fitting = [head for head in heads if cell_len(head) <= width]
        if not fitting:  # nowhere to part it
            break
        yield fitting[-1]
        name = name[len(fitting[-1]) :]
    yield name


def _numeric(rows: Sequence[Sequence[Any]], columns: int) -> tuple[bool, ...]:
    """True for each column of numbers alone."""
    return tuple(
        bool(rows) and all(row[at] is None or isinstance(row[at], (int, float)) for row in rows)
        for at in range(columns)
    )


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else visible(str(value))


def layer_table(name: str, layers: list[dict[str, Any]]) -> tuple[str, tuple[str, ...], list[Any]]:
    """Title, columns and rows of a network's layers; with copies only where there are some."""
    plain = all(layer["copies"] == 1 for layer in layers)
    columns = tuple(key for key in layers[0] if not (plain and key == "copies"))
    words = {True: "yes", False: "no"}
    rows = [
        tuple(words[layer[key]] if key == "bias" else layer[key] for key in columns)
        for layer in layers
    ]
    total = sum(layer["parameters"] for layer in layers)
    return f"{name}: {total:,} parameters", columns, rows
