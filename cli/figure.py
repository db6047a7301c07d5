"""``repsim figure``: a result drawn again without the networks, or how a run was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_runs
from repsim.cli.grouping import Grouped
from repsim.cli.options import (
    estimator_option,
    json_option,
    overwrite_option,
    runs_option,
    style_option,
)
from repsim.cli.reporting import show_written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repsim.results import FigureData, Table


@click.command(cls=Grouped)
@click.argument("target", metavar="RESULT|RUN", shell_complete=complete_runs)
@runs_option
@style_option
@estimator_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Stem of the file names.  [default: that of the result, or results/training-RUN]",
)
@overwrite_option
@json_option
def figure(
    target: str,
    runs: Path,
    style: str,
    estimator: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim figure results/cka-simclr-supervised.json --style slide -o slides/cka
    repsim figure gan --style page

    Draw the figures of a result file, or the curves of a run's training, as PNG and PDF, in a size
    for a column, a page or a slide. A figure of several panels has its numbers (CSV) and its
    caption (TXT) beside it.
    """
    from repsim import figures
    from repsim.files import refuse_existing

    data: FigureData | Table | None = None
    if target.endswith(".json") or Path(target).is_file():
        stem, drawn, provenance, data = _of_result(Path(target), style, estimator)
    else:
        stem, drawn, provenance = _of_run(target, runs, style)
    stems = {suffix: "-".join(filter(None, (str(output or stem), suffix))) for suffix in drawn}
    for each in stems.values():
        for ending in (".png", ".pdf"):
            refuse_existing(f"{each}{ending}", overwrite)
    written = [
        path
        for suffix, each in stems.items()
        for path in figures.save(
            drawn[suffix], each, provenance=provenance, data=data, overwrite=overwrite
        )
    ]
    show_written(written, as_json=as_json)


def _of_result(
    path: Path, style: str, estimator: str
) -> tuple[Path, dict[str, Figure], dict[str, Any], FigureData | Table | None]:
    from repsim import figures
    from repsim.results import FigureData, Result, Table

    result = Result.load(path)
    drawn = figures.draw(result, style=style, estimator=estimator)
    data = result if isinstance(result, (FigureData, Table)) else None
    return path.with_suffix(""), drawn, result.provenance, data


def _of_run(name: str, runs: Path, style: str) -> tuple[Path, dict[str, Figure], dict[str, Any]]:
    from repsim import figures
    from repsim.cli.names import find_run

    run = find_run(name, runs)
    drawn = {"curves": figures.training_curves(run.metrics(), style=style)}
    made_of = {"checkpoint_sha256": run.digest()} if run.complete else {}
    provenance = {"run": run.name, **made_of, **run.describe()}
    return Path("results") / f"training-{run.name}", drawn, provenance
