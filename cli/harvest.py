"""``repsim harvest``: activations of runs, and of networks from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_networks
from repsim.cli.grouping import Grouped
from repsim.cli.harvests import (
    Job,
    described,
    in_words,
    say_blocks,
    say_next,
    say_size,
    show_plans,
    stopped,
)
from repsim.cli.options import (
    PARTS,
    data_dir_option,
    device_option,
    image_size_option,
    json_option,
    layers_by,
    overwrite_option,
    resume_option,
    runs_option,
    statistics_option,
)
from repsim.cli.reporting import bar, hinting, say, show_json, tell
from repsim.errors import UsageError
from repsim.progress import silent

if TYPE_CHECKING:
    from repsim.cli.names import Named
    from repsim.cli.stores import Places
    from repsim.data import ImageSet
    from repsim.launch import Processes
    from repsim.training.sides import Choice


@click.command(cls=Grouped)
@click.argument("references", metavar="[NAME...]", nargs=-1, shell_complete=complete_networks)
@runs_option
@click.option(
    "--model",
    help="In place of runs: PACKAGE.MODULE:FUNCTION, torchvision:NAME, timm:NAME, "
    "transformers:NAME_OR_PATH or, with its head, transformers.CLASS:NAME_OR_PATH.",
)
@click.option("--model-args", default="", help="What it is made with: num_classes=10, or JSON.")
@click.option(
    "--weights",
    metavar="FILE[:KEY]",
    help="Its state dict: .safetensors, or of torch.save; KEY leads to a part of the file.",
)
@click.option(
    "--name",
    help="What to call it.  [default: from --weights or the folder of --model, else from --model]",
)
@click.option(
    "--head",
    metavar="LAYER",
    help="Address of its linear head.  [default: head, fc or classifier, else the linear layer "
    "whose output it returns]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of a network without weights, and of project:K.",
)
@click.option(
    "--data",
    help="Image set to show, or a .txt, .tsv or .csv file of texts.  [default: "
    "the one the run was trained on]",
)
@data_dir_option
@click.option(
    "--split",
    "splits",
    multiple=True,
    help=f"Part of it: {PARTS}; may be given more than once.  [default: test; all of a file of "
    "texts]",
)
@image_size_option
@statistics_option
@click.option(
    "--normalise",
    default="half",
    show_default=True,
    help="Pixels for --model: half ([-1, 1]), unit, imagenet, or MEANS/STDS.",
)
@click.option(
    "--channels", type=click.IntRange(1), help="3 shows grey images to a network for colour."
)
@click.option("--tokenizer", help="Folder of the tokenizer, for texts.  [default: that of --model]")
@click.option(
    "--max-length",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Tokens of each text.",
)
@layers_by("those that the network names, else modules without others inside")
@click.option(
    "--pooling",
    default="none",
    show_default=True,
    help="What is kept: none (maps whole, for CKA), avg (enough for probes, small), grid:K, max:K, "
    "first, last, token:K, positions, project:K, joined by +; for some layers, PATTERN=avg,*=none.",
)
@click.option(
    "--masks",
    default="",
    metavar="PATTERN=NAME[,...]",
    help="Masks of padding, by layers, where the network does not show them: an entry of the "
    "batches, with :tokens, :padding, :lengths or :negative for what marks padding; or none.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    help="What numbers are stored as.  [default: as computed]",
)
@click.option(
    "--compression", type=click.Choice(["none", "lzf", "gzip"]), default="none", show_default=True
)
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
@device_option
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes on this machine, each with a device of its own.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Store to write, for one network and split.  [default: RUN/activations/DATA-SPLIT.h5, or "
    "activations/NAME.DATA-SPLIT.h5]",
)
@click.option(
    "--allow-random",
    is_flag=True,
    help="Store a network that gives other values each time, as one draw.",
)
@click.option(
    "--allow-batch",
    is_flag=True,
    help="Store a network whose values of an example depend on its batch.",
)
@click.option(
    "--allow-grad",
    is_flag=True,
    help="Let a network compute gradients in its forward.",
)
@click.option(
    "--batch-axis",
    metavar="AXIS",
    help="Axis that holds the examples: 1 for sequences (length, n, ...); for some inputs and "
    "layers, @input=1,PATTERN=1.  [default: as the network says, else 0]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be stored, and whether it fits.")
@resume_option
@overwrite_option
@json_option
def harvest(
    references: tuple[str, ...],
    runs: Path,
    model: str | None,
    head: str | None,
    data: str | None,
    data_dir: Path | None,
    splits: tuple[str, ...],
    image_size: str,
    statistics: Choice,
    layers: str | None,
    pooling: str,
    masks: str,
    dtype: str | None,
    compression: str,
    seed: int,
    batch_size: int,
    device: str,
    devices: int,
    output: Path | None,
    allow_random: bool,
    allow_batch: bool,
    allow_grad: bool,
    batch_axis: str | None,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **brought: Any,
) -> None:
    """\b
    repsim harvest simclr supervised --split test
    repsim harvest --model torchvision:resnet18 --weights resnet18.pth --data photos/ \\
        --image-size 224 --normalise imagenet

    Store the activations of a network's layers on a data set as HDF5. A run with several
    extractors, such as mgan, gives a store for each; RUN:EXTRACTOR names one of them. RUN@3 is the
    network after three epochs, RUN@all after each of which a checkpoint was kept. A network from
    elsewhere that was harvested before goes by its name: it is made and prepared for as then.
    """
    from repsim.cli.brought import Asked, jobs_of_model
    from repsim.cli.stores import Places
    from repsim.cli.writing import check_paths
    from repsim.launch import start_processes

    if bool(references) == (model is not None):
        raise UsageError(
            "name runs or a --model, not both" if references else "name a run, or a --model"
        )
    if resume and overwrite:
        raise UsageError("--resume keeps a store and --overwrite replaces it; pass one of them")
    if model is not None:
        if statistics != "own":
            raise UsageError("--statistics is about runs, and --model has its own; leave it out")
        asked = Asked.of_options(model, seed, head, **brought)
        jobs = jobs_of_model(asked, data, splits, data_dir, image_size, batch_size)
    else:
        _check_unused({"head": head, **brought})
        where = Places(runs, data, data_dir, image_size, statistics=statistics)
        jobs = _jobs_of_names(references, where, splits, batch_size)
    if output is not None:
        jobs = [_into(output, jobs)]
    check_paths([job.path for job in jobs], [job.called for job in jobs])
    jobs = [replace(job, layers=job.layers or layers) for job in jobs]
    what: dict[str, Any] = {
        "pooling": pooling,
        "masks": masks,
        "dtype": dtype,
        "batch_axis": batch_axis,
        "allow_random": allow_random,
        "allow_batch": allow_batch,
        "allow_grad": allow_grad,
    }
    if dry_run:
        show_plans(jobs, device, what, as_json=as_json)
        return
    processes = start_processes(device, devices)
    what |= {
        "compression": compression,
        "seed": seed,
        "overwrite": overwrite,
        "resume": resume,
    }
    first = processes.rank == 0
    done = []
    with hinting(lambda: stopped(jobs, overwrite)) if first else nullcontext():
        for job in jobs:
            done.append(_run(job, processes, what))
            if first and not as_json:
                tell(in_words(job, done[-1]))
    if first:
        if as_json:
            show_json(done)
        say_blocks(jobs)
        say_next(jobs, usual=output is None)


def _into(output: Path, jobs: list[Job]) -> Job:
    """The one job, with the file that was asked for."""
    if len(jobs) > 1:
        raise UsageError(
            f"--output names one file, but {len(jobs)} stores were asked for; leave it out, or "
            "name one RUN:EXTRACTOR and one --split"
        )
    return replace(jobs[0], path=output)


def _run(job: Job, processes: Processes, what: Mapping[str, Any]) -> dict[str, Any]:
    """Harvest, and describe the store."""
    from repsim.activations.harvesting.processes import harvest_shard

    title = f"harvest {job.label} on {job.slug}"
    again = job.path.is_file() and not what["overwrite"]
    if again:
        what = {**what, "resume": True}
    with bar(title) if processes.rank == 0 else nullcontext(silent) as progress:
        store = harvest_shard(
            job.model,
            job.loader,
            job.path,
            processes,
            layers=job.layers,
            provenance=job.provenance,
            progress=progress,
            planned=partial(say_size, job, processes) if processes.rank == 0 else None,
            **{**what, **job.options},
        )
    if again and processes.rank == 0:
        say(
            f"note: {job.path} is there already, from the same inputs; its first batch was run "
            "again and compared"
        )
    with store:
        return described(job, store)


def _jobs_of_names(
    references: tuple[str, ...], where: Places, splits: tuple[str, ...], batch_size: int
) -> list[Job]:
    """The harvests of runs, then of networks from elsewhere that were harvested before."""
    from repsim.cli.brought import Asked, jobs_of_model
    from repsim.cli.names import find

    chosen = find(references, where)
    jobs = _jobs_of_runs(
        [each for each in chosen if each.extractor is not None], splits, batch_size
    )
    for each in chosen:
        if each.network is not None:
            _check_unused({"seed": None})
            data, size, _ = each.shown()
            asked = Asked.of_record(each.network, each.harvested())
            about = (data, splits, where.data_dir, size, batch_size, each.layers)
            jobs += jobs_of_model(asked, *about)
        elif each.file is not None:
            raise UsageError(
                f"{each.text!r} is a file of activations; name the run or the network that they "
                "are of"
            )
    return jobs


def _jobs_of_runs(chosen: Sequence[Named], splits: tuple[str, ...], batch_size: int) -> list[Job]:
    from repsim.activations.harvesting.loaders import ImageLoader
    from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
    from repsim.activations.harvesting.runs import store_path
    from repsim.data.splits import Part

    parts_asked = dict.fromkeys(splits or ("test",))
    # All parts are read before the first is harvested: a wrong name is no reason to stop half way.
    parts: dict[Any, ImageSet] = {}
    for each, split in product(chosen, parts_asked):
        if (each.shown(), split) not in parts:
            parts[each.shown(), split] = each.images(split)
    return [
        Job(
            extractor.label,
            images.slug,
            extractor.load(),
            ImageLoader(images, batch_size),
            store_path(extractor, images.slug),
            {**extractor_provenance(extractor), **data_provenance(images)},
            Part.of(images),
            each.layers,
        )
        for split in parts_asked
        for each in chosen
        for extractor, images in [(each.extractor, parts[each.shown(), split])]
        if extractor is not None
    ]


def _check_unused(brought: dict[str, Any]) -> None:
    """Raise ``UsageError`` if an option was given that says something of a ``--model``."""
    context = click.get_current_context()
    for name in brought:
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{name.replace('_', '-')} is about a --model; a run, or a network that was "
                "harvested, knows its own"
            )
