"""Figures of results whatever their kind, and files from figures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim._version import __version__
from repsim.figures.kinds import figures_of, figures_of_all
from repsim.figures.layout import panels
from repsim.figures.style import WRITING
from repsim.files import atomic_path, csv_text, refuse_existing, write_atomic
from repsim.results import Result, Table, facts
from repsim.results.figure import FigureData


def draw(
    result: Result, *, style: str = "column", estimator: str = "unbiased"
) -> dict[str, Figure]:
    """The figures that belong to a result, by the suffix of their file names.

    The suffix of a figure that is a result by itself, a ``FigureData``, is empty.
    """
    found = figures_of(result, estimator=estimator)
    return {suffix: panels(data, style=style) for suffix, data in found.items()}


def draw_together(results: Sequence[Result], *, style: str = "page") -> dict[str, Figure]:
    """The figures that belong to several results of a kind together, as ``draw`` gives them."""
    found = figures_of_all(results)
    return {suffix: panels(data, style=style) for suffix, data in found.items()}


def save(
    figure: Figure | FigureData,
    stem: str | os.PathLike[str],
    *,
    provenance: dict[str, Any] | None = None,
    data: FigureData | Table | None = None,
    style: str = "page",
    overwrite: bool = False,
) -> list[Path]:
    """Write a figure as STEM.png and STEM.pdf, and close it; all paths written are returned.

    The provenance goes into the files' metadata; no date does, so that the same figure gives the
    same file. With ``data``, its numbers go to STEM.csv, its caption and provenance to STEM.txt.

    Args:
        figure: what to write; a ``FigureData`` is drawn first, and is its own ``data``.
        stem: path without an ending.
        provenance: where the numbers come from; that of ``data`` unless given.
        data: what the figure shows.
        style: the size of a figure that is drawn here.
        overwrite: replace files that exist. A STEM.csv of the same numbers, as ``data.save``
            leaves it, stays in any case.

    Raises:
        UsageError: a file exists; then none is written.
    """
    if isinstance(figure, FigureData):
        data, figure = figure, panels(figure, style=style)
    name = os.fspath(stem)
    name = name[:-4] if name.endswith((".png", ".pdf")) else name
    if provenance is None:
        provenance = data.provenance if data is not None else {}
    texts = {} if data is None else _texts(data, name, provenance)
    paths = [Path(f"{name}{suffix}") for suffix in (".png", ".pdf")]
    _refuse(paths, texts, overwrite)
    for path in paths:
        _write(figure, path, provenance)
    for path, text in texts.items():
        write_atomic(path, text)
    plt.close(figure)
    return [*paths, *texts]


def _refuse(paths: list[Path], texts: dict[Path, str], overwrite: bool) -> None:
    """Refuse to replace files, except by the same text."""
    for path in paths:
        refuse_existing(path, overwrite)
    for path, text in texts.items():
        if not (path.is_file() and path.read_bytes() == text.encode()):
            refuse_existing(path, overwrite)


def _write(figure: Figure, path: Path, provenance: dict[str, Any]) -> None:
    note = json.dumps(provenance, sort_keys=True)
    described = {
        ".png": {"Software": f"repsim {__version__}", "Description": note},
        ".pdf": {"Creator": f"repsim {__version__}", "Subject": note, "CreationDate": None},
    }
    with mpl.rc_context(rc=cast(Any, WRITING)), atomic_path(path) as temporary:
        figure.savefig(temporary, metadata=described[path.suffix])


def _texts(data: FigureData | Table, name: str, provenance: dict[str, Any]) -> dict[Path, str]:
    """The table of the numbers, and the caption with a line for each value of the provenance."""
    found = facts({"repsim": __version__, **provenance})
    lines = [f"{data.name}. {data.caption}", "", *(f"{key}: {text}" for key, text in found)]
    caption = "\n".join(lines) + "\n"
    return {Path(f"{name}.csv"): csv_text(data.rows()), Path(f"{name}.txt"): caption}
