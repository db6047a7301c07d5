"""The figures of a result, whatever its kind, and files from figures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim._version import __version__
from repsim.figures.curves import probe_curves, similarity_curves
from repsim.figures.heatmap import heatmap
from repsim.figures.null_space import null_space_bars, null_space_figures
from repsim.figures.panels import panels
from repsim.figures.style import WRITING
from repsim.files import atomic_path, refuse_existing, table, write_atomic
from repsim.results import (
    FigureData,
    NullSpaceReport,
    ProbeCurve,
    Result,
    SimilarityMap,
    Table,
    facts,
)
from repsim.results.figure import table_panel


def draw_together(results: Sequence[Result], *, style: str = "page") -> dict[str, Figure]:
    """The figures that belong to several results of a kind together, as ``draw`` gives them."""
    reports = [result for result in results if isinstance(result, NullSpaceReport)]
    return {"bars": null_space_bars(reports, style=style)} if reports else {}


class Captioned(Protocol):
    """What a figure shows, such as a ``FigureData``: what it is called and the text below it, where
    its numbers come from, and the numbers themselves."""

    @property
    def name(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def provenance(self) -> dict[str, Any]: ...

    def rows(self) -> list[dict[str, Any]]: ...


def draw(
    result: Result, *, style: str = "column", estimator: str = "unbiased"
) -> dict[str, Figure]:
    """The figures that belong to a result, by the suffix of their file names.

    The suffix of a figure that is a result by itself, a ``FigureData``, is empty.
    """
    if isinstance(result, SimilarityMap):
        curves = {"curves": similarity_curves(result, estimator=estimator, style=style)}
        if result.comparison == "classes":  # one column, which the curve is
            return curves
        return {"heatmap": heatmap(result, estimator=estimator, style=style), **curves}
    if isinstance(result, ProbeCurve):
        return {"curves": probe_curves(result, style=style)}
    if isinstance(result, NullSpaceReport):
        return null_space_figures(result, style=style)
    if isinstance(result, Table):
        return {"": panels(table_figure(result), style=style)}
    if isinstance(result, FigureData):
        return {"": panels(result, style=style)}
    raise TypeError(f"no figure for a {type(result).__name__}")


def table_figure(result: Table) -> FigureData:
    """A table as a figure of one panel."""
    words = {True: "yes", False: "no"}
    cells = [
        [words[cell] if isinstance(cell, bool) else cell for cell in row] for row in result.cells
    ]
    panel = table_panel("", [column.title for column in result.columns], cells)
    return FigureData(result.name, result.caption, [panel], result.provenance)


def save(
    figure: Figure,
    stem: str | os.PathLike[str],
    *,
    provenance: dict[str, Any] | None = None,
    data: Captioned | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a figure as STEM.png and STEM.pdf, and close it; all paths written are returned.

    The provenance goes into the files' metadata; no date does, so that the same figure gives the
    same file. With ``data``, its numbers go to STEM.csv, its caption and provenance to STEM.txt.

    Args:
        figure: what to write.
        stem: path without an ending.
        provenance: where the numbers come from; that of ``data`` unless given.
        data: what the figure shows.
        overwrite: replace files that exist. A STEM.csv of the same numbers, as ``data.save``
            leaves it, stays in any case.

    Raises:
        UsageError: a file exists; then none is written.
    """
    name = os.fspath(stem)
    name = name[:-4] if name.endswith((".png", ".pdf")) else name
    if provenance is None:
        provenance = data.provenance if data is not None else {}
    texts = {}
    if data is not None:
        texts[Path(f"{name}.csv")] = table(data.rows())
        texts[Path(f"{name}.txt")] = _caption(data, provenance)
    paths = [Path(f"{name}{suffix}") for suffix in (".png", ".pdf")]
    for path in paths:
        refuse_existing(path, overwrite)
    for path, text in texts.items():
        if not (path.is_file() and path.read_bytes() == text.encode()):
            refuse_existing(path, overwrite)
    note = json.dumps(provenance, sort_keys=True)
    described = {
        ".png": {"Software": f"repsim {__version__}", "Description": note},
        ".pdf": {"Creator": f"repsim {__version__}", "Subject": note, "CreationDate": None},
    }
    for path in paths:
        with mpl.rc_context(rc=cast(Any, WRITING)), atomic_path(path) as temporary:
            figure.savefig(temporary, metadata=described[path.suffix])
    for path, text in texts.items():
        write_atomic(path, text)
    plt.close(figure)
    return [*paths, *texts]


def _caption(data: Captioned, provenance: dict[str, Any]) -> str:
    """The caption, a blank line, and a line for each value of the provenance."""
    found = facts({"repsim": __version__, **provenance})
    lines = [f"{data.name}. {data.caption}", "", *(f"{key}: {text}" for key, text in found)]
    return "\n".join(lines) + "\n"
