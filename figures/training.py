"""What training told of itself, epoch by epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repsim.errors import DataError
from repsim.figures.style import styled

#: Columns of ``metrics.csv`` that are no quantities of training.
_SKIPPED = ("epoch", "images_per_second", "classifier_accuracy")
_WORDS = {"alpha": "α", "alpha cv": "variation of α", "d": "D", "c accuracy": "accuracy of C"}


def training_curves(rows: Sequence[Mapping[str, float]], *, style: str = "column") -> Figure:
    """Every quantity of ``metrics.csv`` over epochs, one panel for those of a kind.

    What is told for real and generated images shares a panel, and so do the losses. A quantity of
    each generator is drawn in grey behind that of all. Positive ones that range over more than two
    decades have a logarithmic axis.

    Args:
        rows: one an epoch, as of ``Run.metrics``.
        style: the size.

    Raises:
        DataError: no epoch, or nothing that was measured in one.
    """
    panels: dict[str, list[str]] = {}
    for name in rows[0] if rows else ():
        if name not in _SKIPPED:
            panels.setdefault(_kind(name), []).append(name)
    if not panels:
        raise DataError("there are no metrics to draw; a run has them after its first epoch")
    with styled(style) as width:
        lines = -(-len(panels) // (2 if width < 5 else 3))
        columns = -(-len(panels) // lines)  # as even as can be
        fig, axes = plt.subplots(
            lines,
            columns,
            figsize=(width if len(panels) > 1 else min(width, 3.3), lines * 0.75 * width / columns),
            layout="constrained",
            squeeze=False,
        )
        for ax, (kind, names) in zip(axes.flat, panels.items(), strict=False):
            _panel(ax, rows, kind, names)
        for ax in axes.flat[len(panels) :]:
            ax.remove()
        fig.supxlabel("epoch", size="medium")
    return fig


def _kind(name: str) -> str:
    """What a quantity is of, whichever images, network or generator it was measured on."""
    plain = re.sub(r"_(real|fake)(?=_|$)", "", name.partition(".")[0])
    return "loss" if plain.startswith("loss") else plain.replace("_", " ")


def _panel(ax: Axes, rows: Sequence[Mapping[str, float]], kind: str, names: list[str]) -> None:
    epochs = [row["epoch"] for row in rows]
    values = {name: [row[name] for row in rows] for name in names}
    whole = [name for name in names if "." not in name]
    for name in names:
        if name not in whole:
            ax.plot(epochs, values[name], color="0.8", linewidth=0.6, zorder=1)
    for name in whole:
        marker = "o" if len(rows) == 1 else None
        ax.plot(epochs, values[name], label=_label(name, kind), marker=marker)
    flat = [value for each in values.values() for value in each]
    if min(flat) > 0 and max(flat) > 100 * min(flat):
        ax.set_yscale("log")
    else:
        ax.ticklabel_format(useOffset=False)
    if all(float(value).is_integer() for value in flat):
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_ylabel(_WORDS.get(kind, kind))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(whole) > 1:
        ax.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 0.97),
            ncols=len(whole),
            handlelength=1.2,
            columnspacing=1,
            borderpad=0.2,
        )


def _label(name: str, kind: str) -> str:
    """What tells a quantity from the others of its panel."""
    found = re.search(r"_(real|fake)(?=_|$)", name)
    if found:
        return {"real": "real", "fake": "generated"}[found[1]]
    return name.removeprefix(f"{kind}_").replace("_", " ")
