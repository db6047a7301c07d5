"""Figures of similarity maps: layers against layers, and counterparts over depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim.errors import UsageError
from repsim.figures.kinds import figures_of
from repsim.figures.layout import panels
from repsim.figures.panels.heatmap import Heatmap
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.style import Style
from repsim.results import SimilarityMap
from repsim.results.figure import FigureData
from repsim.results.images import common_heading, counted
from repsim.results.left_out import left_out


def heatmap(
    result: SimilarityMap,
    *,
    estimator: str = "unbiased",
    style: str | Style = "column",
    dots: bool = True,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """CKA of every pair of layers as colour, from 0 to 1.

    Rows are layers of a, upwards in order of execution; columns are layers of b. A white dot marks
    the most similar layer of b for each layer of a; lines separate block groups. Undefined cells
    are grey.

    Args:
        result: layers of a against layers of b.
        estimator: of the map's values.
        style: the size and the font.
        dots: mark the most similar layers; of a network with itself the most similar other ones.
        limits: values at the ends of the colours, in place of 0 and 1.
        ax: axes of a figure of your own to draw on.
    """
    data = heatmap_figure([result], None, estimator, dots=dots, limits=limits)
    return panels(data, style=style, ax=ax)


def heatmaps(
    results: Sequence[SimilarityMap],
    *,
    titles: Sequence[str] | None = None,
    estimator: str = "unbiased",
    style: str | Style = "page",
    dots: bool = True,
    limits: tuple[float, float] | None = None,
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Several maps side by side under one colour scale, as ``heatmap`` draws one."""
    data = heatmap_figure(results, titles, estimator, dots=dots, limits=limits)
    return panels(data, style=style, ax=ax)


def similarity_curves(
    result: SimilarityMap,
    *,
    estimator: str = "unbiased",
    style: str | Style = "column",
    ax: Axes | None = None,
) -> Figure:
    """For each layer of a: CKA with its counterpart in b, and with the most similar layer of b.

    Of a network with itself, the most similar other layer only; of two augmented copies of the
    images, the same layer only; of classes, CKA with the classes.
    Bands are 95 % intervals, where the map has standard errors of the values shown: over examples,
    or of an average over networks.
    """
    return panels(curves_figure(result, estimator), style=style, ax=ax)


@figures_of.register
def figures_of_map(result: SimilarityMap, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    """Heatmap and curves; of classes, one column, the curve alone."""
    curves = {"curves": curves_figure(result, estimator)}
    if result.comparison == "classes":
        return curves
    return {"heatmap": heatmap_figure([result], estimator=estimator), **curves}


def heatmap_figure(
    results: Sequence[SimilarityMap],
    titles: Sequence[str] | None = None,
    estimator: str = "unbiased",
    *,
    dots: bool = True,
    limits: tuple[float, float] | None = None,
) -> FigureData:
    """Maps as the data of a figure; titled by their examples unless titles are given.

    Raises:
        UsageError: no map, another number of titles, or values that a map does not hold.
    """
    if not results:
        raise UsageError("no map arrived; expected at least one")
    heading = None if titles is None else common_heading(results)
    if titles is None:
        titles = [_title(result) for result in results]
    if len(titles) != len(results):
        raise UsageError(f"{len(titles)} titles arrived for {len(results)} maps; expected one each")
    drawn = [
        replace(
            Heatmap.of(result, title, estimator=estimator, dots=dots),  # type: ignore[arg-type]
            limits=limits,
        )
        for result, title in zip(results, titles, strict=True)
    ]
    first = results[0]
    marked = "other" if first.itself else first.name_b
    dotted = f" Dots: the most similar {marked} layer of each row." if dots else ""
    layers = f"{first.name_a} and {first.name_b} layers ({estimator})"
    caption = f"CKA of {layers}, {_title(first)}.{dotted}{left_out(first.provenance)}"
    return FigureData("Similarity of layers", caption, [*drawn], first.provenance, heading)


def _title(result: SimilarityMap) -> str:
    """The images of a map, their number and augmentations, and the pooling of its layers."""
    return f"{counted(result.provenance, result.n)}{result.pooled}{result.augmented}"


def curves_figure(result: SimilarityMap, estimator: str = "unbiased") -> FigureData:
    """Similarity over the layers of a, as the data of a figure."""
    lines = [
        _line(result, estimator, label, columns)
        for label, columns in _columns(result, estimator).items()
    ]
    lows = [value for each in lines for value in each.values if not np.isnan(value)]
    ends = (min(0.0, 1.05 * min(lows, default=0.0)), 1.02)
    axes = (f"{result.name_a} layer", f"CKA ({estimator})")
    panel = Lines("", *axes, result.layers_a, lines, ylim=ends)
    over = "examples" if result.maps == 1 else "networks"
    bands = "" if lines[0].low is None else f" Bands are 95 % intervals over {over}."
    shown = _title(result)
    caption = f"CKA ({estimator}) over the layers of {result.name_a}, {shown}.{bands}"
    caption += left_out(result.provenance)
    return FigureData("Similarity over depth", caption, [panel], result.provenance, shown)


def _columns(result: SimilarityMap, estimator: str) -> dict[str, tuple[int | None, ...]]:
    """By label of a curve, the column that it shows at each layer of a."""
    rows = tuple(range(len(result.layers_a)))
    if result.comparison == "classes":
        return {"CKA with the classes": (0,) * len(rows)}
    if result.comparison == "views":
        return {"two augmented copies, same layer": rows}
    if result.itself:
        return {"most similar other layer": result.most_similar(estimator)}
    found = {f"most similar {result.name_b} layer": result.best_match(estimator)}
    return found | ({"same layer": rows} if result.layers_a == result.layers_b else {})


def _line(result: SimilarityMap, estimator: str, label: str, columns: Sequence[int | None]) -> Line:
    values = _along(result.values(estimator), columns)
    if result.stderr is None or estimator != "unbiased":
        return Line(label, values)
    low, high = (_along(end, columns) for end in result.interval())
    return Line(label, values, low, high)


def _along(values: np.ndarray, columns: Sequence[int | None]) -> list[float]:
    """The entry of each row in its column; NaN where it has none."""
    return [np.nan if j is None else float(values[i, j]) for i, j in enumerate(columns)]
