"""Values over depth."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim.figures.layers import boundaries, label_layers
from repsim.figures.style import styled
from repsim.results import ProbeCurve, SimilarityMap


def similarity_curves(
    result: SimilarityMap, *, estimator: str = "unbiased", style: str = "column"
) -> Figure:
    """For each layer of a: CKA with its counterpart in b, and with the most similar layer of b.

    Bands are 95 % intervals, where the map has standard errors of the values shown.
    """
    values = result.values(estimator)
    diagonal = result.diagonal(estimator)
    positions = np.arange(len(result.layers_a))
    maximum = [
        np.nan if j is None else values[i, j] for i, j in enumerate(result.best_match(estimator))
    ]
    with styled(style) as width:
        fig, ax = plt.subplots(figsize=(width, 0.72 * width), layout="constrained")
        (line,) = ax.plot(
            positions, maximum, marker="o", label=f"most similar {result.name_b} layer"
        )
        lines = [(line, result.best_match(estimator))]
        if diagonal is not None:
            (line,) = ax.plot(positions, diagonal, marker="s", linestyle="--", label="same layer")
            lines.append((line, tuple(range(len(positions)))))
        if result.stderr is not None and estimator == "unbiased":
            ends = result.interval()
            for line, columns in lines:
                low, high = (
                    [np.nan if j is None else end[i, j] for i, j in enumerate(columns)]
                    for end in ends
                )
                ax.fill_between(
                    positions, low, high, color=line.get_color(), alpha=0.2, linewidth=0
                )
        for position in boundaries(result.layers_a):
            ax.axvline(position - 0.5, color="0.85", linewidth=0.6, zorder=0)
        label_layers(ax.xaxis, result.layers_a, inches=0.85 * width, rotation=90)
        ax.set_xlabel(f"{result.name_a} layer")
        ax.set_ylabel(f"CKA ({estimator})")
        low = np.nanmin([0.0, *(maximum if diagonal is None else [*maximum, *diagonal])])
        ax.set_ylim(min(0.0, 1.05 * low), 1.02)
        fig.legend(loc="outside upper center", ncols=2 if width < 5 else 4)
    return fig


def probe_curves(result: ProbeCurve, *, style: str = "column") -> Figure:
    """Held-out accuracy of a probe at every layer, in per cent, for each network.

    Networks with the same layers share an axis of addresses; otherwise the axis is relative depth,
    from the first layer to the last. Untrained networks are drawn in grey as the control.
    """
    networks = result.networks()
    layouts = {tuple(entry["layer"] for entry in result.of(name)) for name in networks}
    shared = len(layouts) == 1
    with styled(style) as width:
        fig, ax = plt.subplots(
            figsize=(width, min(0.82 * width, 0.3 * width + 2)), layout="constrained"
        )
        greys = cycle(["0.45", "0.7"])
        markers = cycle("osD^vP*X<>")
        for name in networks:
            entries = result.of(name)
            last = max(1, len(entries) - 1)
            x = [k if shared else k / last for k in range(len(entries))]
            y = [100 * entry["accuracy"] for entry in entries]
            control: dict[str, Any] = (
                {"color": next(greys), "linestyle": "--"} if "untrained" in name else {}
            )
            ax.plot(x, y, marker=next(markers), markersize=3, label=name, **control)
        chance = 100 / result.classes
        ax.axhline(chance, color="0.3", linewidth=0.7, linestyle=":", label="chance")
        if shared:
            label_layers(ax.xaxis, next(iter(layouts)), inches=0.85 * width, rotation=90)
            ax.set_xlabel("layer")
        else:
            ax.set_xlabel("relative depth (0: first layer, 1: last)")
        ax.set_ylabel("probe accuracy (%)")
        ax.set_ylim(0, 102)
        fig.legend(loc="outside upper center", ncols=2 if width < 5 else 4)
    return fig
