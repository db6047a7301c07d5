"""Null spaces of layers, by depth."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.figures.layout import panels
from repsim.figures.nullspace.entries import (
    MissingNumbersError,
    control_of,
    control_said,
    figure_of,
    numbers_of,
    series_of,
)
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results import NullSpaceReport
from repsim.results.figure import FigureData


def null_space_layers(
    report: NullSpaceReport,
    *,
    style: str | Style = "column",
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """The part of each layer's input that its weights cannot see.

    The null space's share of the energy of the layer's patches, centred, on real and generated
    images, against 1 - rank / dim. Layers that have no null space are left out.

    Bands are 95 % intervals, grey dashes the untrained network.
    """
    return panels(layers_figure(report), style=style, ax=ax)


def layers_figure(report: NullSpaceReport) -> FigureData:
    """The share of centred energy in the null space of each layer.

    Raises:
        UsageError: a report without other layers.
    """
    entries = [each for each in report.entries if each.quantity == "layer_energy_centred"]
    # A layer with as many filters as inputs sees everything, whatever the images.
    seen = (entry.layer for entry in entries if entry.layer and entry.chance > 0)
    layers = list(dict.fromkeys(seen))
    if not layers:
        raise MissingNumbersError(report, "other layers")
    lines = []
    for hue, (group, label) in enumerate((("all", "real"), ("generated", "generated"))):
        found = [report.find("layer_energy_centred", "null", group, layer) for layer in layers]
        if any(found):
            lines.append(series_of(Line, label, found, hue=hue))
        if group == "all":
            lines += control_of(found)
            lines.append(Line("1 - rank / dim", numbers_of(found, "chance"), look="level"))
    ylabel = "share of centred energy\nin the null space"
    panel = Lines("", "layer", ylabel, layers, lines, ylim=(0, 1.04))
    caption = (
        "Share of the centred energy of each layer's patches that its own weights cannot see. "
        f"Bands are 95 % intervals{control_said([panel])}."
    )
    return figure_of(report, "Null spaces of layers", caption, panel)
