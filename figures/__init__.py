"""From results to matplotlib figures. Every number is computed before it arrives here."""

from repsim.figures.bars import null_space_bars
from repsim.figures.curves import probe_curves, similarity_curves
from repsim.figures.draw import draw, save
from repsim.figures.heatmap import heatmap, heatmaps
from repsim.figures.style import STYLES
from repsim.figures.training import training_curves

__all__ = [
    "STYLES",
    "draw",
    "heatmap",
    "heatmaps",
    "null_space_bars",
    "probe_curves",
    "save",
    "similarity_curves",
    "training_curves",
]
