"""``repsim info``: the content of a run, of a store or of a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_networks
from repsim.cli.grouping import Grouped
from repsim.cli.options import json_option, runs_option
from repsim.cli.reporting import bar, show_json
from repsim.cli.tables import layer_table, show_table
from repsim.errors import StoreError, UsageError

if TYPE_CHECKING:
    from repsim.results import Table
    from repsim.training.run import Run


@click.command(cls=Grouped)
@click.argument("target", metavar="NAME|FILE|FOLDER", shell_complete=complete_networks)
@runs_option
@click.option("--networks", is_flag=True, help="Show the layers of a run's networks as well.")
@click.option("--verify", is_flag=True, help="Read a store whole and compare its checksums.")
@json_option
def info(target: str, runs: Path, networks: bool, verify: bool, as_json: bool) -> None:
    """\b
    repsim info simclr
    repsim info mgan --networks
    repsim info runs/simclr/activations/digits-test.h5
    repsim info runs/simclr/activations/digits-test.h5 --verify
    repsim info results/cka-simclr-supervised.json

    Describe a run, the stores of another network, an activation store or a result, and say where
    its numbers come from.
    """
    path = Path(target)
    if networks and (verify or path.is_file()):
        raise UsageError(f"--networks is for runs, and without --verify; got {target!r}")
    if verify:
        _verify(target, as_json)
        return
    if path.suffix in (".h5", ".hdf5"):
        content, tables = _of_store(path)
    elif path.suffix == ".json":
        content, tables = _of_result(path)
    elif path.is_file():
        raise UsageError(f"{path} is no store (.h5) or result (.json); a run is named as a folder")
    else:
        content, tables = _of_name(target, runs, networks)
    if as_json:
        show_json(content)
        return
    for title, columns, rows in tables:
        show_table(title, columns, rows)


def _verify(target: str, as_json: bool) -> None:
    """Say whether a store is as it was written; leaves with status 1 if it is not."""
    from repsim.activations import open_store
    from repsim.cli.stores import matching

    if not target.endswith((".h5", ".hdf5")):
        raise UsageError(f"--verify is for stores (.h5); {target!r} is none")
    with open_store(matching(target)) as store, bar("verify") as progress:
        faults, blocks = store.verify(progress), store.blocks
    if as_json:
        show_json({"path": target, "blocks": blocks, "faults": faults})
    elif not faults:
        click.echo(f"{target}: all is well, {blocks:,} blocks checked")
    for fault in faults if not as_json else ():
        click.echo(fault)
    if faults:
        raise StoreError(
            f"{target} is not as it was written: {len(faults)} faults in {blocks:,} blocks; "
            "harvest it again, or copy it again from where it came"
        )


def _of_store(path: Path) -> tuple[dict, list]:
    from repsim.activations import ActivationStore

    with ActivationStore(path) as store:
        layers, provenance = store.describe(), store.provenance()
        content = {
            "kind": "activations",
            "path": str(path),
            "n": store.n,
            "format_version": store.version,
            "labelled": bool(store.targets),
            "targets": [
                {
                    "name": each.name,
                    "kind": "class" if each.is_class else "binary",
                    "classes": list(each.classes),
                }
                for each in store.targets
            ],
            "labels": store.target,
            "inputs": store.inputs is not None,
            "order": store.order is not None,
            "first_id": store.example_ids[0].decode(),
            "heads": {name: head["input"] for name, head in store.heads.items()},
            "layers": layers,
            "provenance": provenance,
        }
    columns = ("layer", "module", "shape", "axes", "dtype", "MB")
    rows = [
        (
            each["layer"],
            each["module"],
            " x ".join(map(str, each["shape"])),
            each["axes"],
            each["dtype"],
            each["bytes"] / 1e6,
        )
        for each in layers
    ]
    title = f"{path}: activations of {content['n']:,} examples"
    tables = [(title, columns, rows), _targets(content), _facts("provenance", provenance)]
    return content, [table for table in tables if table[2]]


def _targets(content: dict[str, Any]) -> tuple[str, tuple[str, ...], list]:
    """The table of a store's targets, with the one that gives the labels marked."""
    rows = [
        (
            each["name"],
            each["kind"],
            ", ".join(each["classes"][:10]) + (", ..." if len(each["classes"]) > 10 else ""),
            "yes" if each["name"] == content["labels"] else "",
        )
        for each in content["targets"]
    ]
    return "targets", ("target", "kind", "classes", "labels"), rows


def _of_result(path: Path) -> tuple[dict, list]:
    from repsim.figures import FigureData
    from repsim.results import Result, Table

    result = Result.load(path)
    content = result.to_dict()
    if isinstance(result, FigureData):
        panels = [(letter, each.type, each.title) for letter, each in result.lettered()]
        about = _facts(f"{path}: {result.kind}", {"name": result.name, "caption": result.caption})
        shown: Any = ("panels", ("panel", "type", "title"), panels)
        return content, [about, shown, _facts("provenance", content["provenance"])]
    if isinstance(result, Table):
        about = _facts(f"{path}: {result.kind}", _about(result))
        shown = (result.name, tuple(column.title for column in result.columns), result.cells)
        return content, [about, shown, _facts("provenance", content["provenance"])]
    rows = result.rows()
    columns = tuple(rows[0]) if rows else ("empty",)
    table = (f"{path}: {result.kind}", columns, [tuple(row.values()) for row in rows])
    return content, [table, _facts("provenance", content["provenance"])]


def _about(table: Table) -> dict[str, str]:
    """The name, the caption and the descriptions of the columns of a table."""
    described = {each.name: each.description for each in table.columns if each.description}
    return {"name": table.name, "caption": table.caption, **described}


def _of_name(name: str, runs: Path, networks: bool) -> tuple[Any, list]:
    """The run of a name, or the stores of a network that is no run."""
    from repsim.cli.stores import STORES, stores_of
    from repsim.training.run import Run

    stores = stores_of(name, STORES)
    if not stores or Run(runs / name).exists:
        return _of_run(name, runs, networks)
    if networks:
        raise UsageError(f"--networks is for runs; {name!r} has stored activations only")
    described = [_of_store(path) for path in stores]
    tables = [table for _, shown in described for table in shown]
    return {"kind": "network", "stores": [content for content, _ in described]}, tables


def _of_run(name: str, runs: Path, networks: bool) -> tuple[dict, list]:
    from repsim.cli.names import find_run

    run = find_run(name, runs)
    described = run.describe()
    stores = sorted(str(path) for path in run.path.glob("activations/*.h5"))
    content: dict[str, Any] = {
        "kind": "run",
        "path": str(run.path),
        "finished": run.complete,
        "extractors": list(run.extractors),
        **described,
        "metrics": run.last_metrics(),
        "held_out": run.load_state(run.checkpoint)["held_out"] if run.complete else {},
        "epochs": run.epochs,
        "activations": stores,
    }
    shown = {
        "method": described["method"],
        "finished": run.complete,
        "extractors": ", ".join(run.extractors),
        **{f"{key}, last epoch": value for key, value in content["metrics"].items()},
        **{f"held-out {key}": value for key, value in content["held_out"].items()},
        "checkpoints of epochs": ", ".join(map(str, run.epochs)) or "none",
        "activations": "\n".join(stores) or "none yet",
    }
    tables: list[tuple[str, tuple[str, ...], list[Any]]] = [
        _facts(str(run.path), shown),
        _facts("settings", described["config"]),
        _facts("trained on", described["trained_on"]),
    ]
    if networks:
        content["networks"] = _networks(run)
        tables += [layer_table(name, layers) for name, layers in content["networks"].items()]
    return content, tables


def _networks(run: Run) -> dict[str, list[dict[str, Any]]]:
    """The layers of every network of a run, for the input that it takes in training."""
    from repsim.networks import describe

    method = run.build()
    return {
        name: describe(network, getattr(network, "input_shape", method.spec.shape))
        for name, network in method.networks.items()
    }


def _facts(title: str, content: dict[str, Any]) -> tuple[str, tuple[str, ...], list]:
    """A table of nested values by dotted key."""
    from repsim.results import facts

    return title, ("", "value"), facts(content)
