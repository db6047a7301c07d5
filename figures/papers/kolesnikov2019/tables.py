"""The tables of Kolesnikov et al. (2019)."""

from __future__ import annotations

from typing import Any

from repsim.figures.papers.engine import Found, mean_columns, settings_table
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS
from repsim.figures.papers.kolesnikov2019.numbers import (
    PERCEPTRON,
    accuracy,
    pretext,
    there,
)
from repsim.figures.papers.kolesnikov2019.runs import CELLS, Cell

Rows = list[dict[str, Any]]


def _of(cell: Cell) -> dict[str, Any]:
    return {"task": cell.task, "network": cell.network, "k": cell.width}


def grid(found: Found) -> Rows:
    """Every cell: its pretext task, and probes of its representation."""
    return [
        {
            **_of(cell),
            **mean_columns("pretext", pretext(found, cell)),
            **mean_columns("linear", accuracy(found, cell)),
            **mean_columns("mlp", accuracy(found, cell, solver=PERCEPTRON)),
            **mean_columns("10 %", accuracy(found, cell, share=0.1)),
            **mean_columns("5 %", accuracy(found, cell, share=0.05)),
        }
        for cell in there(found)
    ]


def taps(found: Found) -> Rows:
    """Linear probes at every tap."""
    return [
        {
            **_of(cell),
            **{
                key: value
                for tap in TAPS
                for key, value in mean_columns(tap, accuracy(found, cell, tap)).items()
            },
        }
        for cell in there(found)
    ]


def settings(found: Found) -> Rows:
    """The first cell of each method and network."""
    kinds = {(cell.task, cell.network): cell for cell in reversed(there(found))}
    return settings_table(
        {
            f"{task}, {network}": found.trained(CELLS[cell])[0]
            for (task, network), cell in reversed(kinds.items())
        }
    )


TABLES = {"grid": grid, "taps": taps, "settings": settings}
