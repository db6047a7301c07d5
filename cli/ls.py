"""``repsim ls``: the runs, networks, results and figures that there are."""

from __future__ import annotations

import time
from pathlib import Path

import click

from repsim.cli.grouping import Grouped
from repsim.cli.options import json_option, runs_option
from repsim.cli.reporting import say, show_json
from repsim.cli.tables import show_table

#: Units of an age with their seconds, the largest first.
_AGES = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("h", 3600), ("min", 60))


@click.command(cls=Grouped)
@runs_option
@json_option
def ls(runs: Path, as_json: bool) -> None:
    """\b
    repsim ls
    repsim ls --json

    List runs, harvested and imported networks, results and figures, with their sizes, their ages
    and their content.
    """
    from repsim.cli.inventory import inventory

    found = inventory(runs)
    if as_json:
        records = [
            {
                "kind": each.kind,
                "name": each.name,
                "paths": [str(path) for path in each.paths],
                "bytes": each.size,
                "changed": each.changed,
                "about": each.about,
            }
            for each in found
        ]
        show_json(records)
        return
    for kind in dict.fromkeys(each.kind for each in found):
        rows = [
            (each.name, size_text(each.size), age_text(time.time() - each.changed), each.about)
            for each in found
            if each.kind == kind
        ]
        show_table(f"{kind}s", ("name", "size", "age", "holds"), rows)
    if not found:
        say("nothing is here yet; begin with: repsim train METHOD, or repsim harvest --model ...")


def size_text(size: int) -> str:
    """Bytes in words: ``12.3 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def age_text(seconds: float) -> str:
    """An age in words: ``3 days``, ``20 min``."""
    for name, each in _AGES:
        if seconds >= each:
            count = int(seconds // each)
            return f"{count} {name}{'s' if count > 1 and name not in ('h', 'min') else ''}"
    return "now"
