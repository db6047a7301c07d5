"""Figures of tables."""

from __future__ import annotations

from repsim.figures.kinds import figures_of
from repsim.figures.panels.table import PrintedTable
from repsim.results import Table
from repsim.results.figure import FigureData

_WORDS = {True: "yes", False: "no"}


@figures_of.register
def figures_of_table(result: Table, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    """The table as it is."""
    return {"": table_figure(result)}


def table_figure(result: Table) -> FigureData:
    """A table as a figure of one panel."""
    cells = [
        [_WORDS[cell] if isinstance(cell, bool) else cell for cell in row] for row in result.cells
    ]
    panel = PrintedTable("", [column.title for column in result.columns], cells)
    return FigureData(result.name, result.caption, [panel], result.provenance)
