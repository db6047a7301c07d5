"""From results to matplotlib figures. Every number is computed before it arrives here."""

from repsim.figures.curves import probe_curves, similarity_curves
from repsim.figures.draw import draw, draw_together, save
from repsim.figures.heatmap import heatmap, heatmaps
from repsim.figures.null_space import (
    alpha_curves,
    noise_curves,
    null_space_bars,
    null_space_figures,
    null_space_layers,
    null_space_strips,
    score_histogram,
)
from repsim.figures.panels import panels
from repsim.figures.style import STYLES
from repsim.figures.training import training_curves

__all__ = [
    "STYLES",
    "alpha_curves",
    "draw",
    "draw_together",
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
    "training_curves",
]
