"""Reports of commands: progress and remarks on stderr, JSON and files on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from repsim.progress import Progress, Remaining
from repsim.visible import visible


@contextmanager
def bar(description: str) -> Iterator[Progress]:
    """Progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _lines(description)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    console, remaining = Console(stderr=True), Remaining()
    length = min(30, console.width // 5)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=length),
        # Never narrower than their texts: a description or a note gives way.
        TextColumn("{task.fields[share]}", table_column=Column(min_width=7, no_wrap=True)),
        TextColumn("{task.fields[left]}", table_column=Column(min_width=12, no_wrap=True)),
        TextColumn("[dim]{task.fields[note]}"),
    )
    called = shorten(visible(description), console.width - length - 23)
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task(called, total=None, share="loading", left="", note="")

        def report(done: int, total: int, note: str = "") -> None:
            bars.update(
                task,
                completed=done,
                total=total,
                share=f"{100 * done // max(1, total):>3} %",
                left=remaining.text(done, total),
                note=visible(note),
            )

        yield report


def shorten(text: str, width: int) -> str:
    """The text, with its middle left out where it is longer than ``width``."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _lines(description: str, every: float = 5.0) -> Progress:
    remaining, last = Remaining(), time.monotonic()

    def report(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now, left = time.monotonic(), remaining.text(done, total)
        if now - last < every or not 0 < done < total:
            return
        last = now
        share = ", ".join(filter(None, (f"{100 * done // total} %", left)))
        say(f"{description}: {share}  {note}".rstrip())

    return report


def say(message: str) -> None:
    """Print a remark on stderr."""
    click.echo(visible(message), err=True)


def tell(text: str) -> None:
    """Print a line of a result on stdout; names in it may be of others."""
    click.echo(visible(text))


@contextmanager
def hinting(hint: Callable[[], str]) -> Iterator[None]:
    """After an interruption, say its state and the way on, which ``hint`` reads off the files."""
    try:
        yield
    except KeyboardInterrupt:
        say(hint())
        raise


def show_json(content: Any) -> None:
    """Print JSON on stdout."""
    click.echo(json.dumps(content, indent=1))


def show_written(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print files that are the result of a command, on stdout."""
    if as_json:
        show_json([str(path) for path in paths])
    else:
        show_files(paths)


def show_files(paths: Sequence[Path], *, as_json: bool = False) -> None:
    """Print the files that were written, on stdout; on stderr where stdout is JSON."""
    for path in paths:
        click.echo(visible(f"wrote {path}"), err=as_json)
