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

from repsim.errors import UsageError
from repsim.figures.layers import boundaries, label_layers
from repsim.figures.style import COLORMAP, styled
from repsim.results import SimilarityMap


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
            image = _draw(ax, result, estimator, dots, inches=0.6 * min(side, height))
            ax.set_title(title)
        shrink = 0.7 if alone else 0.5
        bar = fig.colorbar(image, ax=grid[0].tolist(), shrink=shrink, pad=0.02, aspect=22)
        bar.set_label(f"{_kernel_name(results[0].kernel)} CKA ({estimator})")
        bar.outline.set_visible(False)
        if dots:
            marker = Line2D(
                [], [], color="none", **_dot(), label=f"most similar {results[0].name_b} layer"
            )
            fig.legend(handles=[marker], loc="outside lower center")
    return fig


def _dot() -> dict[str, Any]:
    return {
        "markersize": 0.43 * mpl.rcParams["font.size"],
        "marker": "o",
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 0.4,
    }


def _draw(ax: Axes, result: SimilarityMap, estimator: str, dots: bool, inches: float) -> AxesImage:
    values = np.ma.masked_invalid(result.values(estimator))
    colormap = plt.get_cmap(COLORMAP).with_extremes(bad="0.7")
    image = ax.imshow(
        values,
        origin="lower",
        vmin=0,
        vmax=1,
        cmap=colormap,
        interpolation="nearest",
        aspect="auto",
    )
    ax.set_box_aspect(1)
    for position in boundaries(result.layers_b):
        ax.axvline(position - 0.5, color="white", linewidth=0.6)
    for position in boundaries(result.layers_a):
        ax.axhline(position - 0.5, color="white", linewidth=0.6)
    if dots:
        best = [(j, i) for i, j in enumerate(result.best_match(estimator)) if j is not None]
        if best:
            ax.plot(*zip(*best, strict=True), linestyle="none", **_dot())
    label_layers(ax.xaxis, result.layers_b, inches=inches, rotation=90)
    label_layers(ax.yaxis, result.layers_a, inches=inches)
    ax.set_xlabel(f"{result.name_b} layer")
    ax.set_ylabel(f"{result.name_a} layer")
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _kernel_name(kernel: str) -> str:
    name, _, fraction = kernel.partition(":")
    return f"RBF ({fraction} of the median)" if name == "rbf" else name.capitalize()
