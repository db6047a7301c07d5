"""``repsim rm``: removes a run, network, store, result or figure, and the results made from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repsim.cli.completion import complete_networks
from repsim.cli.grouping import Grouped
from repsim.cli.ls import size_text
from repsim.cli.options import json_option, runs_option
from repsim.cli.reporting import say, show_json, tell
from repsim.cli.tables import show_table
from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.cli.inventory import Thing


@click.command(cls=Grouped)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_networks)
@runs_option
@click.option("--yes", is_flag=True, help="Remove without asking.")
@json_option
def rm(target: str, runs: Path, yes: bool, as_json: bool) -> None:
    """\b
    repsim rm simclr
    repsim rm results/cka-simclr-supervised.json --yes

    Remove a run with its harvests, the stores of a network, a store, a result or a figure, and the
    results and figures in results/ that were made from it. Lists them and asks first.
    """
    from repsim.cli.inventory import find_thing, hanging_on, inventory

    known = inventory(runs)
    thing = find_thing(target, known)
    doomed = [thing, *hanging_on(thing, known)]
    if not yes:
        _ask(doomed, as_json)
    removed = [path for each in doomed for path in _remove(each)]
    if as_json:
        show_json([str(path) for path in removed])
        return
    for path in removed:
        tell(f"removed {path}")


def _ask(doomed: list[Thing], as_json: bool) -> None:
    """Show the things to be removed, and ask.

    Raises:
        UsageError: there is no one to ask, or the answer is no.
    """
    if as_json:
        raise UsageError("--json does not ask; pass --yes to remove, or leave out --json")
    rows = [(each.kind, each.name, size_text(each.size), each.about) for each in doomed]
    show_table("to be removed", ("kind", "name", "size", "holds"), rows)
    try:
        sure = click.confirm("remove them?" if len(doomed) > 1 else "remove it?", err=True)
    except click.Abort:
        say("")
        sure = False
    if not sure:
        raise UsageError("nothing was removed; --yes removes without asking")


def _remove(thing: Thing) -> list[Path]:
    """Remove the files of a thing; the paths that are gone."""
    if thing.kind == "run":
        return [_remove_run(thing.paths[0])]
    for path in thing.paths:
        path.unlink(missing_ok=True)
    return list(thing.paths)


def _remove_run(path: Path) -> Path:
    """Remove the files of training and harvests from a run's folder; other files stay.

    Raises:
        UsageError: it is a link, or another process trains it.
    """
    from repsim.training.run import Run
    from repsim.training.run_lock import alone, remove_contents

    if path.is_symlink():
        raise UsageError(f"{path} is a link to {path.resolve()}; remove the link, or the run there")
    with alone(Run(path)):
        remove_contents(path)
        if not any(path.iterdir()):
            path.rmdir()
            return path
    left = ", ".join(sorted(each.name for each in path.iterdir()))
    say(f"note: {path} keeps files that are not of repsim: {left}")
    return path
