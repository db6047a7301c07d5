"""``repsim harvest``: activations of runs, into their folders."""

from __future__ import annotations

from pathlib import Path

import click

from repsim.cli.options import (
    bar,
    data_dir_option,
    device_option,
    layers_option,
    overwrite_option,
    resume_option,
    runs_option,
    say,
)
from repsim.errors import UsageError


@click.command()
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@runs_option
@click.option("--data", help="Image set to show.  [default: the one it was trained on]")
@data_dir_option
@click.option(
    "--split",
    "splits",
    multiple=True,
    default=("test",),
    show_default=True,
    help="Part of the image set; may be given more than once.",
)
@layers_option
@click.option(
    "--pooling",
    type=click.Choice(["none", "avg"]),
    default="none",
    show_default=True,
    help="none stores maps whole (for CKA), avg their average (enough for probes, small).",
)
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
@device_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Store to write, for one run and split.  [default: RUN/activations/DATA-SPLIT.h5]",
)
@resume_option
@overwrite_option
def harvest(
    references: tuple[str, ...],
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    splits: tuple[str, ...],
    layers: str | None,
    pooling: str,
    batch_size: int,
    device: str,
    output: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """\b
    repsim harvest simclr supervised --split test

    Store the activations of RUN's layers on an image set as HDF5. A run with several extractors,
    such as mgan, gives a store for each; RUN:EXTRACTOR names one of them.
    """
    from repsim.activations.harvest import harvest_run, store_path
    from repsim.cli.workspace import expand_references, label
    from repsim.data import load

    chosen = expand_references(references, runs)
    if output is not None and len(chosen) * len(splits) > 1:
        raise UsageError(
            f"--output names one file, but {len(chosen)} extractors on {len(splits)} splits were "
            "asked for; leave it out, or name one RUN:EXTRACTOR and one --split"
        )
    if resume and overwrite:
        raise UsageError("--resume keeps a store and --overwrite replaces it; pass one of them")
    # All parts are read before the first is harvested: a wrong name is no reason to stop half way.
    names = {data or run.config.data for run, _ in chosen}
    parts = {(name, s): load(name, s, data_dir=data_dir) for s in splits for name in names}
    for split in dict.fromkeys(splits):
        for run, extractor in chosen:
            images = parts[data or run.config.data, split]
            path = output or store_path(run, images.slug, extractor)
            try:
                with bar(f"harvest {label(run, extractor)} on {images.slug}") as progress:
                    store = harvest_run(
                        run,
                        images,
                        extractor=extractor,
                        path=path,
                        batch_size=batch_size,
                        layers=layers,
                        pooling=pooling,
                        device=device,
                        overwrite=overwrite,
                        resume=resume,
                        progress=progress,
                    )
            except KeyboardInterrupt:
                say("stopped; the same command with --resume continues")
                raise
            with store:
                size = sum(record["bytes"] for record in store.describe())
                click.echo(
                    f"{store.path}: {len(store.layers)} layers, n = {store.n:,}, "
                    f"{size / 1e6:,.1f} MB"
                )
    done = " and ".join(sorted({run.name for run, _ in chosen}))
    say(f"next: repsim cka, probe or nullspace on {done}")
