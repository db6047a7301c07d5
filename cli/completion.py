"""Completion of words in a shell: names of runs, stored networks and papers, and layers.

Looks at folders and HDF5 files alone: torch would take longer to import than a user waits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

#: Words that choose layers wherever layers are chosen.
_PATTERNS = ("all", "odd", "even")


def complete_runs(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    """Names of runs; files if no name begins with the word."""
    return _items(word, _runs(_folder(ctx)))


def complete_networks(
    ctx: click.Context, param: click.Parameter, word: str
) -> list[CompletionItem]:
    """Names of runs and stored networks; after an ``@``, checkpoints and layers; else files."""
    name, at, _ = word.rpartition("@")
    if not at:
        return _items(word, [*_runs(_folder(ctx)), *_networks()])
    run, _, epoch = name.rpartition("@")
    ends = [] if run and epoch.isdigit() else _epochs(_folder(ctx) / name)
    return _items(word, (f"{name}@{end}" for end in [*ends, *_layers(_stores(ctx, run or name))]))


def complete_layers(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    """Layers of the networks named on the command line so far, after the layers typed already."""
    before, comma, _ = word.rpartition(",")
    given = ctx.params.get("references") or ctx.params.get("reference") or ctx.args
    names = [given] if isinstance(given, str) else list(given)
    names += [ctx.params[key] for key in ("a", "b") if ctx.params.get(key)]
    stores = [store for name in names for store in _stores(ctx, name.partition("@")[0])]
    known = dict.fromkeys([*_PATTERNS, *_layers(stores)])
    return _items(word, (before + comma + layer for layer in known), files=False)


def complete_papers(ctx: click.Context, param: click.Parameter, word: str) -> list[CompletionItem]:
    """Names of the papers that are reproduced."""
    from repsim.figures.papers import paper_names

    return _items(word, paper_names(), files=False)


def _items(word: str, names: Iterable[str], *, files: bool = True) -> list[CompletionItem]:
    found = [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(word)]
    return found or ([CompletionItem(word, type="file")] if files else [])


# --- contents of the folders


def _folder(ctx: click.Context) -> Path:
    return Path(ctx.params.get("runs") or os.environ.get("REPSIM_RUNS") or "runs")


def _runs(folder: Path) -> list[str]:
    return [path.parent.name for path in sorted(folder.glob("*/config.json"))]


def _epochs(run: Path) -> list[str]:
    """The checkpoints of a run's series, as they follow its name."""
    kept = sorted(run.glob("checkpoints/epoch-*.pt"))
    epochs = [str(int(path.stem.partition("-")[2])) for path in kept]
    return [*epochs, "all"] if epochs else []


def _networks() -> list[str]:
    from repsim.cli.stores import STORES, network_names

    return network_names(STORES)


def _stores(ctx: click.Context, name: str) -> list[Path]:
    """The stores of a run, of a network, or at a path."""
    from repsim.cli.stores import STORES, stores_of

    if name.endswith((".h5", ".hdf5")):
        return [Path(name)]
    run = name.partition(":")[0]
    found = sorted((_folder(ctx) / run / "activations").glob("*.h5"))
    return found or stores_of(name, STORES)


def _layers(stores: Iterable[Path]) -> Iterator[str]:
    """The layers of stores; a store that cannot be read has none."""
    from repsim.activations.store.format import address_of
    from repsim.activations.store.hdf5_files import open_hdf5
    from repsim.errors import StoreError
    from repsim.reading import DAMAGE

    for store in stores:
        try:
            with open_hdf5(store, "r") as file:
                layers: Any = file["layers"]
                yield from [address_of(key, layer) for key, layer in layers.items()]
        except (*DAMAGE, StoreError):
            continue
