"""``repsim cka``: the layers of a network against those of another, or against the classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.options import (
    bar,
    data_dir_option,
    data_option,
    device_option,
    estimator_option,
    json_option,
    kernel_option,
    layers_option,
    memory_option,
    output_option,
    overwrite_option,
    runs_option,
    say,
    show_files,
    show_json,
    show_table,
    split_option,
    style_option,
)
from repsim.errors import UsageError
from repsim.progress import Progress

if TYPE_CHECKING:
    from repsim.results import SimilarityMap


@click.command()
@click.option("--a", required=True, metavar="RUN|FILE", help="Rows: a run or an activation store.")
@click.option("--b", metavar="RUN|FILE", help="Columns.  [default: the same as --a]")
@runs_option
@data_option
@data_dir_option
@split_option
@layers_option
@kernel_option
@estimator_option
@click.option(
    "--stderr/--no-stderr",
    default=True,
    show_default=True,
    help="Standard errors of the unbiased values.",
)
@click.option(
    "--permutations",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="p-values from so many permutations of the examples; all Gram matrices are held.",
)
@click.option(
    "--against-classes",
    is_flag=True,
    help="Compare every layer of --a with the classes of its images.",
)
@click.option(
    "--invariance",
    is_flag=True,
    help="Compare two augmented copies of the same images, at the layers of --a.",
)
@click.option(
    "--augmentation",
    type=click.Choice(["simclr", "supervised", "own"]),
    help="What the images are augmented by, the same for both networks; own: as --a was trained. "
    "Runs the networks.  [default: none; simclr with --invariance]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=8),
    default=256,
    show_default=True,
    help="Images at a time, where networks run.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the permutations, or of the order and augmentations of the images.",
)
@memory_option
@device_option
@style_option
@output_option("results/cka-A-B.json, classes-A.json or invariance-A.json")
@overwrite_option
@json_option
def cka(
    a: str,
    b: str | None,
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    split: str,
    layers: str | None,
    kernel: str,
    estimator: str,
    stderr: bool,
    permutations: int,
    against_classes: bool,
    invariance: bool,
    augmentation: str | None,
    batch_size: int,
    seed: int,
    memory: int | None,
    device: str,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim cka --a simclr --b supervised --layers even
    repsim cka --a simclr --against-classes
    repsim cka --a simclr --invariance

    Centered kernel alignment of all pairs of layers, exact, on the same images, with its standard
    errors. Prints each layer's counterpart and most similar layer; writes the result, its CSV, the
    heatmap and the curves. A network may also be a .npy file of one layer's activations.

    With --invariance or --augmentation runs are shown augmented images, batch by batch; they need
    no harvest.
    """
    from repsim import figures
    from repsim.cli.workspace import result_path

    networks = invariance or augmentation is not None
    _check_together(networks=networks)
    if invariance and augmentation is None:
        augmentation = "simclr"
    where: dict[str, Any] = {"split": split, "data": data, "data_dir": data_dir}
    options: dict[str, Any] = {"kernel": kernel, "seed": seed, "device": device}
    with ExitStack() as stack, bar("cka") as progress:
        if networks:
            options |= {"layers": layers, "batch_size": batch_size}
            kind = "invariance" if invariance else "cka"
            names, compute = _of_runs(kind, a, b, runs, augmentation or "", where, options)
        else:
            options |= {"stderr": stderr, "permutations": permutations, "memory": memory}
            kind = "classes" if against_classes else "cka"
            names, compute = _of_stores(kind, stack, a, b, runs, layers, where, options)
        path = result_path(
            output,
            kind,
            names,
            None if augmentation == ("simclr" if invariance else None) else augmentation,
            data,
            None if split == "test" else split,
            layers,
            None if kernel == "linear" else kernel,
            f"seed-{seed}" if networks and seed else None,
        )
        suffixes = ["curves"] if against_classes else ["heatmap", "curves"]
        outputs = claim(path, suffixes, overwrite)
        result = compute(progress=progress)
    written = result.save(path, overwrite=overwrite)
    for suffix, figure in figures.draw(result, style=style, estimator=estimator).items():
        written += figures.save(
            figure, outputs[suffix], provenance=result.provenance, overwrite=overwrite
        )
    for layer, note in result.notes.items():
        if layer != "biased" or estimator == "biased":
            say(f"note: {layer}: {note}")
    if as_json:
        show_json(result.to_dict())
    else:
        show_similarity(result, estimator)
    show_files(written, as_json=as_json)


def _check_together(*, networks: bool) -> None:
    """Raise ``UsageError`` where options were given of which one leaves the other no meaning."""
    context = click.get_current_context()
    given = {
        name.replace("_", "-")
        for name in context.params
        if context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    }
    other = "leave one out"
    for one in ("invariance", "against-classes"):
        if {one, "b"} <= given:
            raise UsageError(f"--{one} is of one network, --a, and --b names a second; {other}")
    if "against-classes" in given and networks:
        raise UsageError(
            "--against-classes reads a store, and --invariance and --augmentation run networks; "
            f"{other}"
        )
    if networks:
        for name in ("permutations", "memory", "stderr"):
            if name in given:
                raise UsageError(
                    f"--{name} is about stores; of batches, as with --invariance and "
                    "--augmentation, standard errors come by themselves and p-values not"
                )
        if context.params["estimator"] == "biased":
            raise UsageError("there is no biased estimate from batches; take --estimator unbiased")
    elif "batch-size" in given:
        raise UsageError(
            "--batch-size is of --invariance and --augmentation; a store is read whole"
        )


def _of_stores(
    kind: str,
    stack: ExitStack,
    a: str,
    b: str | None,
    runs: Path,
    layers: str | None,
    where: dict[str, Any],
    options: dict[str, Any],
) -> tuple[list[str], Callable[..., SimilarityMap]]:
    """Stores by name, open as long as ``stack``, and what compares them."""
    from repsim.cli.workspace import open_activations
    from repsim.measures import cka_map, class_similarity

    source_a = stack.enter_context(open_activations(a, runs, **where))
    if kind == "classes":
        return [source_a.name], partial(class_similarity, source_a, layers=layers, **options)
    source_b = None if b is None else stack.enter_context(open_activations(b, runs, **where))
    names = [source_a.name, source_a.name if source_b is None else source_b.name]
    return names, partial(cka_map, source_a, source_b, layers_a=layers, layers_b=layers, **options)


def _of_runs(
    kind: str,
    a: str,
    b: str | None,
    runs: Path,
    augmentation: str,
    where: dict[str, Any],
    options: dict[str, Any],
) -> tuple[list[str], Callable[..., SimilarityMap]]:
    """Runs by name, and what shows them augmented images."""
    from repsim.activations import ShuffledLoader, compare, invariance
    from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
    from repsim.cli.workspace import parse_reference
    from repsim.data import load
    from repsim.data.augment import flips, standard
    from repsim.devices import find_device

    for each in (a, b):
        if each is not None and (Path(each).is_file() or each.endswith((".h5", ".hdf5", ".npy"))):
            raise UsageError(f"{each} is a file of activations; augmented images need a run")
    extractors = [parse_reference(each, runs) for each in ([a] if b is None else [a, b])]
    data = where["data"] or extractors[0].run.config.data
    images = load(data, where["split"], data_dir=where["data_dir"])
    augment = (
        extractors[0].run.augmentation()
        if augmentation == "own"
        else standard(augmentation, images.channels, images.images.shape[-1], flip=flips(data))
    )
    names = [extractors[0].label, extractors[-1].label]
    sampled = {"batch_size": options["batch_size"], "seed": options["seed"]}
    shown = {key: options[key] for key in ("kernel", "device")}
    layers = options["layers"]

    def compute(progress: Progress) -> SimilarityMap:
        networks = [each.load() for each in extractors]
        if kind == "invariance":
            result = invariance(
                networks[0],
                images,
                augment,
                layers=layers,
                name=names[0],
                **sampled,
                **shown,
                progress=progress,
            )
        else:
            loader = ShuffledLoader(images, augment, **sampled, device=find_device(shown["device"]))
            result = compare(
                networks[0],
                networks[-1],
                loader,
                layers_a=layers,
                layers_b=layers,
                name_a=names[0],
                name_b=names[1],
                **shown,
                progress=progress,
            )
        sides = [{**extractor_provenance(each), **data_provenance(images)} for each in extractors]
        called = f"{names[0]}'s own" if augmentation == "own" else augmentation
        facts = {"a": sides[0], "b": sides[-1], "augmentation": called, **sampled}
        return replace(result, provenance={**result.provenance, **facts})

    return names if kind == "cka" else names[:1], compute


def show_similarity(result: SimilarityMap, estimator: str) -> None:
    """Each layer of a with what it is compared with: its counterpart and its most similar layer of
    b, or the classes."""
    from repsim.measures.identification import identified

    if result.comparison != "networks":
        _show_column(result, estimator)
        return
    values, diagonal = result.values(estimator), result.diagonal(estimator)
    columns = [f"{result.name_a} layer", "same layer", f"most similar in {result.name_b}", "CKA"]
    best = result.best_match(estimator)
    further, cells = _certainty(result, estimator, best)
    rows: list[tuple[Any, ...]] = []
    for i, (layer, j) in enumerate(zip(result.layers_a, best, strict=True)):
        match = ("-", None) if j is None else (result.layers_b[j], float(values[i, j]))
        rows.append((layer, None if diagonal is None else float(diagonal[i]), *match, *cells[i]))
    show_table(_title(result, estimator), columns + further, rows)
    if diagonal is not None and len(diagonal) > 1 and result.name_a != result.name_b:
        alike = int(identified(values, result.layers_a, result.layers_b).sum())
        click.echo(f"{alike} of {len(diagonal)} layers are most similar to their counterpart")


def _show_column(result: SimilarityMap, estimator: str) -> None:
    """Each layer with the one value that it has: its invariance, or CKA with the classes."""
    invariant = result.comparison == "views"
    places = tuple(range(len(result.layers_a))) if invariant else (0,) * len(result.layers_a)
    values = result.values(estimator)
    further, cells = _certainty(result, estimator, places)
    columns = ["layer", "invariance" if invariant else "CKA with the classes", *further]
    rows = [
        (layer, float(values[i, j]), *cells[i])
        for i, (layer, j) in enumerate(zip(result.layers_a, places, strict=True))
    ]
    show_table(_title(result, estimator), columns, rows)


def _title(result: SimilarityMap, estimator: str) -> str:
    return (
        f"{result.kernel} CKA ({estimator}) of {result.name_a} against {result.name_b}, "
        f"n = {result.n:,}{result.pooled}{result.augmented}"
    )


def _certainty(
    result: SimilarityMap, estimator: str, places: Sequence[int | None]
) -> tuple[list[str], list[list[Any]]]:
    """What the map knows of how certain the value of each row in its column is: the names of
    these columns, and their cells."""
    names: list[str] = []
    cells: list[list[Any]] = [[] for _ in places]
    if result.stderr is not None and estimator == "unbiased":
        names.append("95 % interval")
        low, high = result.interval()
        for i, j in enumerate(places):
            known = j is not None and not math.isnan(low[i, j])
            cells[i].append(f"{low[i, j]:.3f} to {high[i, j]:.3f}" if known else "-")
    if result.p_value_max is not None:
        names.append("p, all pairs")
        for i, j in enumerate(places):
            cells[i].append(None if j is None else float(result.p_value_max[i, j]))
    return names, cells


def claim(path: Path, suffixes: list[str], overwrite: bool) -> dict[str, Path]:
    """Where the figures of a result go; refuses at once what could not be written at the end."""
    from repsim.files import refuse_existing

    stems = {suffix: path.with_name(f"{path.stem}-{suffix}") for suffix in suffixes}
    files = [path, path.with_suffix(".csv")]
    files += [Path(f"{stem}{ending}") for stem in stems.values() for ending in (".png", ".pdf")]
    for file in files:
        refuse_existing(file, overwrite)
    return stems
