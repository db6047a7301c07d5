"""``repsim figure``: a result drawn again without the networks, or how a run was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_runs
from repsim.cli.drawing import Drawing, drawn_as
from repsim.cli.grouping import Grouped
from repsim.cli.options import (
    estimator_option,
    json_option,
    overwrite_option,
    runs_option,
)
from repsim.cli.reporting import show_written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repsim.results import FigureData, Table


@click.command(cls=Grouped)
@click.argument("target", metavar="RESULT|RUN", shell_complete=complete_runs)
@runs_option
@drawn_as("column")
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
    estimator: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """\b
    repsim figure results/cka-simclr-supervised.json --style slide -o slides/cka
    repsim figure results/cka-vit-cnn.json --width 8.4cm --font 'serif 8' --format pdf \\
        --rename vit=ViT --rename layers=block -o paper/vit-cnn
    repsim figure gan --style page

    Draw the figures of a result file, or the curves of a run's training, in a size for a column, a
    page or a slide. Each has its caption (TXT) beside it, a figure of several panels its numbers
    (CSV) as well.
    """
    from repsim import figures
    from repsim.files import refuse_existing

    drawing = Drawing.taken(options)
    data: FigureData | Table | None = None
    if target.endswith(".json") or Path(target).is_file():
        stem, drawn, provenance, data = _of_result(Path(target), drawing, estimator)
    else:
        stem, drawn, provenance = _of_run(target, runs, drawing)
    stems = {suffix: "-".join(filter(None, (str(output or stem), suffix))) for suffix in drawn}
    for each in stems.values():
        for ending in drawing.formats:
            refuse_existing(f"{each}.{ending}", overwrite)
    kept: dict[str, Any] = {"provenance": provenance, "data": data, "overwrite": overwrite}
    written = [
        path
        for suffix, each in stems.items()
        for path in figures.save(drawn[suffix], each, formats=drawing.formats, **kept)
    ]
    show_written(written, as_json=as_json)


def _of_result(
    path: Path, drawing: Drawing, estimator: str
) -> tuple[Path, dict[str, Figure], dict[str, Any], FigureData | Table | None]:
    from repsim import figures
    from repsim.results import FigureData, Result, Table

    result = Result.load(path)
    drawn = figures.draw(result, estimator=estimator, **drawing.options())
    data = result if isinstance(result, (FigureData, Table)) else None
    return path.with_suffix(""), drawn, result.provenance, data


def _of_run(
    name: str, runs: Path, drawing: Drawing
) -> tuple[Path, dict[str, Figure], dict[str, Any]]:
    from repsim.cli.names import find_run
    from repsim.figures.drawing import draw_data
    from repsim.figures.training import training_figure

    run = find_run(name, runs)
    found = {"curves": training_figure(run.metrics(), run.name)}
    drawn = draw_data(found, **drawing.options())
    made_of = {"checkpoint_sha256": run.digest()} if run.complete else {}
    provenance = {"run": run.name, **made_of, **run.describe()}
    return Path("results") / f"training-{run.name}", drawn, provenance
