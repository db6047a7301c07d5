"""What lies in the row space and in the null space of a head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from repsim.errors import UsageError
from repsim.figures.layers import label_layers
from repsim.figures.style import styled
from repsim.results import NullSpaceEntry, NullSpaceReport

#: What the parts of the feature space are called, and the colours of lines and bars for them.
PARTS = {"full": ("all features", "C2"), "row": ("row space", "C3"), "null": ("null space", "C4")}

#: How a level is written, at the end of a noise's name.
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"

#: What the levels of a noise are.
_UNITS = {"gaussian": "standard deviation", "salt-and-pepper": "share of pixels"}

#: How a number of the untrained network is drawn.
_CONTROL: dict[str, Any] = {"color": "0.45", "linestyle": "--"}

#: Width in units of the font size below which two panels do not fit side by side.
_LETTERS = 60

#: Per cent by which a diamond may stand above its bar before the value fits between them.
_NEAR = 10

#: Behind the values on bars, so that the line of chance does not strike them through.
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}


def null_space_figures(report: NullSpaceReport, *, style: str = "page") -> dict[str, Figure]:
    """Every figure that a report has numbers for, by name."""
    drawn = {"bars": null_space_bars(report, style=style)}
    if report.examples:
        drawn["strips"] = null_space_strips(report, style=style)
        if _scores(report) is not None:
            drawn["histogram"] = score_histogram(report, style=style)
    if _noises(report):
        drawn["noise"] = noise_curves(report, style=style)
    if report.alpha:
        drawn["alpha"] = alpha_curves(report, style=style)
    if any(entry.layer is not None and entry.chance > 0 for entry in report.entries):
        drawn["layers"] = null_space_layers(report, style=style)
    return drawn


# --- bars


def null_space_bars(
    reports: NullSpaceReport | Sequence[NullSpaceReport], *, style: str = "page"
) -> Figure:
    """Energy of the features in the null space against chance, and what probes read from each part.

    Left: share of |f|², raw and centred, that the head cannot see; the line is the share
    1 - rank / d of features without direction. Right (in narrow styles, below), where probes were
    trained: their accuracy on the full features, the row-space and the null-space part. Whiskers
    are 95 % intervals, diamonds the untrained network, where the report has one.
    """
    reports = [reports] if isinstance(reports, NullSpaceReport) else list(reports)
    if not reports:
        raise UsageError("no report arrived; expected at least one")
    probed = any(report.probes for report in reports)
    with styled(style) as width:
        fig, axes = _panels(width, 2 if probed else 1, alone=0.42)
        _energies(axes[0], reports)
        if probed:
            _accuracies(axes[1], reports)
        for ax in axes:
            stacked = _is_narrow(width)
            _name(ax, reports, inches=0.8 * width / (1 if stacked else len(axes)))
            ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, borderaxespad=0.2)
    return fig


def _energies(ax: Axes, reports: Sequence[NullSpaceReport]) -> None:
    entries = {
        label: [report.find(quantity, "null") for report in reports]
        for label, quantity in (("raw", "energy"), ("centred", "energy_centred"))
    }
    _grouped(ax, reports, entries, ["C0", "C1"])
    for k, report in enumerate(reports):
        label = "chance: 1 - rank / d" if k == 0 else "_"  # named once
        ax.hlines(100 * (1 - report.chance), k - 0.4, k + 0.4, color="black", lw=1, label=label)
    ax.set_ylabel("energy in the null space (%)")
    ax.set_ylim(0, 104)


def _accuracies(ax: Axes, reports: Sequence[NullSpaceReport]) -> None:
    entries = {
        label: [report.find("probe", part, "clean") for report in reports]
        for part, (label, _) in PARTS.items()
    }
    _grouped(ax, reports, entries, [colour for _, colour in PARTS.values()])
    ax.set_ylabel("probe accuracy (%)")
    ax.set_ylim(0, 104)


def _grouped(
    ax: Axes,
    reports: Sequence[NullSpaceReport],
    series: dict[str, list[NullSpaceEntry | None]],
    colours: Sequence[str],
) -> None:
    width = 0.8 / len(series)
    small = 0.75 * mpl.rcParams["font.size"]
    named = False
    for k, ((label, entries), colour) in enumerate(zip(series.items(), colours, strict=True)):
        offsets = np.arange(len(reports)) + (k - (len(series) - 1) / 2) * width
        value, low, high, control = (
            np.array([_percent(entry, key) for entry in entries])
            for key in ("value", "low", "high", "control")
        )
        ax.bar(offsets, value, 0.92 * width, label=label, color=colour)
        if np.isfinite(low).any():
            ends = np.clip([value - low, high - value], 0, None)
            ax.errorbar(offsets, value, ends, fmt="none", ecolor="0.2", elinewidth=0.8, zorder=4)
        if np.isfinite(control).any():
            ax.plot(
                offsets,
                control,
                "D",
                color="white",
                markeredgecolor="black",
                markersize=3,
                zorder=5,
                label="_" if named else "untrained",
            )
            named = True
        # Above the whisker, and above the diamond where that lies near.
        near = np.where(control - value < _NEAR, control + _NEAR / 4, value)
        tops = np.nan_to_num(np.fmax(np.fmax(value, high), near))
        for x, y, top in zip(offsets, value, tops, strict=True):
            ax.annotate(
                "" if np.isnan(y) else f"{y:.0f}",
                (x, top),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=small,
                bbox=_PLATE,
            )


def _percent(entry: NullSpaceEntry | None, key: str) -> float:
    """A number of an entry in per cent; NaN where there is none."""
    return np.nan if entry is None else 100 * getattr(entry, key)


def _name(ax: Axes, reports: Sequence[NullSpaceReport], inches: float) -> None:
    """Name the groups of bars, upright where they would not fit beside each other."""
    upright = [
        f"{report.name.replace(':', ':' + chr(10))}\nrank {report.rank}/{report.dim}"
        for report in reports
    ]
    labels = [label.replace("-", "-\n") for label in upright]
    size = FontProperties(size=mpl.rcParams["xtick.labelsize"]).get_size_in_points()
    lines = {line for label in labels for line in label.split("\n") if line}
    widest = max(TextPath((0, 0), line, size=size).get_extents().width for line in lines)
    fits = widest + size / 2 < 72 * inches / len(labels)
    ax.set_xticks(range(len(labels)), labels if fits else upright, rotation=0 if fits else 90)
    ax.tick_params(axis="x", length=0)


# --- examples


def null_space_strips(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """Each of some examples by its class: how much of it lies in the null space, and its score.

    The score is the logit of a head with one (its scatter is that of log α), and λ of a head with
    several: how far the example lies along the direction that softmax ignores. Generated images
    stand beside the real ones, by the generator that made them.
    """
    score = _scores(report)
    with styled(style) as width:
        fig, axes = _panels(width, 1 if score is None else 2)
        _strips(axes[0], report, "null_share")
        axes[0].set_ylabel("share of |f|² in the null space")
        axes[0].axhline(1 - report.chance, color="black", linewidth=0.7, linestyle=":")
        if score is not None:
            _strips(axes[1], report, score[0])
            axes[1].set_ylabel(score[1])
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return fig


def score_histogram(report: NullSpaceReport, *, style: str = "column") -> Figure:
    """How the logit of a head with one, or λ of a head with several, is distributed.

    Real and generated images apart; ticks below are the medians of classes or generators.
    """
    score = _scores(report)
    if score is None:
        raise UsageError(f"the report of {report.name} holds no logits and no λ of examples")
    with styled(style) as width:
        fig, ax = plt.subplots(figsize=(width, _height(width)), layout="constrained")
        columns = _columns(report)
        values = np.array(getattr(report.examples, score[0]))
        bins = np.histogram_bin_edges(values[np.isfinite(values)], 40)
        for k, (kind, rows) in enumerate(columns.items()):
            colour = to_hex(f"C{k}")
            ax.hist(
                values[rows],
                bins.tolist(),
                density=True,
                histtype="stepfilled",
                alpha=0.35,
                color=colour,
                label=kind,
            )
            medians = [np.median(values[members]) for members in _classes(report, rows).values()]
            ax.plot(
                medians,
                np.full(len(medians), -0.02 - 0.035 * k),
                "|",
                color=colour,
                markersize=5,
                transform=ax.get_xaxis_transform(),
                clip_on=False,
            )
        ax.set_xlabel(score[1])
        ax.xaxis.labelpad = 6
        ax.tick_params(axis="x", pad=7)
        ax.set_ylabel("density")
        fig.legend(loc="outside upper center", ncols=2)
    return fig


def _scores(report: NullSpaceReport) -> tuple[str, str] | None:
    """The column of scores, and what to call it."""
    for column, label in (("logit", "logit"), ("along_ones", "λ, along the all-ones direction")):
        if getattr(report.examples, column):
            return column, label
    return None


def _columns(report: NullSpaceReport) -> dict[str, np.ndarray]:
    """The rows of each kind of examples."""
    kinds = np.array(report.examples.group)
    return {kind: np.flatnonzero(kinds == kind) for kind in dict.fromkeys(kinds.tolist())}


def _classes(report: NullSpaceReport, rows: np.ndarray) -> dict[Any, np.ndarray]:
    """The rows of each class among them; all as one where there are no labels."""
    labels = [report.examples.label[row] for row in rows]
    known = sorted({label for label in labels if label is not None}) or [None]
    return {
        each: rows[[label == each for label in labels]] if each is not None else rows
        for each in known
    }


def _strips(ax: Axes, report: NullSpaceReport, column: str) -> None:
    """A strip of points a class, real and generated ones beside each other."""
    values = np.array(getattr(report.examples, column))
    rng = np.random.default_rng(0)
    kinds = _columns(report)
    labels: list[Any] = []
    for k, (kind, rows) in enumerate(kinds.items()):
        classes = _classes(report, rows)
        labels = max(labels, list(classes), key=len)
        shift = (k - (len(kinds) - 1) / 2) * 0.4
        x = np.concatenate(
            [
                i + shift + rng.uniform(-0.14, 0.14, len(members))
                for i, members in enumerate(classes.values())
            ]
        )
        y = np.concatenate([values[members] for members in classes.values()])
        look: dict[str, Any] = {"color": to_hex(f"C{k}"), "markersize": 2, "alpha": 0.5}
        ax.plot(x, y, ".", label=kind, rasterized=True, **look)
        middles = [np.nanmedian(values[members]) for members in classes.values()]
        places = np.arange(len(middles)) + shift
        ax.hlines(middles, places - 0.18, places + 0.18, color="black", linewidth=0.9, zorder=3)
    if labels == [None]:
        ax.set_xticks([])
    else:
        step = -(-len(labels) // 20)  # of many classes, some
        ax.set_xticks(range(0, len(labels), step), [str(label) for label in labels[::step]])
        generators = len(kinds) > 1 and None not in _classes(report, kinds["generated"])
        ax.set_xlabel("class, or generator" if generators else "class")


# --- noise


def noise_curves(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """How much of what a noise does to the features the head sees, and what probes still read.

    Above: the row space's share of the energy of the displacement of f, by level of noise; dotted
    the median and shaded the 5th to 95th percentile of random subspaces of its rank; the thin line
    is the share of the displacements between classes. Below: accuracy of probes, trained on clean
    features, on noisy ones. Bands are 95 % intervals, grey dashes the untrained network, below with
    all features.
    """
    noises = _noises(report)
    if not noises:
        raise UsageError(f"the report of {report.name} holds no noise")
    probed = bool(report.probes)
    with styled(style) as width:
        rows = 2 if probed else 1
        fig, grid = plt.subplots(
            rows,
            len(noises),
            figsize=(width, (0.6 if _is_narrow(width) else 0.4) * rows * width),
            layout="constrained",
            squeeze=False,
            sharex="col",
            sharey="row",
        )
        for column, (kind, levels) in enumerate(noises.items()):
            _shares(grid[0, column], report, kind, levels)
            grid[0, column].set_title(kind.replace("-", " "))
            if probed:
                _read(grid[1, column], report, kind, levels)
            grid[-1, column].set_xlabel(_UNITS.get(kind, "level"))
        grid[0, 0].set_ylabel("share in row space")
        if probed:
            grid[1, 0].set_ylabel("probe accuracy (%)")
        named = {}
        for ax in grid[:, 0]:
            named.update(dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True)))
        columns = 2 if _is_narrow(width) else len(named)
        fig.legend(named.values(), named.keys(), loc="outside upper center", ncols=columns)
    return fig


def _noises(report: NullSpaceReport) -> dict[str, list[str]]:
    """Levels of each kind of noise, ascending, as they were written; of a name without a level
    there is no curve."""
    found: dict[str, list[str]] = {}
    for entry in report.entries:
        kind, _, level = entry.group.rpartition(" ")
        if (entry.quantity, entry.part) != ("noise_share", "row") or not kind:
            continue
        if re.fullmatch(_NUMBER, level):
            found.setdefault(kind, []).append(level)
    return {kind: sorted(levels, key=float) for kind, levels in found.items()}


def _shares(ax: Axes, report: NullSpaceReport, kind: str, levels: Sequence[str]) -> None:
    entries = [report.find("noise_share", "row", f"{kind} {level}") for level in levels]
    x = [float(level) for level in levels]
    _band(ax, x, entries, *PARTS["row"])
    _line(ax, x, entries, "control", "untrained", **_CONTROL)
    _line(ax, x, entries, "chance", "chance", color="black", linestyle=":", linewidth=0.8)
    low, high = (_numbers(entries, key) for key in ("chance_low", "chance_high"))
    ax.fill_between(x, low, high, color="0.5", alpha=0.25, linewidth=0)
    between = report.find("displacement_share", "row")
    if between is not None:
        look: dict[str, Any] = {"color": to_hex("C0"), "linewidth": 0.8}
        ax.axhline(between.value, label="between classes", **look)
    ax.set_ylim(bottom=0)


def _read(ax: Axes, report: NullSpaceReport, kind: str, levels: Sequence[str]) -> None:
    x = [0.0, *(float(level) for level in levels)]
    groups = ["clean", *(f"{kind} {level}" for level in levels)]
    for part, (label, colour) in PARTS.items():
        entries = [report.find("probe", part, group) for group in groups]
        if any(entries):
            _band(ax, x, entries, label, colour, scale=100)
            if part == "full":
                _line(ax, x, entries, "control", "untrained", scale=100, **_CONTROL)
    chance = report.find("probe", "full", "clean")
    if chance is not None:
        ax.axhline(100 * chance.chance, color="black", linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 102)


def _numbers(entries: Sequence[NullSpaceEntry | None], key: str) -> np.ndarray:
    return np.array([np.nan if entry is None else getattr(entry, key) for entry in entries])


def _line(
    ax: Axes,
    x: Sequence[float],
    entries: Sequence[NullSpaceEntry | None],
    key: str,
    label: str,
    *,
    scale: float = 1,
    **look: Any,
) -> None:
    y = scale * _numbers(entries, key)
    if np.isfinite(y).any():
        ax.plot(x, y, label=label, **{"linewidth": 1.0, **look})


def _band(
    ax: Axes,
    x: Sequence[float],
    entries: Sequence[NullSpaceEntry | None],
    label: str,
    colour: str,
    *,
    scale: float = 1,
) -> None:
    value, low, high = (scale * _numbers(entries, key) for key in ("value", "low", "high"))
    colour = to_hex(colour)  # now: the file may be written in another style
    ax.plot(x, value, marker="o", markersize=3, color=colour, label=label)
    ax.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)


# --- layers


def null_space_layers(report: NullSpaceReport, *, style: str = "column") -> Figure:
    """What each layer's own weights cannot see of its input: the null space's share of the energy
    of its patches, centred, on real and generated images, against 1 - rank / dim. Layers
    that have no null space are left out.

    Bands are 95 % intervals, grey dashes the untrained network.
    """
    entries = [e for e in report.entries if e.quantity == "layer_energy_centred"]
    # A layer with as many filters as inputs sees everything, whatever the images.
    layers = list(dict.fromkeys(entry.layer for entry in entries if entry.chance > 0))
    if not layers:
        raise UsageError(f"the report of {report.name} holds no other layers")
    with styled(style) as width:
        fig, ax = plt.subplots(figsize=(width, _height(width)), layout="constrained")
        x = list(range(len(layers)))
        for group, label, colour in (("all", "real", "C0"), ("generated", "generated", "C1")):
            found = [report.find("layer_energy_centred", "null", group, at) for at in layers]
            if any(found):
                _band(ax, x, found, label, colour)
            if group == "all":
                _line(ax, x, found, "control", "untrained", **_CONTROL)
                chance = _numbers(found, "chance")
                ax.plot(x, chance, "_", color="black", markersize=9, label="1 - rank / dim")
        label_layers(ax.xaxis, layers, inches=0.85 * width, rotation=90)
        ax.set_xlabel("layer")
        ax.set_ylabel("share of centred energy\nin the null space")
        ax.set_ylim(0, 1.04)
        fig.legend(loc="outside upper center", ncols=2 if _is_narrow(width) else 4)
    return fig


# --- training


def alpha_curves(report: NullSpaceReport, *, style: str = "page") -> Figure:
    """α = p_g / p_r as the discriminator saw it after each epoch: mean, and how much it varies.

    At the optimum without mode collapse it is the same for all real images (Mao et al., Corollaries
    1 to 3), so that its coefficient of variation falls to 0.
    """
    if not report.alpha:
        raise UsageError(f"the report of {report.name} holds no α of training")
    with styled(style) as width:
        fig, axes = _panels(width, 2, alone=0.36)
        epochs = [row.epoch for row in report.alpha]
        for k, kind in enumerate(("real", "fake")):
            for ax, key in zip(axes, (f"alpha_{kind}", f"alpha_{kind}_cv"), strict=True):
                values = np.array([getattr(row, key) for row in report.alpha])
                values[~(np.isfinite(values) & (values > 0))] = np.nan
                label = "real" if kind == "real" else "generated"
                ax.plot(
                    epochs, values, marker="o", markersize=3, color=to_hex(f"C{k}"), label=label
                )
        for ax, label in zip(axes, ("mean α", "coefficient of variation of α"), strict=True):
            ax.set_yscale("log")
            ax.set_xlabel("epoch")
            ax.set_ylabel(label)
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=2)
    return fig


# --- panels


def _is_narrow(width: float) -> bool:
    return width * 72 / mpl.rcParams["font.size"] < _LETTERS


def _height(width: float) -> float:
    """Of a single panel: wide figures are flatter."""
    return 0.25 * width + 1.5


def _panels(width: float, count: int, *, alone: float = 0.42) -> tuple[Figure, list[Axes]]:
    """Panels beside each other, or in narrow styles below."""
    stacked = _is_narrow(width)
    fig, grid = plt.subplots(
        count if stacked else 1,
        1 if stacked else count,
        figsize=(width, (0.62 * count if stacked else alone) * width),
        layout="constrained",
        squeeze=False,
    )
    return fig, list(grid.ravel())
