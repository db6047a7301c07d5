"""Layers against layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from repsim.errors import UsageError
from repsim.figures.layers import boundaries, label_layers
from repsim.figures.style import COLORMAP, styled
from repsim.results import SimilarityMap, best_match


def heatmap(
    result: SimilarityMap,
    *,
    estimator: str = "unbiased",
    style: str = "column",
    dots: bool = True,
) -> Figure:
    """CKA of every pair of layers as colour, from 0 to 1.

    Rows are layers of a, upwards in order of execution; columns are layers of b. A white dot marks
    the most similar layer of b for each layer of a; lines separate block groups. Undefined cells
    are grey.
    """
    return heatmaps([result], estimator=estimator, style=style, dots=dots)


def heatmaps(
    results: Sequence[SimilarityMap],
    *,
    titles: Sequence[str] | None = None,
    estimator: str = "unbiased",
    style: str = "page",
    dots: bool = True,
) -> Figure:
    """Several maps side by side under one colour scale, as ``heatmap`` draws one."""
    if not results:
        raise UsageError("no map arrived; expected at least one")
    if titles is None:
        titles = [f"n = {result.n:,}{result.pooled}{result.augmented}" for result in results]
    with styled(style) as width:
        alone = len(results) == 1
        side = width / len(results)
        lines = 5 * mpl.rcParams["font.size"] / 72  # of text above and below the maps, in inches
        height = min((0.9 if alone else 1.05) * side + lines, 5.8)  # a slide is no higher
        fig, grid = plt.subplots(
            1,
            len(results),
            figsize=(width, height),
            layout="compressed",
            squeeze=False,
        )
        for ax, result, title in zip(grid[0], results, titles, strict=True):
            image = draw_map(
                ax,
                result.values(estimator),
                (result.layers_a, result.layers_b),
                (result.name_a, result.name_b),
                dots=dots,
                inches=0.6 * min(side, height),
            )
            ax.set_title(title)
        label = scale_label(results[0].kernel, estimator)
        colour_bar(fig, image, list(grid[0]), label, shrink=0.7 if alone else 0.5)
        if dots:
            fig.legend(handles=[dot_handle(results[0].name_b)], loc="outside lower center")
    return fig


def draw_map(
    ax: Axes,
    values: np.ndarray,
    layers: tuple[Sequence[str], Sequence[str]],
    names: tuple[str, str],
    *,
    dots: bool,
    inches: float,
) -> AxesImage:
    """One map on square axes, of (a, b) values between ``layers`` of networks called ``names``.

    ``inches`` is the side that its labels may count on.
    """
    colormap = plt.get_cmap(COLORMAP).with_extremes(bad="0.7")
    image = ax.imshow(
        np.ma.masked_invalid(values),
        origin="lower",
        vmin=0,
        vmax=1,
        cmap=colormap,
        interpolation="nearest",
        aspect="auto",
    )
    ax.set_box_aspect(1)
    for position in boundaries(layers[1]):
        ax.axvline(position - 0.5, color="white", linewidth=0.6)
    for position in boundaries(layers[0]):
        ax.axhline(position - 0.5, color="white", linewidth=0.6)
    if dots:
        best = [(j, i) for i, j in enumerate(best_match(values)) if j is not None]
        if best:
            ax.plot(*zip(*best, strict=True), linestyle="none", **_dot())
    label_layers(ax.xaxis, layers[1], inches=inches, rotation=90)
    label_layers(ax.yaxis, layers[0], inches=inches)
    ax.set_xlabel(f"{names[1]} layer")
    ax.set_ylabel(f"{names[0]} layer")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def colour_bar(
    fig: Figure, image: AxesImage, axes: Sequence[Axes], label: str, *, shrink: float
) -> None:
    """The bar of all maps on ``axes``, which share their scale."""
    # Labels of one width whatever their number: a layout that moves them would not end.
    ticks = MaxNLocator("auto", steps=[2, 5, 10])
    bar = fig.colorbar(image, ax=list(axes), shrink=shrink, pad=0.02, aspect=22, ticks=ticks)
    bar.set_label(label)
    bar.outline.set_visible(False)


def scale_label(kernel: str, estimator: str) -> str:
    """What the colours mean."""
    name, _, fraction = kernel.partition(":")
    name = f"RBF ({fraction} of the median)" if name == "rbf" else name.capitalize()
    return f"{name} CKA ({estimator})"


def dot_handle(name: str) -> Line2D:
    """The entry of a legend for the dots, of columns called ``name``."""
    return Line2D([], [], color="none", **_dot(), label=f"most similar {name} layer")


def _dot() -> dict[str, Any]:
    return {
        "markersize": 0.43 * mpl.rcParams["font.size"],
        "marker": "o",
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.4,
    }
