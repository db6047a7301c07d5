"""The words that a paper is declared with, and the making of its reproduction: each thing once.

A paper declares runs, analyses, figures, tables and claims. A reproduction makes the steps that
they need, at one scale and with some seeds; figures, tables and verdicts are made from the results
every time.
"""

from repsim.figures.papers.engine.claims import Claim, Judged, exactly, over_seeds, several
from repsim.figures.papers.engine.declared import SCALES, Run, analysis, grid
from repsim.figures.papers.engine.findings import Number
from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.found import Found
from repsim.figures.papers.engine.only import only
from repsim.figures.papers.engine.panels import BANDS, mean_line, mean_of
from repsim.figures.papers.engine.paper import Paper, Reproduction
from repsim.figures.papers.engine.statistics import mean_over, rank_correlation
from repsim.figures.papers.engine.tables import mean_columns, settings_table

__all__ = [
    "BANDS",
    "SCALES",
    "Claim",
    "Folder",
    "Found",
    "Judged",
    "Number",
    "Paper",
    "Reproduction",
    "Run",
    "analysis",
    "exactly",
    "grid",
    "mean_columns",
    "mean_line",
    "mean_of",
    "mean_over",
    "only",
    "over_seeds",
    "rank_correlation",
    "settings_table",
    "several",
]
