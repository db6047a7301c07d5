"""From results to matplotlib figures. Every number is computed before it arrives here.

The public names. Each is imported from its home when it is first used, so that files of figures are
read where matplotlib is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim import lazy
from repsim.figures import panels as _types_of_panels

if TYPE_CHECKING:
    from repsim.figures.drawing import draw as draw
    from repsim.figures.drawing import draw_together as draw_together
    from repsim.figures.drawing import save as save
    from repsim.figures.kinds import figures_of as figures_of
    from repsim.figures.layout import panels as panels
    from repsim.figures.nullspace import alpha_curves as alpha_curves
    from repsim.figures.nullspace import noise_curves as noise_curves
    from repsim.figures.nullspace import null_space_bars as null_space_bars
    from repsim.figures.nullspace import null_space_figures as null_space_figures
    from repsim.figures.nullspace import null_space_layers as null_space_layers
    from repsim.figures.nullspace import null_space_strips as null_space_strips
    from repsim.figures.nullspace import score_histogram as score_histogram
    from repsim.figures.panels.bars import Bars as Bars
    from repsim.figures.panels.bars import Mark as Mark
    from repsim.figures.panels.diagram import Diagram as Diagram
    from repsim.figures.panels.heatmap import Heatmap as Heatmap
    from repsim.figures.panels.histogram import Distribution as Distribution
    from repsim.figures.panels.histogram import Histogram as Histogram
    from repsim.figures.panels.images import Images as Images
    from repsim.figures.panels.lines import Line as Line
    from repsim.figures.panels.lines import Lines as Lines
    from repsim.figures.panels.matrix import Matrix as Matrix
    from repsim.figures.panels.scatter import Points as Points
    from repsim.figures.panels.scatter import Scatter as Scatter
    from repsim.figures.panels.strips import Dots as Dots
    from repsim.figures.panels.strips import Strips as Strips
    from repsim.figures.panels.table import PrintedTable as PrintedTable
    from repsim.figures.probes import probe_curves as probe_curves
    from repsim.figures.renaming import renamed as renamed
    from repsim.figures.series import Series as Series
    from repsim.figures.similarity import heatmap as heatmap
    from repsim.figures.similarity import heatmaps as heatmaps
    from repsim.figures.similarity import similarity_curves as similarity_curves
    from repsim.figures.style import STYLES as STYLES
    from repsim.figures.style import Style as Style
    from repsim.figures.tables import table_figure as table_figure
    from repsim.figures.training import training_curves as training_curves
    from repsim.results.figure import FigureData as FigureData

_HOMES = {
    "Bars": "repsim.figures.panels.bars",
    "Diagram": "repsim.figures.panels.diagram",
    "Distribution": "repsim.figures.panels.histogram",
    "Dots": "repsim.figures.panels.strips",
    "FigureData": "repsim.results.figure",
    "Heatmap": "repsim.figures.panels.heatmap",
    "Histogram": "repsim.figures.panels.histogram",
    "Images": "repsim.figures.panels.images",
    "Line": "repsim.figures.panels.lines",
    "Lines": "repsim.figures.panels.lines",
    "Mark": "repsim.figures.panels.bars",
    "Matrix": "repsim.figures.panels.matrix",
    "Points": "repsim.figures.panels.scatter",
    "PrintedTable": "repsim.figures.panels.table",
    "STYLES": "repsim.figures.style",
    "Scatter": "repsim.figures.panels.scatter",
    "Series": "repsim.figures.series",
    "Style": "repsim.figures.style",
    "Strips": "repsim.figures.panels.strips",
    "alpha_curves": "repsim.figures.nullspace",
    "draw": "repsim.figures.drawing",
    "draw_together": "repsim.figures.drawing",
    "figures_of": "repsim.figures.kinds",
    "heatmap": "repsim.figures.similarity",
    "heatmaps": "repsim.figures.similarity",
    "noise_curves": "repsim.figures.nullspace",
    "null_space_bars": "repsim.figures.nullspace",
    "null_space_figures": "repsim.figures.nullspace",
    "null_space_layers": "repsim.figures.nullspace",
    "null_space_strips": "repsim.figures.nullspace",
    "panels": "repsim.figures.layout",
    "probe_curves": "repsim.figures.probes",
    "renamed": "repsim.figures.renaming",
    "save": "repsim.figures.drawing",
    "score_histogram": "repsim.figures.nullspace",
    "similarity_curves": "repsim.figures.similarity",
    "table_figure": "repsim.figures.tables",
    "training_curves": "repsim.figures.training",
}

__all__ = list(_HOMES)

# The package of that name was bound when it was imported; here the name is the function's.
del _types_of_panels
globals().pop("panels")

__getattr__ = lazy.attach(__name__, _HOMES)
