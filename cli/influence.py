"""``repsim influence``: which images drive the similarity of two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from repsim.cli.options import (
    data_dir_option,
    data_option,
    json_option,
    kernel_option,
    overwrite_option,
    runs_option,
    split_option,
)
from repsim.cli.reporting import show_files, show_json, show_table


@click.command()
@click.option("--a", required=True, metavar="RUN|FILE", help="A run or an activation store.")
@click.option("--b", required=True, metavar="RUN|FILE", help="The other one.")
@click.option("--layer", required=True, metavar="ADDRESS", help="Layer of --a.")
@click.option("--layer-b", metavar="ADDRESS", help="Layer of --b.  [default: the same]")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Examples to show at either end; the file holds all.",
)
@runs_option
@data_option
@data_dir_option
@split_option
@kernel_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file.  [default: results/influence-A-B-LAYER.csv]",
)
@overwrite_option
@json_option
def influence(
    a: str,
    b: str,
    layer: str,
    layer_b: str | None,
    top: int,
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    split: str,
    kernel: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim influence --a simclr --b supervised --layer head

    What each example adds to the unbiased CKA of two layers: the value less the value without it,
    exact. Prints the examples that make the layers most alike, and those that set them most apart.
    """
    from repsim.activations.analyses.base import slug
    from repsim.cli.names import Places, find_one
    from repsim.files import refuse_existing, table, write_atomic
    from repsim.measures import influence as influence_of
    from repsim.sources import check_comparable, id_text

    where = Places(runs, data, data_dir)
    with (
        find_one(a, where).open(split) as source_a,
        find_one(b, where).open(split) as source_b,
    ):
        names = [source_a.name, source_b.name]
        chosen = [layer, layer_b or layer]
        qualifiers = [*dict.fromkeys(chosen), data, None if split == "test" else split]
        qualifiers.append(None if kernel == "linear" else kernel)
        words = ["influence", *names, *filter(None, qualifiers)]
        default = Path("results") / f"{'-'.join(map(slug, words))}.csv"
        path = default if output is None else output
        refuse_existing(path, overwrite)
        check_comparable(source_a, source_b)
        x, y = (
            source.rows(name, 0, source.n)
            for source, name in zip((source_a, source_b), chosen, strict=True)
        )
        added = influence_of(x, y, kernel=kernel)
        ids = range(len(added)) if source_a.example_ids is None else source_a.example_ids
        labels = getattr(source_a, "labels", None)
    rows: list[dict[str, Any]] = [
        {
            "example": id_text(example),
            **({} if labels is None else {"label": int(labels[k])}),
            "influence": float(added[k]),
        }
        for k, example in enumerate(ids)
    ]
    write_atomic(path, table(rows))
    ranked = sorted(rows, key=lambda row: -row["influence"])
    if as_json:
        show_json(ranked)
    else:
        shown = ranked if len(ranked) <= 2 * top else ranked[:top] + ranked[-top:]
        click.echo(
            f"what each of {len(rows):,} examples adds to the {kernel} CKA of {names[0]} "
            f"{chosen[0]} and {names[1]} {chosen[1]}, in thousandths"
        )
        show_table(
            "most and least" if len(shown) < len(rows) else "",
            list(rows[0]),
            [(*list(row.values())[:-1], 1000 * row["influence"]) for row in shown],
        )
    show_files([path], as_json=as_json)
