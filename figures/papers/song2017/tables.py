"""The tables of Song et al. (2017)."""

from __future__ import annotations

from itertools import product
from typing import Any

from repsim import signal
from repsim.figures.papers.engine import Found, mean_columns, settings_table
from repsim.figures.papers.song2017.analyses import INPUTS, SOLVERS
from repsim.figures.papers.song2017.heads import TEXT, cells, of_cell, of_control, of_extractor
from repsim.figures.papers.song2017.published import ACCURACY, WITH, WITHOUT
from repsim.figures.papers.song2017.runs import CELLS, EXTRACTORS

Rows = list[dict[str, Any]]


def extractors(found: Found) -> Rows:
    """Accuracies with and without extraction, by the input of a head and its solver."""
    return [
        {
            "extractor": name,
            "head reads": shown,
            "solver": head,
            **mean_columns("with", of_extractor(found, name, shown, head)),
            **_theirs("with", WITH[name], (shown, head)),
            **mean_columns("without", of_control(found, name, shown, head)),
            **_theirs("without", WITHOUT[name], (shown, head)),
        }
        for name, shown, head in product(EXTRACTORS, INPUTS, SOLVERS)
    ]


def grid(found: Found) -> Rows:
    """Accuracies of the cells, with the signal and the published accuracy."""
    return [
        {
            "keep": keep,
            "copy": copy,
            "signal (bits)": signal(keep, copy),
            **mean_columns("SGD", of_cell(found, keep, copy)),
            **_theirs("SGD", ACCURACY[keep, copy], TEXT),
            **mean_columns("L-BFGS", of_cell(found, keep, copy, head="L-BFGS")),
        }
        for keep, copy in cells(found)
    ]


def _theirs(name: str, value: float, of: tuple[str, str]) -> dict[str, Any]:
    """The published number; the paper's head is on both halves, by SGD."""
    return {f"{name}_published": value if of == TEXT else ""}


def settings(found: Found) -> Rows:
    first = CELLS[cells(found)[0]]
    runs = {"a cell": first, **EXTRACTORS}
    return settings_table({name: found.trained(run)[0] for name, run in runs.items()})


TABLES = {"extractors": extractors, "grid": grid, "settings": settings}
