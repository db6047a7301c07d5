"""``repsim info``: the content of a run, of a store or of a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repsim.cli.completion import complete_networks
from repsim.cli.grouping import Grouped
from repsim.cli.options import json_option, runs_option
from repsim.cli.reporting import bar, say, show_json, tell
from repsim.cli.tables import show_table
from repsim.errors import StoreError, UsageError

if TYPE_CHECKING:
    from repsim.cli.contents import Content


@click.command(cls=Grouped)
@click.argument("target", metavar="NAME|FILE|FOLDER", shell_complete=complete_networks)
@runs_option
@click.option("--networks", is_flag=True, help="Show the layers of a run's networks as well.")
@click.option("--verify", is_flag=True, help="Read a store whole and compare its checksums.")
@click.option("--full", is_flag=True, help="Show all of it rather than a screenful.")
@json_option
def info(target: str, runs: Path, networks: bool, verify: bool, full: bool, as_json: bool) -> None:
    """\b
    repsim info simclr
    repsim info mgan --networks
    repsim info runs/simclr/activations/digits-test.h5
    repsim info runs/simclr/activations/digits-test.h5 --verify
    repsim info results/cka-simclr-supervised.json --full
    repsim info results

    Describe a run, the stores of another network, an activation store or a result, and say where
    its numbers come from; of a folder, list those that lie in it.
    """
    path = Path(target)
    if networks and (verify or path.is_file()):
        raise UsageError(f"--networks is for runs, and without --verify; got {target!r}")
    if verify:
        _verify(target, as_json)
        return
    content = _find(target, runs, networks)
    if as_json:
        show_json(content.data)
        return
    for title, columns, rows in content.shown(full):
        show_table(title, columns, rows)
    if not full and content.is_cut:
        say("--full shows the rest")


def _find(target: str, runs: Path, networks: bool) -> Content:
    from repsim.cli.contents import of_result, of_store

    path = Path(target)
    if path.suffix in (".h5", ".hdf5"):
        return of_store(path)
    if path.suffix == ".json":
        return of_result(path)
    if path.is_file():
        raise UsageError(f"{path} is no store (.h5) or result (.json); a run is named as a folder")
    return _of_name(target, runs, networks)


def _verify(target: str, as_json: bool) -> None:
    """Say whether a store is as it was written; leaves with status 1 if it is not."""
    from repsim.activations import open_store
    from repsim.activations.store.trial import look_through
    from repsim.cli.stores import matching

    if not target.endswith((".h5", ".hdf5")):
        raise UsageError(f"--verify is for stores (.h5); {target!r} is none")
    paths = matching(target)
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        look_through(Path(path))
    with open_store(paths) as store, bar("verify") as progress:
        faults, blocks = store.verify(progress), store.blocks
    if as_json:
        show_json({"path": target, "blocks": blocks, "faults": faults})
    elif not faults:
        tell(f"{target}: all is well, {blocks:,} blocks checked")
    for fault in faults if not as_json else ():
        tell(fault)
    if faults:
        raise StoreError(
            f"{target} is not as it was written: {len(faults)} faults in {blocks:,} blocks; "
            "harvest it again, or copy it again from where it came"
        )


def _of_name(name: str, runs: Path, networks: bool) -> Content:
    """The run of a name, the stores of a network that is no run, or the things in a folder."""
    from repsim.cli.contents import of_folder, of_network, of_run
    from repsim.cli.names import find_run
    from repsim.cli.stores import STORES, stores_of
    from repsim.training.run import Run

    is_run = Run(runs / name).is_run or Run(Path(name)).is_run
    stores = [] if is_run else stores_of(name, STORES)
    if stores or (not is_run and Path(name).is_dir()):
        if networks:
            has = f"{name!r} has stored activations only" if stores else f"{name!r} is a folder"
            raise UsageError(f"--networks is for runs; {has}")
        return of_network(stores) if stores else of_folder(Path(name))
    return of_run(find_run(name, runs), networks)
