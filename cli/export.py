"""``repsim export``: layers of a store as NumPy files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from repsim.cli.completion import complete_networks
from repsim.cli.grouping import Grouped
from repsim.cli.options import (
    data_dir_option,
    data_option,
    image_size_option,
    json_option,
    layers_option,
    overwrite_option,
    runs_option,
    split_option,
    statistics_option,
    target_option,
)
from repsim.cli.reporting import bar, say, show_written
from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.training.sides import Choice


@click.command(cls=Grouped)
@click.argument("reference", metavar="RUN|FILE", shell_complete=complete_networks)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write, or a .npy file for one layer.",
)
@runs_option
@data_option
@data_dir_option
@image_size_option
@target_option
@split_option
@statistics_option
@layers_option
@overwrite_option
@json_option
def export(
    reference: str,
    output: Path,
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    image_size: str,
    target: str,
    split: str,
    statistics: Choice,
    layers: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim export simclr -o simclr-activations
    repsim export mine.h5 --layers head -o head.npy

    Write layers as .npy files, with ids.txt, labels.npy and provenance.json; repsim import reads
    the folder back.
    """
    from repsim.activations.store.exchange import export_layers
    from repsim.cli.names import find_one
    from repsim.cli.stores import Places

    if reference.endswith(".npy"):
        raise UsageError(f"{reference} is a .npy file already; expected a run or a store")
    places = Places(runs, data, data_dir, image_size, target, statistics=statistics)
    found = find_one(reference, places)
    there = output.exists() and not overwrite
    with (
        found.open(split) as (store, remark),
        bar(f"export {store.name}") as progress,
    ):
        if remark:
            say(f"note: {remark}")
        written = export_layers(
            store,  # type: ignore[arg-type]
            output,
            layers=found.layers or layers,
            overwrite=overwrite,
            keep=True,
            progress=progress,
        )
    if there:
        say(f"note: {output} is there already, of the same layers and examples")
        written = written if as_json else []
    show_written(written, as_json=as_json)
