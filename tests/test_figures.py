"""Figures by their artists: what is drawn where, labels that do not meet, files that last."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from drawn import leaves, legends_of, meet
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from PIL import Image
from sample_results import number, probed

from repsim import figures
from repsim.errors import DataError, UsageError
from repsim.figures.layer_labels import (
    axis_name,
    boundaries,
    common_part,
    labelled_spans,
    line_height,
    spans,
)
from repsim.figures.style import styled
from repsim.networks import Discriminator, ResNet
from repsim.results import NullSpaceReport, ProbeCurve, SimilarityMap

STYLES = list(figures.STYLES)
SMALL = ("stem", "bg1.b0.odd", "bg1.b0.even", "bg2.b0.odd", "bg2.b0.even", "pooled")
#: Layers as networks name them: few, many in groups, many without groups.
ADDRESSES = {
    "resnet10": tuple(ResNet(1, 10, 1).layer_names()),
    "resnet50": tuple(ResNet(1, 50, 1).layer_names()),
    "dcgan": tuple(Discriminator(1, 1, 1).layer_names()),
    "flat": tuple(f"layer{k}" for k in range(60)),
    "one": ("head",),
    "transformer": (
        "embeddings.dropout",
        *(f"layers.{k}.{part}" for k in range(12) for part in ("attention", "mlp", "norm")),
        "norm",
    ),
    "convolutional": (
        *(f"features.{k}.{part}" for k in range(5) for part in ("conv", "bn")),
        "flatten",
        "fc",
    ),
}


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def similarity(
    layers_a: tuple[str, ...] = SMALL, layers_b: tuple[str, ...] = SMALL, **changes: Any
) -> SimilarityMap:
    rng = np.random.default_rng(len(layers_a))
    values = rng.uniform(-0.1, 1, size=(len(layers_a), len(layers_b)))
    made: dict[str, Any] = {
        "unbiased": values,
        "biased": values**2,
        "n": 10_000,
        "name_a": "simclr",
        "name_b": "supervised",
        "kernel": "linear",
    }
    return SimilarityMap(layers_a, layers_b, **{**made, **changes})


def curve(*networks: str, layers: Any = SMALL, classes: int = 10) -> ProbeCurve:
    """Accuracy rises from 0.1 by 0.01 a layer; ``layers`` may be a dict by network."""
    of = layers if isinstance(layers, dict) else dict.fromkeys(networks, layers)
    entries = [
        probed(name, layer, k, 0.1 + k / 100)
        for name in networks
        for k, layer in enumerate(of[name])
    ]
    return ProbeCurve(entries, classes, n_train=8, n_test=2, solver="lbfgs")


def report(
    name: str = "gan:discriminator",
    *,
    null: float = 0.7,
    probes: dict[str, float] | None = None,
    **changes: Any,
) -> NullSpaceReport:
    """A share ``null`` of the energy in the null space, and probes on parts."""
    found = {"full": 0.9, "row": 0.25, "null": 0.875} if probes is None else probes
    shares = {("energy", "null"): null, ("energy", "row"): 1 - null}
    shares |= {("energy_centred", "null"): 0.8, ("energy_centred", "row"): 0.2}
    made: dict[str, Any] = {
        "n": 50,
        "dim": 128,
        "rank": 1,
        "tolerance": 1e-7,
        "singular_values": [2.0],
        "residual": 1e-16,
        "entries": [
            *(number(quantity, part, value) for (quantity, part), value in shares.items()),
            *(number("probe", part, value, "clean") for part, value in found.items()),
        ],
    }
    return NullSpaceReport(name, **{**made, **changes})


def tick_labels(ax: Axes, which: str) -> dict[float, str]:
    axis = ax.xaxis if which == "x" else ax.yaxis
    return dict(
        zip(axis.get_ticklocs(), (t.get_text() for t in axis.get_ticklabels()), strict=True)
    )


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def named_lines(ax: Axes) -> list[Any]:
    """Lines with a label, without those between groups of layers."""
    return [line for line in ax.lines if not str(line.get_label()).startswith("_")]


def dashes(line: Any) -> str:
    """The stroke of a line, as it was given: its dashes depend on its width."""
    return str(line._unscaled_dash_pattern)


def values_of(line: Any) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


# --- heatmaps


def test_a_heatmap_shows_the_values_from_zero_to_one_upwards() -> None:
    result = similarity(layers_b=SMALL[:4])
    (ax, bar) = figures.heatmap(result).axes
    (image,) = ax.images
    assert np.array_equal(image.get_array(), result.unbiased)
    assert image.get_clim() == (0, 1)
    assert image.origin == "lower"
    assert ax.get_ylim() == (-0.5, 5.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("supervised layer", "simclr layer")
    assert ax.get_title() == "n = 10,000"
    assert bar.get_ylabel() == "Linear CKA (unbiased)"
    assert tick_labels(ax, "x") == dict(enumerate(SMALL[:4]))
    assert tick_labels(ax, "y") == dict(enumerate(SMALL))


def test_a_heatmap_names_its_estimator_and_kernel() -> None:
    figure = figures.heatmap(similarity(kernel="rbf:0.2"), estimator="biased")
    assert figure.axes[1].get_ylabel() == "RBF (0.2 of the median) CKA (biased)"
    assert np.array_equal(figure.axes[0].images[0].get_array(), similarity().biased)


def test_dots_mark_the_best_match_of_every_row() -> None:
    result = similarity()
    figure = figures.heatmap(result)
    (dots,) = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert list(zip(dots.get_ydata(), dots.get_xdata(), strict=True)) == list(
        enumerate(result.best_match())
    )
    assert dots.get_markerfacecolor() == "white"
    assert legend_texts(figure) == ["most similar supervised layer"]
    bare = figures.heatmap(result, dots=False)
    assert not [line for line in bare.axes[0].lines if line.get_marker() == "o"]
    assert legend_texts(bare) == []


def test_undefined_cells_are_grey_and_have_no_dot() -> None:
    values = similarity().unbiased.copy()
    values[1] = np.nan
    ax = figures.heatmap(similarity(unbiased=values)).axes[0]
    (image,) = ax.images
    assert np.array_equal(np.ma.getmaskarray(image.get_array()), np.isnan(values))
    assert tuple(image.cmap.get_bad()) == to_rgba("0.7")
    (dots,) = (line for line in ax.lines if line.get_marker() == "o")
    assert list(dots.get_ydata()) == [0, 2, 3, 4, 5]
    everywhere = figures.heatmap(similarity(unbiased=values * np.nan))
    assert not [line for line in everywhere.axes[0].lines if line.get_marker() == "o"]


def test_lines_lie_between_groups_of_layers() -> None:
    ax = figures.heatmap(similarity(layers_b=("conv1", "conv2", "head.0", "head.1"))).axes[0]
    lines = [line for line in ax.lines if line.get_marker() != "o"]
    vertical = [line.get_xdata()[0] for line in lines if line.get_xdata()[0] == line.get_xdata()[1]]
    horizontal = [
        line.get_ydata()[0] for line in lines if line.get_ydata()[0] == line.get_ydata()[1]
    ]
    assert vertical == [1.5]
    assert horizontal == [0.5, 2.5, 4.5]


def test_several_maps_share_their_scale_and_their_bar() -> None:
    results = [similarity(), similarity(SMALL[:3], SMALL[:2]), similarity(n=4)]
    figure = figures.heatmaps(results, titles=["all", "odd", "even"])
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == ["(a) all", "(b) odd", "(c) even"]
    for ax, result in zip(panels, results, strict=True):
        assert np.array_equal(ax.images[0].get_array(), result.unbiased)
        assert ax.images[0].get_clim() == (0, 1)
    assert bar.get_ylabel() == "Linear CKA (unbiased)"
    untitled = figures.heatmaps(results)
    titles = [ax.get_title() for ax in untitled.axes[:3]]
    assert titles == ["(a) n = 10,000", "(b) n = 10,000", "(c) n = 4"]
    with pytest.raises(UsageError, match="2 titles arrived for 3 maps"):
        figures.heatmaps(results, titles=["all", "odd"])


# --- layers on an axis


def runs(layers: tuple[str, ...]) -> list[tuple[str, int, int]]:
    return [(each.first, each.start, each.stop) for each in spans(layers)]


def test_groups_are_runs_of_the_first_part_of_an_address() -> None:
    assert runs(SMALL) == [("stem", 0, 1), ("bg1", 1, 3), ("bg2", 3, 5), ("pooled", 5, 6)]
    assert boundaries(SMALL) == [1, 3, 5]
    assert boundaries(("conv1", "conv2", "conv3")) == []
    assert runs(()) == []
    assert runs(("head",)) == [("head", 0, 1)]


def test_a_group_of_nearly_all_layers_is_split_where_names_vary() -> None:
    transformer = ADDRESSES["transformer"]
    blocks = [(f"layers.{k}", 1 + 3 * k, 4 + 3 * k) for k in range(12)]
    assert runs(transformer) == [("embeddings", 0, 1), *blocks, ("norm", 37, 38)]
    assert boundaries(transformer) == [*range(1, 38, 3)]
    nested = tuple(f"model.{layer}" for layer in transformer)
    names = [f"model.{name}" for name, _, _ in runs(transformer)]
    assert [name for name, _, _ in runs(nested)] == names


def test_levels_that_all_layers_share_stand_in_the_name_of_the_axis() -> None:
    assert common_part(ADDRESSES["transformer"]) == common_part(("head",)) == ""
    nested = tuple(f"model.encoder.{layer}" for layer in SMALL)
    assert common_part(nested) == "model.encoder"
    assert axis_name("mine layer", nested) == "mine layer in model.encoder"
    assert axis_name("mine layer", SMALL) == "mine layer"
    ax = figures.heatmap(similarity(nested, SMALL)).axes[0]
    assert tick_labels(ax, "y") == dict(enumerate(SMALL))
    assert ax.get_ylabel() == "simclr layer in model.encoder"


@pytest.mark.parametrize("network", ADDRESSES)
@pytest.mark.parametrize("inches", [0.2, 1.0, 2.0, 4.0])
def test_every_layer_lies_under_one_label_and_labels_have_room(network: str, inches: float) -> None:
    layers = ADDRESSES[network]
    with styled("column"):
        found, line = labelled_spans(layers, inches), line_height()
    covered = [k for _, span in found for k in range(span.start, span.stop)]
    assert covered == list(range(len(layers)))
    places = [place * inches / len(layers) for place, _ in found]
    assert all(two - one > 0.999 * line for one, two in pairwise(places))


#: Layers of which the label of the last group makes way for the label before it.
CROWDED = (*(f"features.{k}.{part}" for k in range(13) for part in "abcdef"), "norm", "classifier")


@pytest.mark.parametrize(
    ("classes", "best", "ends", "label"),
    [
        (10, 0.999, (80, 102), "chance (10 %), below the axis"),  # most of the axis would be empty
        (10, 0.45, (0, 60), "chance"),
        (2, 0.999, (0, 102), "chance"),
    ],
)
def test_the_axis_of_probes_fits_and_chance_is_seen_or_said(
    classes: int, best: float, ends: tuple[float, float], label: str
) -> None:
    entries = [probed("a", layer, k, best - 0.02 * k) for k, layer in enumerate(SMALL)]
    entries = [replace(each, low=each.accuracy - 0.03, high=each.accuracy) for each in entries]
    found = ProbeCurve(entries, classes, n_train=8, n_test=200, solver="lbfgs")
    figure = figures.probe_curves(found)
    low, high = figure.axes[0].get_ylim()
    assert ends[0] <= low < 100 * (best - 0.13)
    assert 100 * best < high <= ends[1]
    assert (low == 0) == (ends[0] == 0)
    assert legend_texts(figure) == ["a", label]
    caption = figure.data.caption  # type: ignore[attr-defined]
    assert ("Chance, 10 %, lies below the axis." in caption) == ("below" in label)
    assert (low <= 100 / classes) == (label == "chance")
    assert faults(figure) == []


def test_a_tick_of_curves_stays_at_its_layer_where_its_label_makes_way() -> None:
    ax = figures.probe_curves(curve("mobilenet", layers=CROWDED)).axes[0]
    found = list(ax.get_xticks())
    assert found[:3] == [2.5, 8.5, 14.5]
    assert found[-2:] == [len(CROWDED) - 2, len(CROWDED) - 1]
    assert faults(ax.get_figure()) == []  # type: ignore[arg-type]
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    ticks = ax.transData.transform([(place, 0) for place in found])[:, 0]
    moved = [(box.x0 + box.x1) / 2 - tick for box, tick in zip(boxes, ticks, strict=True)]
    away = [place for place, by in zip(found, moved, strict=True) if abs(by) > 2]
    assert away
    joined = [each.xy[0] for each in ax.texts if each.get_gid() == "leader"]  # type: ignore[attr-defined]
    assert set(away) <= set(joined) <= set(found[-4:])
    assert max(map(abs, moved[1:5])) < 1


def test_labels_of_rows_and_columns_lead_to_their_layers() -> None:
    for sides in ((CROWDED, SMALL), (SMALL, CROWDED)):
        figure = figures.heatmap(similarity(*sides))
        ax = figure.axes[0]
        axis = ax.yaxis if len(sides[0]) > len(sides[1]) else ax.xaxis
        assert list(axis.get_ticklocs()[-2:]) == [len(CROWDED) - 2, len(CROWDED) - 1]
        assert faults(figure) == []


def test_a_map_of_a_transformer_and_a_convolutional_network_names_every_layer() -> None:
    rows, columns = ADDRESSES["transformer"], ADDRESSES["convolutional"]
    figure = figures.heatmap(similarity(rows, columns), style="column")
    ax = figure.axes[0]
    assert tick_labels(ax, "y") == dict(enumerate(rows))
    assert tick_labels(ax, "x") == dict(enumerate(columns))
    assert faults(figure) == []
    flat = figures.heatmap(similarity(columns, rows), style="column")
    assert flat.get_figheight() < figure.get_figheight()
    assert tick_labels(flat.axes[0], "y") == dict(enumerate(columns))
    assert len(tick_labels(flat.axes[0], "x")) == 14  # the blocks, and the layers around them


def test_dots_of_many_rows_stay_apart() -> None:
    many = tuple(f"layers.{k}.{part}" for k in range(12) for part in range(10))
    for rows in (SMALL, ADDRESSES["transformer"], many):
        figure = figures.heatmap(similarity(rows, SMALL), style="column")
        figure.draw_without_rendering()
        ax = figure.axes[0]
        (dots,) = (line for line in ax.lines if line.get_marker() == "o")
        row = 72 * ax.get_window_extent().height / figure.dpi / len(rows)
        assert dots.get_markersize() <= max(1.1 * row, 0.8)


def test_a_network_and_itself_has_dots_and_a_curve_of_other_layers() -> None:
    values = similarity().unbiased.copy()
    np.fill_diagonal(values, 1.0)
    itself = similarity(unbiased=values, name_b="simclr")
    figure = figures.heatmap(itself)
    (dots,) = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    other = np.where(np.eye(6) == 1, -np.inf, values).argmax(1).tolist()
    assert list(dots.get_xdata()) == other == list(itself.most_similar())
    assert legend_texts(figure) == ["most similar other layer"]
    curves = figures.similarity_curves(itself)
    assert legend_texts(curves) == ["most similar other layer"]
    (line,) = named_lines(curves.axes[0])
    assert values_of(line) == pytest.approx(values[range(6), other])
    # Two networks of one name whose layers differ are two networks.
    assert similarity(name_b="simclr").itself == {}
    assert similarity(unbiased=values).itself == {}


def test_many_layers_are_labelled_by_the_middle_of_their_group() -> None:
    layers = ADDRESSES["resnet50"]
    ax = figures.heatmap(similarity(layers, layers), style="column").axes[0]
    found = tick_labels(ax, "x")
    assert list(found.values()) == ["stem", "bg1", "bg2", "bg3", "bg4", "pooled"]
    for at, group in found.items():
        members = [k for k, layer in enumerate(layers) if layer.split(".")[0] == group]
        assert at == (members[0] + members[-1]) / 2


def faults(figure: Figure) -> list[Any]:
    """Tick labels that share more than a pixel; titles, names and legends that leave the figure."""
    figure.draw_without_rendering()
    found: list[Any] = []
    # An axis that shares its labels with another has none of its own.
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        boxes = [
            (label.get_text(), label.get_window_extent())
            for at, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            if label.get_text() and low <= at <= high
        ]
        found += [(one, two) for (one, a), (two, b) in combinations(boxes, 2) if meet(a, b)]
    texts = [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    named = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    named += [("legend", legend.get_window_extent()) for legend in legends_of(figure)]
    return found + [name for name, box in named if leaves(figure, box)]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("network", ADDRESSES)
def test_labels_of_layers_do_not_meet(style: str, network: str) -> None:
    layers = ADDRESSES[network]
    result = similarity(layers, layers)
    for figure in (
        figures.heatmap(result, style=style),
        figures.similarity_curves(result, style=style),
        figures.probe_curves(curve("simclr", "untrained", layers=layers), style=style),
    ):
        assert faults(figure) == []


@pytest.mark.parametrize("style", ["page", "slide"])  # three maps do not fit in a column
@pytest.mark.parametrize("network", ADDRESSES)
def test_labels_of_three_maps_do_not_meet(style: str, network: str) -> None:
    result = similarity(ADDRESSES[network], ADDRESSES[network])
    figure = figures.heatmaps([result] * 3, style=style)
    assert faults(figure) == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("count", [1, 2, 4, 6])
@pytest.mark.parametrize("probes", [{}, {"full": 0.9, "row": 0.2, "null": 0.9}], ids=["", "probed"])
def test_names_of_reports_do_not_meet(style: str, count: int, probes: dict[str, float]) -> None:
    reports = [report(f"mgan-{k}:discriminator", probes=probes) for k in range(count)]
    figure = figures.null_space_bars(reports, style=style)
    assert faults(figure) == []
    for ax in figure.axes:  # nor do the labels leave the bars no room
        assert ax.get_window_extent().height > 0.2 * figure.bbox.height / len(figure.axes)


# --- curves


def test_similarity_curves_show_the_diagonal_and_the_maximum() -> None:
    result = similarity()
    figure = figures.similarity_curves(result)
    (ax,) = figure.axes
    most, same = (line for line in ax.lines if line.get_marker() in ("o", "s"))
    assert values_of(most) == pytest.approx(result.unbiased.max(1))
    assert values_of(same) == pytest.approx(result.unbiased.diagonal())
    assert list(most.get_xdata()) == list(range(6))
    assert legend_texts(figure) == ["most similar supervised layer", "same layer"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("simclr layer", "CKA (unbiased)")
    separators = [line.get_xdata()[0] for line in ax.lines if line not in (most, same)]
    assert separators == [0.5, 2.5, 4.5]


def test_networks_of_other_layers_have_no_same_layer() -> None:
    figure = figures.similarity_curves(similarity(layers_b=SMALL[:3]), estimator="biased")
    assert legend_texts(figure) == ["most similar supervised layer"]
    assert figure.axes[0].get_ylabel() == "CKA (biased)"


def test_the_axis_of_similarity_begins_at_zero_unless_a_value_is_below() -> None:
    values = np.abs(similarity().unbiased)
    assert figures.similarity_curves(similarity(unbiased=values)).axes[0].get_ylim() == (0, 1.02)
    values[2, 2] = -0.2
    below = figures.similarity_curves(similarity(unbiased=values)).axes[0].get_ylim()
    assert below == (pytest.approx(-0.21), 1.02)
    nothing = figures.similarity_curves(similarity(unbiased=values * np.nan))
    assert nothing.axes[0].get_ylim() == (0, 1.02)


def test_a_row_without_values_is_a_gap_in_the_curve() -> None:
    values = similarity().unbiased.copy()
    values[2] = np.nan
    ax = figures.similarity_curves(similarity(unbiased=values)).axes[0]
    (most,) = (line for line in ax.lines if line.get_marker() == "o")
    assert list(np.isnan(values_of(most))) == [k == 2 for k in range(6)]


def bands(figure: Figure) -> list[Any]:
    return list(figure.axes[0].collections)


def test_bands_are_the_intervals_of_the_values_shown() -> None:
    result = similarity(stderr=np.full((6, 6), 0.02))
    figure = figures.similarity_curves(result)
    low, high = result.interval()
    most, same = (line for line in figure.axes[0].lines if line.get_marker() in ("o", "s"))
    columns = [list(map(int, result.best_match())), list(range(6))]  # type: ignore[arg-type]
    assert len(bands(figure)) == 2
    for band, line, at in zip(bands(figure), (most, same), columns, strict=True):
        x, y = band.get_paths()[0].vertices.T
        for k, j in enumerate(at):
            ends = sorted(set(y[x == k].round(12)))
            assert ends == pytest.approx([low[k, j], high[k, j]], abs=1e-9)
        assert to_rgba(line.get_color())[:3] == tuple(band.get_facecolor()[0][:3])
    assert legend_texts(figure) == ["most similar supervised layer", "same layer"]


def test_bands_are_drawn_of_unbiased_values_with_errors_only() -> None:
    assert bands(figures.similarity_curves(similarity())) == []
    with_errors = similarity(stderr=np.full((6, 6), 0.02))
    assert bands(figures.similarity_curves(with_errors, estimator="biased")) == []
    some = similarity(layers_b=SMALL[:3], stderr=np.full((6, 3), 0.02))
    assert len(bands(figures.similarity_curves(some))) == 1


def test_a_row_without_values_is_a_gap_in_the_band() -> None:
    values = similarity().unbiased.copy()
    values[2] = np.nan
    errors = np.where(np.isnan(values), np.nan, 0.02)
    figure = figures.similarity_curves(similarity(unbiased=values, stderr=errors))
    for band in bands(figure):
        x = np.concatenate([path.vertices[:, 0] for path in band.get_paths()])
        assert set(x) == {0, 1, 3, 4, 5}


def test_probe_curves_are_in_per_cent_over_the_same_layers() -> None:
    figure = figures.probe_curves(curve("simclr", "supervised", "simclr-untrained", classes=4))
    (ax,) = figure.axes
    lines = {line.get_label(): line for line in named_lines(ax)}
    assert list(lines) == ["simclr", "supervised", "simclr-untrained", "chance"]
    assert legend_texts(figure) == list(lines)
    for name in ("simclr", "supervised", "simclr-untrained"):
        assert values_of(lines[name]) == pytest.approx(10 + np.arange(6.0))
        assert list(lines[name].get_xdata()) == list(range(6))
    assert list(lines["chance"].get_ydata()) == [25] * 6
    assert len({lines[name].get_marker() for name in list(lines)[:3]}) == 3
    # The control is grey; the trained ones are not.
    grey = {name: len(set(to_rgba(line.get_color())[:3])) == 1 for name, line in lines.items()}
    assert grey == {"simclr": False, "supervised": False, "simclr-untrained": True, "chance": True}
    assert ax.get_ylim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer", "probe accuracy (%)")
    assert list(tick_labels(ax, "x").values()) == list(SMALL)


def test_series_of_probes_are_told_apart() -> None:
    names, solvers = ("simclr", "supervised", "simclr-untrained"), ("lbfgs", "sgd:mao2022", "knn")
    entries = [
        probed(name, layer, depth, 0.5 + 0.01 * seed, solver=solver, labels=labels, seed=seed)
        for name in names
        for solver in solvers
        for labels in (("true", "random") if solver == "lbfgs" else ("true",))
        for seed in (0, 1)
        for depth, layer in enumerate(SMALL)
    ]
    result = ProbeCurve(entries, 10, n_train=80, n_test=20, solver=", ".join(solvers))
    for style in ("column", "page"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a legend that leaves no room for the axes
            figure = figures.probe_curves(result, style=style)
            figure.canvas.draw()
        (ax,) = figure.axes
        lines = [line for line in ax.lines if "," in str(line.get_label())]
        looks = {(line.get_color(), line.get_marker(), dashes(line)) for line in lines}
        assert len(looks) == len(lines) == 12
        assert len({line.get_color() for line in lines}) == 3
        dotted = [line.get_label() for line in lines if line.get_linestyle() == ":"]
        assert all("random labels" in label for label in dotted)
        assert len(dotted) == 3
        assert len(ax.collections) >= 12  # bands
        assert len(ax.containers) == 12  # whiskers
        box = ax.get_window_extent()
        assert box.height > 0.25 * figure.bbox.height
    one = figures.probe_curves(
        replace(result, entries=[e for e in entries if e.network == "simclr"])
    )
    drawn = [line for line in one.axes[0].lines if "," in str(line.get_label())]
    assert len({line.get_color() for line in drawn}) == 3


def test_networks_of_other_layers_are_drawn_over_relative_depth() -> None:
    layers = {"simclr": SMALL, "gan": ("conv1", "conv2", "head"), "linear": ("head",)}
    ax = figures.probe_curves(curve(*layers, layers=layers)).axes[0]
    lines = {line.get_label(): list(line.get_xdata()) for line in named_lines(ax)}
    assert lines["simclr"] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert lines["gan"] == [0, 0.5, 1]
    assert lines["linear"] == [0]
    assert ax.get_xlabel() == "relative depth (0: first layer, 1: last)"


def test_many_networks_have_a_line_each() -> None:
    names = [f"run{k}" for k in range(23)]
    assert len(named_lines(figures.probe_curves(curve(*names), style="page").axes[0])) == 24


# --- null space


def heights(ax: Axes) -> dict[str, list[float]]:
    groups = [each for each in ax.containers if isinstance(each, BarContainer)]
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in groups}


def test_bars_show_energies_chance_and_probes_in_per_cent() -> None:
    figure = figures.null_space_bars([report(), report("c:head", null=0.5, rank=32)])
    energies, accuracies = figure.axes
    assert heights(energies) == {"raw": [pytest.approx(70), 50], "centred": [80, 80]}
    assert heights(accuracies) == {
        "all features": [90, 90],
        "row space": [25, 25],
        "null space": [87.5, 87.5],
    }
    lines = [segment for c in energies.collections for segment in c.get_segments()]
    chance = [line for line in lines if line[0, 1] == line[1, 1]]  # whiskers are upright
    assert [segment[0, 1] for segment in chance] == [pytest.approx(100 * 127 / 128), 75]
    for k, segment in enumerate(chance):  # over the bars of its own report
        assert segment[0, 0] < k < segment[1, 0]
    assert [t.get_text() for t in energies.get_legend().get_texts()].count(
        "chance: 1 - rank / d"
    ) == 1
    assert {t.get_text() for t in energies.get_legend().get_texts()} == {
        "raw",
        "centred",
        "chance: 1 - rank / d",
    }
    for ax in figure.axes:
        assert ax.get_ylim() == (0, 113)
        assert "(%)" in ax.get_ylabel()
    first, second = (label.replace("\n", "") for label in tick_labels(energies, "x").values())
    assert first.startswith("gan:discriminatorrank 1")
    assert second.startswith("c:headrank 32")


def test_reports_without_probes_have_energies_only() -> None:
    figure = figures.null_space_bars(report(probes={}))
    assert len(figure.axes) == 1
    assert list(heights(figure.axes[0])) == ["raw", "centred"]


def test_a_part_without_a_probe_has_no_bar() -> None:
    _, accuracies = figures.null_space_bars(report(probes={"full": 0.5, "row": 0.5})).axes
    assert np.isnan(heights(accuracies)["null space"]).all()
    assert [text.get_text() for text in accuracies.texts] == ["50", "50", ""]


# --- files and styles


def test_every_kind_of_result_is_drawn() -> None:
    kinds = {
        similarity(): {"heatmap", "curves"},
        curve("simclr"): {"curves"},
        report(): {"bars"},
    }
    for result, suffixes in kinds.items():
        assert set(figures.draw(result)) == suffixes
    with pytest.raises(TypeError, match="no figure for a dict"):
        figures.draw({})  # type: ignore[arg-type]


@pytest.mark.parametrize("style", STYLES)
def test_a_style_sets_the_width_and_leaves_the_settings_alone(style: str) -> None:
    before = dict(mpl.rcParams)
    width = figures.STYLES[style]["figure.figsize"][0]
    for result in (similarity(), curve("simclr"), report()):
        for figure in figures.draw(result, style=style).values():
            assert figure.get_figwidth() == width
            label = figure.axes[0].yaxis.label
            assert label.get_size() == figures.STYLES[style]["axes.labelsize"]
    assert dict(mpl.rcParams) == before


def save(stem: Path, **options: Any) -> list[Path]:
    return figures.save(figures.heatmap(similarity()), stem, **options)


def test_a_figure_is_saved_twice_and_closed(tmp_path: Path) -> None:
    figure = figures.heatmap(similarity())
    paths = figures.save(figure, tmp_path / "cka.v1", provenance={"seed": 1})
    names = ["cka.v1.png", "cka.v1.pdf", "cka.v1.txt"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert (
        paths[2].read_text().startswith("Similarity of layers. CKA of simclr and supervised layers")
    )
    assert paths[2].read_text().endswith("\nseed: 1\n")
    assert not plt.fignum_exists(figure.number)
    image = Image.open(paths[0])
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert image.width == round(300 * figures.STYLES["column"]["figure.figsize"][0])
    assert image.info["Description"] == '{"seed": 1}'
    assert image.info["Software"].startswith("repsim ")


@pytest.mark.parametrize(
    ("layers", "turned"),
    [
        ([str(k) for k in range(12)], 0),  # of a Sequential
        ([str(k) for k in range(30)], 90),  # no room
        (["stem", "body", "head"], 90),
    ],
)
def test_names_as_short_as_numbers_stand_upright(layers: list[str], turned: int) -> None:
    line = figures.Line("a", [0.5] * len(layers))
    data = figures.FigureData("f", "", [figures.Lines("", "layer", "y", layers, [line])])
    labels = figures.panels(data, style="column").axes[0].get_xticklabels()
    assert {label.get_rotation() for label in labels} == {turned}


def test_fonts_in_a_pdf_are_truetype_and_text_stays_text(tmp_path: Path) -> None:
    _, pdf, _ = save(tmp_path / "cka")
    content = pdf.read_bytes()
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content
    assert b"/FontFile2" in content


def test_existing_figures_stay_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "cka.pdf").write_text("mine")
    with pytest.raises(UsageError, match="cka.pdf exists already"):
        save(tmp_path / "cka")
    assert [path.name for path in tmp_path.iterdir()] == ["cka.pdf"]
    save(tmp_path / "cka", overwrite=True)
    assert (tmp_path / "cka.pdf").read_bytes().startswith(b"%PDF")


def test_the_same_result_gives_the_same_file(tmp_path: Path) -> None:
    first, second = ([p.read_bytes() for p in save(tmp_path / name)] for name in "ab")
    assert first == second


@pytest.mark.slow
def test_the_same_result_gives_the_same_file_in_another_process(tmp_path: Path) -> None:
    """Whose hashes are others, and so the order of its sets."""
    path, _ = similarity().save(tmp_path / "map.json")
    here, there = tmp_path / "here", tmp_path / "there"
    script = (
        "import sys; from repsim import SimilarityMap, figures\n"
        "for name, figure in figures.draw(SimilarityMap.load(sys.argv[1])).items():\n"
        "    figures.save(figure, f'{sys.argv[2]}/{name}')\n"
    )
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    env = {**os.environ, "PYTHONHASHSEED": seed, "MPLBACKEND": "Agg"}
    subprocess.run([sys.executable, "-c", script, path, there], check=True, env=env)
    for name, figure in figures.draw(SimilarityMap.load(path)).items():
        figures.save(figure, here / name)
    written = [{file.name: file.read_bytes() for file in each.iterdir()} for each in (here, there)]
    assert len(written[0]) == 6
    assert written[0] == written[1]


def test_figures_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="unknown style 'pages'; did you mean 'page'"):
        figures.heatmap(similarity(), style="pages")
    for drawing in (figures.similarity_curves, figures.probe_curves, figures.null_space_bars):
        result: Any = {"probe_curves": curve("a"), "null_space_bars": report()}.get(
            drawing.__name__, similarity()
        )
        with pytest.raises(UsageError, match="unknown style"):
            drawing(result, style="poster")
    with pytest.raises(UsageError, match="no map arrived; expected at least one"):
        figures.heatmaps([])
    with pytest.raises(UsageError, match="no report arrived; expected at least one"):
        figures.null_space_bars([])
    with pytest.raises(UsageError, match="unknown estimator"):
        figures.heatmap(similarity(), estimator="best")
    with pytest.raises(UsageError, match="a map from minibatches has no biased values"):
        figures.similarity_curves(similarity(biased=None), estimator="biased")


# Training


def test_training_curves_have_a_panel_for_each_kind_of_quantity() -> None:
    rows = [
        {
            **{"epoch": k, "loss_d": 1.0 / k, "loss_g": 2.0, "d_real": 0.5, "d_fake": 0.4},
            **{"alpha_real": 10.0**k, "alpha_real_cv": 1.0, "alpha_fake": 1.0},
            **{"classes_seen": 7, "classes_seen.generator0": 3, "images_per_second": 100.0},
        }
        for k in (1, 2, 3)
    ]
    figure = figures.training_curves(rows, style="page")
    panels = {ax.get_ylabel(): ax for ax in figure.axes}
    assert list(panels) == ["loss", "D", "α", "variation of α", "classes seen"]
    lines = {line.get_label(): list(line.get_ydata()) for line in panels["loss"].lines}
    assert lines == {"d": [1.0, 0.5, 1 / 3], "g": [2.0, 2.0, 2.0]}
    assert [line.get_label() for line in panels["D"].lines] == ["real", "generated"]
    assert panels["α"].get_yscale() == "log"
    assert panels["loss"].get_yscale() == "linear"
    of_all, of_one = sorted(panels["classes seen"].lines, key=lambda line: -line.get_zorder())
    assert list(of_all.get_ydata()) == [7, 7, 7]
    assert list(of_one.get_ydata()) == [3, 3, 3]
    assert of_one.get_color() == "0.8"
    (entry,) = panels["classes seen"].get_legend().get_texts()
    assert entry.get_text() == "each generator"
    assert {ax.get_xlabel() for ax in figure.axes} == {"epoch"}


def test_training_curves_of_one_epoch_and_of_none() -> None:
    figure = figures.training_curves([{"epoch": 1, "loss": 2.0, "images_per_second": 9.0}])
    (line,) = figure.axes[0].lines
    assert line.get_marker() == "o"
    for rows in ([], [{"epoch": 1, "images_per_second": 9.0}]):
        with pytest.raises(DataError, match="no metrics to draw"):
            figures.training_curves(rows)
