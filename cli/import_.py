"""``repsim import``: activations from elsewhere, as a store."""

from __future__ import annotations

from pathlib import Path

import click

from repsim.cli.grouping import Grouped
from repsim.cli.options import json_option, layers_option, overwrite_option
from repsim.cli.reporting import bar, say, show_json, tell
from repsim.errors import UsageError


@click.command("import", cls=Grouped)
@click.argument("sources", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Store to write.  [default: activations/NAME.SPLIT.h5, or activations/NAME.h5]",
)
@click.option(
    "--ids",
    type=click.Path(path_type=Path),
    help="Text file of example ids, one a line.  [default: those of PATH, else 0, 1, 2, ...]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help=".npy or text file of classes, integers from 0.  [default: those of PATH, if any]",
)
@click.option("--name", help="What to call the network.  [default: the name of the store]")
@click.option(
    "--split",
    help="Part of a data set that the examples are, as train and test for probes.  [default: any]",
)
@layers_option
@overwrite_option
@json_option
def import_(
    sources: tuple[str, ...],
    output: Path | None,
    ids: Path | None,
    labels: Path | None,
    name: str | None,
    split: str | None,
    layers: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim import train.npz --name mine --split train
    repsim import activations.npz -o mine.h5
    repsim import conv1.npy head=last.npy --ids ids.txt -o mine.h5

    Write arrays of activations, row for row the same examples, as a store that every command
    reads. PATH is a .npy file (a layer, called as the file, or LAYER=PATH), an .npz, .pt or
    .safetensors file (a layer an array), or a folder that repsim export wrote.
    """
    from repsim.activations.store.exchange import import_activations
    from repsim.data import Split

    if output is None:
        name, output = _usual(name, split)
    there = output.is_file() and not overwrite
    with (
        bar(f"import {output.name}") as progress,
        import_activations(
            _named(sources),
            output,
            ids=ids,
            labels=labels,
            layers=layers,
            name=name,
            provenance=None if split is None else {"split": str(Split.parse(split))},
            overwrite=overwrite,
            keep=True,
            progress=progress,
        ) as store,
    ):
        n, names = store.n, list(store.layers)
        first, last = (store.example_ids[at].decode() for at in (0, -1))
    if there:
        say(f"note: {output} is there already, from the same layers and examples")
    if as_json:
        show_json({"path": str(output), "n": n, "layers": names, "ids": [first, last]})
    else:
        tell(f"{output}: {len(names)} layers, n = {n:,}, ids {first!r} to {last!r}")
    if ids is None and (first, last) == ("0", str(n - 1)):
        say(
            "note: the examples are known by the numbers of their rows, and stores are compared by "
            "ids; to compare them with a harvest, give its ids, one a line: --ids FILE"
        )


def _usual(name: str | None, split: str | None) -> tuple[str, Path]:
    """The name of a network and its usual store.

    Raises:
        UsageError: no name.
    """
    from repsim.cli.names import check_name
    from repsim.cli.stores import STORES
    from repsim.data import Split
    from repsim.data.imageset import slug

    if name is None:
        raise UsageError("say what to call the network, --name, or which store to write, -o")
    part = "" if split is None else f".{slug('', str(Split.parse(split))).strip('-')}"
    return name, STORES / f"{check_name(name)}{part}.h5"


def _named(sources: tuple[str, ...]) -> tuple[str, ...] | dict[str, str]:
    """The paths; by layer where one is ``LAYER=PATH``."""
    paths = [(path if Path(path).exists() else path.partition("=")[2] or path) for path in sources]
    if list(sources) == paths:
        return sources
    layers = [
        source.partition("=")[0] if source != path else Path(path).stem
        for source, path in zip(sources, paths, strict=True)
    ]
    if len(set(layers)) < len(layers):
        raise UsageError("two files would be layers of one name; say LAYER=PATH for each")
    return dict(zip(layers, paths, strict=True))
