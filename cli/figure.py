"""``repsim figure``: a result drawn again without the networks, or how a run was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from repsim.cli.reporting import say, show_written

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
    drawing = Drawing.taken(options)
    data: FigureData | Table | None = None
    if target.endswith(".json") or Path(target).is_file():
        stem, drawn, provenance, data = _of_result(Path(target), drawing, estimator)
    else:
        stem, drawn, provenance = _of_run(target, runs, drawing)
    stems = {
        "-".join(filter(None, (str(output or stem), suffix))): each
        for suffix, each in drawn.items()
    }
    kept: dict[str, Any] = {"provenance": provenance, "data": data}
    written, there = _save(stems, drawing.formats, kept, overwrite)
    show_written([*there, *written] if as_json else written, as_json=as_json)


def _save(
    drawn: Mapping[str, Figure], formats: Sequence[str], kept: Mapping[str, Any], overwrite: bool
) -> tuple[list[Path], list[Path]]:
    """Write figures by their stems, and say which are there already; the new files, and the others.

    Raises:
        UsageError: another figure has the name of one; then none is written.
    """
    from repsim import figures
    from repsim.figures.drawing import files_of, unsaved

    wanted = {
        stem: formats if overwrite else unsaved(each, stem, formats=formats, **kept)
        for stem, each in drawn.items()
    }
    written: list[Path] = []
    there: list[Path] = []
    for stem, each in drawn.items():
        if wanted[stem]:
            options = {**kept, "overwrite": overwrite}
            written += figures.save(each, stem, formats=wanted[stem], **options)
        else:
            there += files_of(each, stem, formats=formats, **kept)
            say(f"note: {stem} is there already, drawn from the same result in the same way")
    return written, there


def _of_result(
    path: Path, drawing: Drawing, estimator: str
) -> tuple[Path, dict[str, Figure], dict[str, Any], FigureData | Table | None]:
    from repsim import figures
    from repsim.results import FigureData, Result, Table

    result = Result.load(path)
    drawn = figures.draw(result, estimator=estimator, **drawing.options())
    data = result if isinstance(result, (FigureData, Table)) else None
    provenance = {**result.provenance, **drawing.record(path, estimator)}
    return path.with_suffix(""), drawn, provenance, data


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
    record = drawing.record(run.path / "metrics.csv")
    provenance = {"run": run.name, **made_of, **run.describe(), **record}
    return Path("results") / f"training-{run.name}", drawn, provenance
