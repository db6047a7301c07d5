"""Contents of runs, stores, results and folders: for programs, in full, and in a screenful."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.tables import layer_table
from repsim.errors import RepsimError, UsageError

if TYPE_CHECKING:
    from repsim.results import Result, Table
    from repsim.training.run import Run

#: Title, columns and rows.
Shown = tuple[str, Sequence[str], Sequence[Sequence[Any]]]

#: Most rows of a table, and most lines about a run, on a screen with other tables.
_ROWS, _LINES = 10, 16

#: Records of the origin of activations, in words; a digest by its first digits.
_SOURCES = {
    "network": "{}",
    "epoch": "epoch {}",
    "data": "{}",
    "split": "{}",
    "pooling": "pooling {}",
    "batch_statistics": "{} batch statistics",
    "mean_over": "mean over {} of an image",
    "weights_sha256": "weights {:.12}",
}


@dataclass(frozen=True)
class Content:
    """The content of something that has a name or a file.

    Attributes:
        data: all of it, for programs.
        full: tables of all of it.
        brief: tables that fit on a screen.
    """

    data: dict[str, Any]
    full: Sequence[Shown]
    brief: Sequence[Shown]

    def shown(self, full: bool) -> Iterator[Shown]:
        """The tables that have rows."""
        return (table for table in (self.full if full else self.brief) if table[2])

    @property
    def is_cut(self) -> bool:
        """True if the brief tables leave something out."""
        return list(self.shown(full=False)) != list(self.shown(full=True))


# --- stores


def of_store(path: Path) -> Content:
    """The content of a store of activations."""
    from repsim.activations import ActivationStore
    from repsim.results.left_out import layers_of, names_left_out

    with ActivationStore(path) as store:
        layers, provenance = store.describe(), store.provenance()
        first, last = (store.example_ids[at].decode() for at in (0, -1))
        data = {
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
            "first_id": first,
            "heads": {name: head["input"] for name, head in store.heads.items()},
            "layers": layers,
            "provenance": provenance,
        }
    title = f"{path}: activations of {data['n']:,} examples"
    size = sum(each["bytes"] for each in layers)
    about = [
        *_sources(provenance),
        ("ids", f"{first} to {last}"),
        ("labels", data["labels"] or "none"),
        *([("left out", ", ".join(lacking))] if (lacking := names_left_out(provenance)) else []),
        ("size", f"{size / 1e6:,.1f} MB, {layers_of(provenance, len(layers))}"),
    ]
    full = [(title, *_layers(layers)), _targets(data), _facts("provenance", provenance)]
    brief: list[Shown] = [(title, ("", ""), about), _first("", *_layers(layers, axes=False))]
    return Content(data, full, brief)


def _layers(
    layers: Sequence[Mapping[str, Any]], *, axes: bool = True
) -> tuple[Sequence[str], list[Sequence[Any]]]:
    columns = ("layer", "module", "shape", *(("axes",) if axes else ()), "dtype", "MB")
    records = [
        {**each, "shape": " x ".join(map(str, each["shape"])), "MB": each["bytes"] / 1e6}
        for each in layers
    ]
    return columns, [tuple(record[column] for column in columns) for record in records]


def _targets(content: Mapping[str, Any]) -> Shown:
    """The table of a store's targets, with a mark on the source of the labels."""
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


def of_network(stores: Sequence[Path]) -> Content:
    """The stores of a network that is no run."""
    found = [of_store(path) for path in stores]
    data = {"kind": "network", "stores": [each.data for each in found]}
    full = [*chain.from_iterable(each.full for each in found)]
    brief = [*chain.from_iterable(each.brief for each in found)]
    return Content(data, full, brief)


# --- results


def of_result(path: Path) -> Content:
    """The content of a result file."""
    from repsim.figures import FigureData
    from repsim.results import Result, Table

    result = Result.load(path)
    data = result.to_dict()
    title = f"{path}: {result.kind}"
    provenance = _facts("provenance", data["provenance"])
    if isinstance(result, FigureData):
        panels = [(letter, each.type, each.title) for letter, each in result.lettered()]
        about = _facts(title, {"name": result.name, "caption": result.caption})
        panel_table: Shown = ("panels", ("panel", "type", "title"), panels)
        return Content(data, [about, panel_table, provenance], [about, _first(*panel_table)])
    if isinstance(result, Table):
        table = (result.name, tuple(each.title for each in result.columns), result.cells)
        full: list[Shown] = [_facts(title, _about(result)), table, provenance]
    else:
        full = [(title, *_records(result.rows())), provenance]
    sources = ("", ("", ""), _sources(data["provenance"]))
    headline = f"{title}\n{result.headline()}"
    return Content(data, full, [_first(headline, *_records(result.preview())), sources])


def _records(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    columns = tuple(rows[0]) if rows else ("empty",)
    return columns, [tuple(row.values()) for row in rows]


def _about(table: Table) -> dict[str, str]:
    """The name, the caption and the descriptions of the columns of a table."""
    described = {each.name: each.description for each in table.columns if each.description}
    return {"name": table.name, "caption": table.caption, **described}


# --- runs


def of_run(run: Run, networks: bool) -> Content:
    """The content of a run; with ``networks``, also the layers of each."""
    described = run.describe()
    stores = sorted(str(path) for path in run.path.glob("activations/*.h5"))
    data: dict[str, Any] = {
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
        **{f"{key}, last epoch": value for key, value in data["metrics"].items()},
        **{f"held-out {key}": value for key, value in data["held_out"].items()},
        "checkpoints of epochs": ", ".join(map(str, run.epochs)) or "none",
        "activations": "\n".join(stores) or "none yet",
    }
    full = [
        _facts(str(run.path), shown),
        _facts("settings", described["config"]),
        _facts("trained on", described["trained_on"]),
    ]
    tables: list[Shown] = []
    if networks:
        data["networks"] = _networks(run)
        tables = [layer_table(name, layers) for name, layers in data["networks"].items()]
    return Content(data, [*full, *tables], [_brief(run, data, shown), *tables])


def _brief(run: Run, data: Mapping[str, Any], shown: Mapping[str, Any]) -> Shown:
    """A run in a screenful: only its unusual settings."""
    from repsim.training.compose import config_for

    usual = config_for(data["method"], data["config"].get("network")).model_fields
    others = {
        key: value
        for key, value in data["config"].items()
        if key not in usual or value != usual[key].default
    }
    stores = [Path(path).name for path in data["activations"]]
    trained = data.get("trained_on") or {}
    title, columns, rows = _facts(
        str(run.path),
        {
            **{key: value for key, value in shown.items() if key != "activations"},
            "trained on": f"{trained.get('data', '')} {trained.get('split', '')}".strip(),
            "other settings than usual": ", ".join(f"{k}={v}" for k, v in others.items()) or "none",
            "activations": "\n".join(_few(stores, 3)) or "none yet",
        },
    )
    last = rows[-3:]  # metrics of adversarial methods are many
    return title, columns, [*rows[:-3][: _LINES - 3], *last]


def _networks(run: Run) -> dict[str, list[dict[str, Any]]]:
    """The layers of every network of a run, for the input that it takes in training."""
    from repsim.networks import describe

    method = run.build()
    return {
        name: describe(network, getattr(network, "input_shape", method.spec.shape))
        for name, network in method.networks.items()
    }


# --- folders


def of_folder(folder: Path) -> Content:
    """The runs, stores and results in a folder, or in the folders in it.

    Raises:
        UsageError: there are none.
    """
    found = list(_within(folder))
    if not found:
        raise UsageError(f"{folder} holds no run, store or result of repsim")
    columns = ("name", "kind", "about")
    rows = [tuple(each[key] for key in columns) for each in found]
    title = f"{folder}: runs, stores and results"
    data = {"kind": "folder", "path": str(folder), "holds": found}
    return Content(data, [(title, columns, rows)], [_first(title, columns, rows)])


def _within(folder: Path) -> Iterator[dict[str, str]]:
    """A record of each run, store and result."""
    from repsim.training.run import Run

    for path in sorted([*folder.iterdir(), *folder.glob("[!.]*/*")]):
        name = str(path.relative_to(folder))
        if Run(path).is_run:
            yield {"name": name, "kind": "run", "about": or_fault(about_run, path)}
        elif path.suffix in (".h5", ".hdf5"):
            yield {"name": name, "kind": "store", "about": or_fault(about_store, path)}
        elif path.suffix == ".json":
            result = result_in(path)
            if result is not None:
                yield {"name": name, "kind": result.kind, "about": result.headline()}


def or_fault(about: Callable[[Path], str], path: Path) -> str:
    """Words on a run or a store; of a damaged one, its fault."""
    try:
        return about(path)
    except RepsimError as error:
        return str(error)


def about_run(path: Path) -> str:
    from repsim.training.run import Run

    run = Run(path)
    held_out = "".join(f", held-out {key} {value:.3f}" for key, value in run.scores().items())
    state = "" if run.complete else ", not finished"
    return f"{run.describe()['method']}{state}{held_out}"


def about_store(path: Path) -> str:
    from repsim.activations import ActivationStore
    from repsim.results.images import numbered
    from repsim.results.left_out import layers_of

    with ActivationStore(path) as store:
        about = store.provenance()
        images = " ".join(str(about[key]) for key in ("data", "split") if key in about)
        rows = numbered(about, store.n)
        layers = layers_of(about, len(store.layers))
        return ", ".join(filter(None, (store.name, images, layers, rows)))


def result_in(path: Path) -> Result | None:
    """The result in a file; None of other JSON, which is no one's fault."""
    from repsim.results import Result

    try:
        return Result.load(path)
    except RepsimError:
        return None


# --- tables


def _first(title: str, columns: Sequence[str], rows: Sequence[Any]) -> Shown:
    """The first rows of a table, with the number of all rows in its title."""
    if len(rows) <= _ROWS:
        return title, columns, rows
    of = f"the first {_ROWS} of {len(rows):,}"
    return (f"{title}\n{of}" if title else of), columns, rows[:_ROWS]


def _few(names: Sequence[str], most: int) -> list[str]:
    more = len(names) - most
    return [*names[:most], f"and {more} more"] if more > 0 else list(names)


def _sources(provenance: Mapping[str, Any], name: str = "of") -> list[tuple[str, str]]:
    """Lines on the origin of activations, one for each of several networks."""
    words = [
        form.format(provenance[key])
        for key, form in _SOURCES.items()
        if isinstance(provenance.get(key), (str, int))
    ]
    inner = (
        _sources(value, key) for key, value in provenance.items() if isinstance(value, Mapping)
    )
    found = [*([(name, ", ".join(words))] if words else []), *chain(*inner)]
    return [line for line in found if line[0] != "config"][:4]


def _facts(title: str, content: Mapping[str, Any]) -> Shown:
    """A table of nested values by dotted key."""
    from repsim.results import facts

    return title, ("", "value"), facts(content)
