"""From results to matplotlib figures. Every number is computed before it arrives here."""

from repsim.figures.draw import draw, draw_together, save
from repsim.figures.kinds import figures_of
from repsim.figures.nullspace import (
    alpha_curves,
    noise_curves,
    null_space_bars,
    null_space_figures,
    null_space_layers,
    null_space_strips,
    score_histogram,
)
from repsim.figures.panels.bars import Bars, Mark
from repsim.figures.panels.diagram import Diagram
from repsim.figures.panels.heatmap import Heatmap
from repsim.figures.panels.histogram import Distribution, Histogram
from repsim.figures.panels.images import Images
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.panels.matrix import Matrix
from repsim.figures.panels.scatter import Points, Scatter
from repsim.figures.panels.strips import Dots, Strips
from repsim.figures.panels.table import PrintedTable
from repsim.figures.probes import probe_curves
from repsim.figures.series import Series
from repsim.figures.similarity import heatmap, heatmaps, similarity_curves
from repsim.figures.style import STYLES
from repsim.figures.tables import table_figure
from repsim.figures.training import training_curves
from repsim.results.figure import FigureData

from repsim.figures.layout import panels  # isort: skip  (after the package of that name)

__all__ = [
    "STYLES",
    "Bars",
    "Diagram",
    "Distribution",
    "Dots",
    "FigureData",
    "Heatmap",
    "Histogram",
    "Images",
    "Line",
    "Lines",
    "Mark",
    "Matrix",
    "Points",
    "PrintedTable",
    "Scatter",
    "Series",
    "Strips",
    "alpha_curves",
    "draw",
    "draw_together",
    "figures_of",
    "heatmap",
    "heatmaps",
    "noise_curves",
    "null_space_bars",
    "null_space_figures",
    "null_space_layers",
    "null_space_strips",
    "panels",
    "probe_curves",
    "save",
    "score_histogram",
    "similarity_curves",
    "table_figure",
    "training_curves",
]
