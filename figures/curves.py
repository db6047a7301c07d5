"""Values over depth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim.figures.layers import boundaries, label_layers
from repsim.figures.style import MARKERS, legend_columns, styled
from repsim.results import ProbeCurve, ProbeSeries, SimilarityMap


def similarity_curves(
    result: SimilarityMap, *, estimator: str = "unbiased", style: str = "column"
) -> Figure:
    """For each layer of a: CKA with its counterpart in b, and with the most similar layer of b.

    Of two augmented copies of the images, the same layer only; of classes, CKA with the classes.
    Bands are 95 % intervals, where the map has standard errors of the values shown.
    """
    positions = np.arange(len(result.layers_a))
    lows = [0.0]
    with styled(style) as width:
        fig, ax = plt.subplots(figsize=(width, 0.72 * width), layout="constrained")
        looks: list[dict[str, Any]] = [{"marker": "o"}, {"marker": "s", "linestyle": "--"}]
        for (label, columns), look in zip(_curves(result, estimator).items(), looks, strict=False):
            along = _along(result.values(estimator), columns)
            (line,) = ax.plot(positions, along, label=label, **look)
            lows += along
            if result.stderr is not None and estimator == "unbiased":
                low, high = (_along(end, columns) for end in result.interval())
                ax.fill_between(
                    positions, low, high, color=line.get_color(), alpha=0.2, linewidth=0
                )
        for position in boundaries(result.layers_a):
            ax.axvline(position - 0.5, color="0.85", linewidth=0.6, zorder=0)
        label_layers(ax.xaxis, result.layers_a, inches=0.85 * width, rotation=90)
        ax.set_xlabel(f"{result.name_a} layer")
        ax.set_ylabel(f"CKA ({estimator})")
        ax.set_ylim(min(0.0, 1.05 * np.nanmin(lows)), 1.02)
        fig.legend(loc="outside upper center", ncols=2 if width < 5 else 4)
    return fig


def _curves(result: SimilarityMap, estimator: str) -> dict[str, tuple[int | None, ...]]:
    """What is drawn over the layers of a: the name of each curve, and its column at each layer."""
    rows = tuple(range(len(result.layers_a)))
    if result.comparison == "classes":
        return {"CKA with the classes": (0,) * len(rows)}
    if result.comparison == "views":
        return {"two augmented copies, same layer": rows}
    found = {f"most similar {result.name_b} layer": result.best_match(estimator)}
    return found | ({"same layer": rows} if result.layers_a == result.layers_b else {})


def _along(values: np.ndarray, columns: Sequence[int | None]) -> list[float]:
    """The entry of each row in its column; NaN where it has none."""
    return [np.nan if j is None else float(values[i, j]) for i, j in enumerate(columns)]


def probe_curves(result: ProbeCurve, *, style: str = "column") -> Figure:
    """Held-out accuracy of probes at every layer, in per cent, a line for each of its series.

    Bands are 95 % intervals over draws of the held-out examples, whiskers standard deviations over
    seeds. Networks with the same layers share an axis of addresses; otherwise the axis is relative
    depth, from the first layer to the last. A network has a colour and a kind of probe a marker;
    where there is one of either, both tell the others apart. Untrained networks are drawn in grey,
    and probes on random labels dotted, as the controls.
    """
    series = result.series()
    layouts = {tuple(point.layer for point in each.points) for each in series}
    shared = len(layouts) == 1
    with styled(style) as width:
        longest = max(len(each.label) for each in series)
        columns = legend_columns(width, longest)
        rows = -(-(len(series) + 1) // columns)
        line = 1.6 * mpl.rcParams["legend.fontsize"] / 72
        height = min(0.82 * width, 0.3 * width + 2) + max(0, rows - 3) * line
        fig, ax = plt.subplots(figsize=(width, height), layout="constrained")
        for each, looks in zip(series, _looks(series), strict=True):
            last = max(1, len(each.points) - 1)
            x = np.array([k if shared else k / last for k in range(len(each.points))])
            y, low, high, sd = (
                100 * np.array([getattr(point, key) for point in each.points])
                for key in ("accuracy", "low", "high", "sd")
            )
            ax.plot(x, y, markersize=3, label=each.label, **looks)
            ax.fill_between(x, low, high, color=looks["color"], alpha=0.15, linewidth=0)
            if np.isfinite(sd).any():
                bars = {"fmt": "none", "ecolor": looks["color"], "elinewidth": 0.7, "capsize": 1.5}
                ax.errorbar(x, y, sd, **bars)
        chance = 100 / result.classes
        ax.axhline(chance, color="0.3", linewidth=0.7, linestyle=(0, (1, 3)), label="chance")
        if shared:
            label_layers(ax.xaxis, next(iter(layouts)), inches=0.85 * width, rotation=90)
            ax.set_xlabel("layer")
        else:
            ax.set_xlabel("relative depth (0: first layer, 1: last)")
        ax.set_ylabel("probe accuracy (%)")
        ax.set_ylim(0, 102)
        fig.legend(loc="outside upper center", ncols=columns)
    return fig


def _looks(series: Sequence[ProbeSeries]) -> list[dict[str, Any]]:
    """Colour, marker and stroke of every series."""
    networks = list(dict.fromkeys(each.network for each in series))
    kinds = list(dict.fromkeys(_kind(each) for each in series))
    palette = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    colours, greys = cycle(palette), cycle(["0.45", "0.7"])
    of_network = {name: next(greys if "untrained" in name else colours) for name in networks}
    of_kind = dict(zip(kinds, cycle(palette), strict=False))
    found = []
    for each in series:
        control = "untrained" in each.network
        by_network = len(networks) > 1 or control
        place = kinds.index(_kind(each)) if len(kinds) > 1 else networks.index(each.network)
        found.append(
            {
                "color": of_network[each.network] if by_network else of_kind[_kind(each)],
                "marker": MARKERS[place % len(MARKERS)],
                "linestyle": ":" if each.labels == "random" else "--" if control else "-",
            }
        )
    return found


def _kind(series: ProbeSeries) -> tuple[str, str, float]:
    return series.solver, series.component, series.label_fraction
