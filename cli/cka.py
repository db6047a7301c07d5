"""``repsim cka``: every layer of one network against every layer of another."""

from __future__ import annotations

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
    device: str,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim cka --a simclr --b supervised --layers even

    Centered kernel alignment of all pairs of layers, exact, on the same images. Prints each layer's
    counterpart and most similar layer; writes the result, its CSV, the heatmap and the curves.
    """
    from repsim import figures
    from repsim.cli.workspace import open_activations, result_path
    from repsim.measures import cka_map

    where: dict[str, Any] = {"split": split, "data": data, "data_dir": data_dir}
    with (
        open_activations(a, runs, **where) as source_a,
        open_activations(b or a, runs, **where) as source_b,
        bar("cka") as progress,
    ):
        names = [source_a.name, source_b.name]
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
            device=device,
            progress=progress,
        )
    written = result.save(path, overwrite=overwrite)
    for suffix, figure in figures.draw(result, style=style, estimator=estimator).items():
        written += figures.save(
            figure, outputs[suffix], provenance=result.provenance, overwrite=overwrite
        )
    for layer, note in result.notes.items():
        say(f"note: {layer}: {note}")
    if as_json:
        show_json(result.to_dict())
    else:
        show_similarity(result, estimator)
    show_files(written, as_json=as_json)


def show_similarity(result: SimilarityMap, estimator: str) -> None:
    """Each layer of a with its counterpart and its most similar layer of b."""
    values, diagonal = result.values(estimator), result.diagonal(estimator)
    rows: list[tuple[Any, ...]] = []
    for i, (layer, j) in enumerate(zip(result.layers_a, result.best_match(estimator), strict=True)):
        best = ("-", None) if j is None else (result.layers_b[j], float(values[i, j]))
        rows.append((layer, None if diagonal is None else float(diagonal[i]), *best))
    title = (
        f"{result.kernel} CKA ({estimator}) of {result.name_a} against {result.name_b}, "
        f"n = {result.n:,}{result.pooled}"
    )
    columns = (f"{result.name_a} layer", "same layer", f"most similar in {result.name_b}", "CKA")
    show_table(title, columns, rows)


def claim(path: Path, suffixes: list[str], overwrite: bool) -> dict[str, Path]:
    """Where the figures of a result go; refuses at once what could not be written at the end."""
    from repsim.files import refuse_existing

    stems = {suffix: path.with_name(f"{path.stem}-{suffix}") for suffix in suffixes}
    files = [path, path.with_suffix(".csv")]
    files += [Path(f"{stem}{ending}") for stem in stems.values() for ending in (".png", ".pdf")]
    for file in files:
        refuse_existing(file, overwrite)
    return stems
