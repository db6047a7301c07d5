"""Results of analyses, which save, load and tabulate without the networks they describe.

Panels of figures are defined in ``repsim.figures.panels``, which is found when one is read.
"""

from repsim.results.base import FORMAT_VERSION, Result, facts, result_file
from repsim.results.figure import FigureData
from repsim.results.nullspace import (
    Alpha,
    Examples,
    NullSpaceEntry,
    NullSpaceReport,
    Outcome,
    Side,
    Verdict,
)
from repsim.results.probes import ProbeCurve, ProbeEntry, ProbePoint, ProbeSeries
from repsim.results.similarity import SimilarityMap, best_match, own_cells
from repsim.results.table import Cell, Column, Table

__all__ = [
    "FORMAT_VERSION",
    "Alpha",
    "Cell",
    "Column",
    "Examples",
    "FigureData",
    "NullSpaceEntry",
    "NullSpaceReport",
    "Outcome",
    "ProbeCurve",
    "ProbeEntry",
    "ProbePoint",
    "ProbeSeries",
    "Result",
    "Side",
    "SimilarityMap",
    "Table",
    "Verdict",
    "best_match",
    "facts",
    "own_cells",
    "result_file",
]
