"""``repsim nullspace``: what a linear head sees of its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from repsim.cli.cka import claim
from repsim.cli.options import (
    data_dir_option,
    data_option,
    json_option,
    output_option,
    overwrite_option,
    runs_option,
    show_files,
    show_json,
    show_table,
)
from repsim.errors import UsageError


@click.command()
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@runs_option
@data_option
@data_dir_option
@click.option("--split", default="train", show_default=True, help="Part to train probes on.")
@click.option("--test-split", default="test", show_default=True, help="Part to report on.")
@click.option(
    "--style",
    type=click.Choice(["column", "page", "slide"]),
    default="page",
    show_default=True,
    help="Size of the figure.",
)
@output_option("results/nullspace-RUN.json")
@overwrite_option
@json_option
def nullspace(
    references: tuple[str, ...],
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    split: str,
    test_split: str,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim nullspace mgan

    Split the features that feed a linear head into its row space, which its outputs depend on, and
    its null space, which they cannot see; report the energy in each and what probes read from each.
    A run with several extractors gives a report for each. Needs the activations of both parts.
    """
    from repsim import figures
    from repsim.activations.probing import null_space_of
    from repsim.cli.workspace import expand_references, open_extractor, result_path

    chosen = expand_references(references, runs)
    if output is not None and len(chosen) > 1:
        raise UsageError(
            f"--output names one file, but {len(chosen)} extractors were asked for; leave it out, "
            "or name one RUN:EXTRACTOR"
        )
    others = None if (split, test_split) == ("train", "test") else f"{split}-{test_split}"
    paths = [result_path(output, "nullspace", [each.label], data, others) for each in chosen]
    figure = claim(result_path(output, "nullspace", references, data, others), ["bars"], overwrite)
    for path in paths:
        claim(path, [], overwrite)
    reports, written = [], []
    where: dict[str, Any] = {"data": data, "data_dir": data_dir}
    for extractor, path in zip(chosen, paths, strict=True):
        with (
            open_extractor(extractor, split=split, **where) as train,
            open_extractor(extractor, split=test_split, **where) as test,
        ):
            reports.append(null_space_of(train, test))
        written += reports[-1].save(path, overwrite=overwrite)
    written += figures.save(
        figures.null_space_bars(reports, style=style),
        figure["bars"],
        provenance=reports[0].provenance,
        overwrite=overwrite,
    )
    if as_json:
        show_json([report.to_dict() for report in reports])
    else:
        show_reports(reports)
    show_files(written, as_json=as_json)


def show_reports(reports: list) -> None:
    """A column a network, a row a quantity."""
    quantities = [
        ("examples", lambda r: r.n),
        ("features d", lambda r: r.dim),
        ("rank of the head", lambda r: r.rank),
        ("energy in the null space", lambda r: 1 - r.row_energy),
        ("the same, centred", lambda r: 1 - r.row_energy_centred),
        ("chance, 1 - rank / d", lambda r: 1 - r.chance),
        ("|std| / |mean| of the row part", lambda r: r.constancy),
        ("probe on all features", lambda r: r.probes.get("full")),
        ("probe on the row part", lambda r: r.probes.get("row")),
        ("probe on the null part", lambda r: r.probes.get("null")),
    ]
    rows = [(name, *(of(report) for report in reports)) for name, of in quantities]
    show_table("row space and null space", ("", *(report.name for report in reports)), rows)
