"""Reports of commands: progress and remarks on stderr, tables, JSON and files on stdout."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from repsim.progress import Progress


@contextmanager
def bar(description: str) -> Iterator[Progress]:
    """Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _lines(description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=None, note="")

        def report(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=note)

        yield report


def _lines(description: str, every: float = 5.0) -> Progress:
    started = last = time.monotonic()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every or not 0 < done < total:
            return
        last = now
        left = (now - started) / done * (total - done)
        click.echo(f"{description}: {100 * done // total} %, {left:.0f} s left  {note}", err=True)

    return report


def say(message: str) -> None:
    """Print a remark on stderr."""
    click.echo(message, err=True)


@contextmanager
def hinting(hint: Callable[[], str]) -> Iterator[None]:
    """Say after an interruption what it leaves and how to go on; ``hint`` looks at the files."""
    try:
        yield
    except KeyboardInterrupt:
        say(hint())
        raise


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on stdout; numbers to the right, NaN as a dash."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = all(isinstance(row[index], (int, float)) or row[index] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(_cell, row))
    width = None if sys.stdout.isatty() else 200  # a pipe has no width to fit
    console = Console(width=width, highlight=False, markup=False)
    if title:  # not the table's own, which would break where the table is narrow
        console.print(title, style="bold")
    console.print(table)


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


def show_json(content: Any) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(content, indent=1))


def show_files(paths: Sequence[Path], *, as_json: bool = False) -> None:
    """Print the files that were written, on stdout; on stderr where stdout is JSON."""
    for path in paths:
        click.echo(f"wrote {path}", err=as_json)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
