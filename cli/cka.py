"""``repsim cka``: every layer of one network against every layer of another."""

from __future__ import annotations

from contextlib import nullcontext
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
@click.option("--seed", default=0, show_default=True, help="Of the permutations.")
@memory_option
@device_option
@style_option
@output_option("results/cka-A-B.json")
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

    Centered kernel alignment of all pairs of layers, exact, on the same images, with its standard
    errors. Prints each layer's counterpart and most similar layer; writes the result, its CSV, the
    heatmap and the curves. A network may also be a .npy file of one layer's activations.
    """
    from repsim import figures
    from repsim.cli.workspace import open_activations, result_path
    from repsim.measures import cka_map

    where: dict[str, Any] = {"split": split, "data": data, "data_dir": data_dir}
    with (
        open_activations(a, runs, **where) as source_a,
        nullcontext() if b is None else open_activations(b, runs, **where) as source_b,
        bar("cka") as progress,
    ):
        names = [source_a.name, source_a.name if source_b is None else source_b.name]
        other_split = None if split == "test" else split
        other_kernel = None if kernel == "linear" else kernel
        path = result_path(output, "cka", names, data, other_split, layers, other_kernel)
        outputs = claim(path, ["heatmap", "curves"], overwrite)
        result = cka_map(
            source_a,
            source_b,
            kernel=kernel,
            layers_a=layers,
            layers_b=layers,
            stderr=stderr,
            permutations=permutations,
            seed=seed,
            memory=memory,
            device=device,
            progress=progress,
        )
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


def show_similarity(result: SimilarityMap, estimator: str) -> None:
    """Each layer of a with its counterpart and its most similar layer of b."""
    from repsim.measures.identification import identified

    values, diagonal = result.values(estimator), result.diagonal(estimator)
    columns = [f"{result.name_a} layer", "same layer", f"most similar in {result.name_b}", "CKA"]
    intervals = result.interval() if result.stderr is not None and estimator == "unbiased" else None
    columns += ["95 % interval"] if intervals is not None else []
    columns += ["p, all pairs"] if result.p_value_max is not None else []
    rows: list[tuple[Any, ...]] = []
    for i, (layer, j) in enumerate(zip(result.layers_a, result.best_match(estimator), strict=True)):
        best = ("-", None) if j is None else (result.layers_b[j], float(values[i, j]))
        row = (layer, None if diagonal is None else float(diagonal[i]), *best)
        if intervals is not None:
            low, high = (None, None) if j is None else (end[i, j] for end in intervals)
            row += ("-" if low is None else f"{low:.3f} to {high:.3f}",)
        if result.p_value_max is not None:
            row += (None if j is None else float(result.p_value_max[i, j]),)
        rows.append(row)
    title = (
        f"{result.kernel} CKA ({estimator}) of {result.name_a} against {result.name_b}, "
        f"n = {result.n:,}{result.pooled}"
    )
    show_table(title, columns, rows)
    if diagonal is not None and len(diagonal) > 1 and result.name_a != result.name_b:
        alike = int(identified(values, result.layers_a, result.layers_b).sum())
        click.echo(f"{alike} of {len(diagonal)} layers are most similar to their counterpart")


def claim(path: Path, suffixes: list[str], overwrite: bool) -> dict[str, Path]:
    """Where the figures of a result go; refuses at once what could not be written at the end."""
    from repsim.files import refuse_existing

    stems = {suffix: path.with_name(f"{path.stem}-{suffix}") for suffix in suffixes}
    files = [path, path.with_suffix(".csv")]
    files += [Path(f"{stem}{ending}") for stem in stems.values() for ending in (".png", ".pdf")]
    for file in files:
        refuse_existing(file, overwrite)
    return stems
