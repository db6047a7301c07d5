"""Figures of null-space reports: what they draw of real reports, and what is absent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sample_results import number

from repsim import figures, null_space
from repsim.errors import UsageError
from repsim.figures.kinds import figures_of
from repsim.figures.nullspace.alpha import alpha_figure
from repsim.figures.nullspace.examples import strips_figure
from repsim.nullspace.report import with_layers
from repsim.results import Alpha, Examples, NullSpaceReport

D, N, CLASSES = 12, 120, 4
NOISES = ("gaussian 0.5", "gaussian 0.25", "gaussian 1", "salt-and-pepper 0.1")


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def report(out: int, *, control: NullSpaceReport | None = None, seed: int = 0) -> NullSpaceReport:
    """Of a random head with ``out`` outputs, on features with classes and generated ones."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(N) % CLASSES
    centres = 2 * torch.randn(CLASSES, D, generator=rng)

    def features() -> torch.Tensor:
        return centres[labels] + torch.randn(N, D, generator=rng)

    held = features()
    made = null_space(
        features(),
        torch.randn(out, D, generator=rng),
        labels=labels,
        test_features=held,
        test_labels=labels,
        generated=features() + 1,
        generated_labels=labels,
        noisy={
            name: held + float(name.split()[1]) * torch.randn(N, D, generator=rng)
            for name in NOISES
        },
        control=control,
        draws=20,
        resamples=20,
        name="mgan:discriminator",
    )
    keys: dict[str, Any] = {"half": 0.0, "rank": 2, "dim": 8, "chance": 0.75}
    layers = [
        number("layer_energy_centred", "null", v, group, layer=layer, **keys)
        for group in ("all", "generated")
        for layer, v in (("conv1", 0.1), ("conv2", 0.8), ("head", 0.9))
    ]
    epochs = [
        Alpha(
            epoch=float(k),
            alpha_real=9.0 / k,
            alpha_real_cv=1.0 / k,
            alpha_fake=2.0,
            alpha_fake_cv=0.0,
        )
        for k in (1, 2, 3)
    ]
    return replace(with_layers(made, layers), alpha=epochs)


@pytest.fixture(scope="module")
def one() -> NullSpaceReport:
    return report(1, control=report(1, seed=1))


@pytest.fixture(scope="module")
def several() -> NullSpaceReport:
    return report(3)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def drawn(figure: Figure, panel: int, label: str) -> np.ndarray:
    (line,) = [line for line in figure.axes[panel].lines if line.get_label() == label]
    return np.asarray(line.get_ydata(), float)


def test_a_report_draws_all_that_it_has_numbers_for(one: NullSpaceReport) -> None:
    every = ["bars", "strips", "histogram", "noise", "alpha", "layers"]
    assert list(figures.draw(one)) == every
    bare = replace(one, entries=one.entries[:2], examples=Examples(), alpha=[])
    assert list(figures.draw(bare)) == ["bars"]


@pytest.mark.parametrize("style", list(figures.STYLES))
def test_nothing_leaves_the_figure_and_no_labels_meet(style: str, one: NullSpaceReport) -> None:
    from test_figures import faults

    for name, figure in figures.draw(one, style=style).items():
        assert faults(figure) == [], name


def test_bars_have_whiskers_and_the_untrained_network(one: NullSpaceReport) -> None:
    energies, accuracies, told = figures.null_space_bars(one).axes
    diamonds = {ax: [line for line in ax.lines if line.get_marker() == "D"] for ax in (energies,)}
    untrained = [line.get_ydata()[0] for line in diamonds[energies]]
    for quantity, height in zip(("energy", "energy_centred"), untrained, strict=True):
        entry = one.find(quantity, "null")
        assert entry is not None
        assert height == pytest.approx(100 * entry.control)
    whiskers = [c for c in accuracies.containers if type(c).__name__ == "ErrorbarContainer"]
    assert len(whiskers) == 3
    low, high = whiskers[0].lines[2][0].get_segments()[0][:, 1]
    full = one.find("probe", "full", "clean")
    assert full is not None
    assert (low, high) == pytest.approx((100 * full.low, 100 * full.high))
    heights = [patch.get_height() for patch in told.patches]
    parts = [one.value("real_fake_probe", part) for part in ("full", "row", "null")]
    assert heights == pytest.approx([100 * value for value in parts])


def test_bars_of_a_report_of_before_leave_out_what_was_not_measured(one: NullSpaceReport) -> None:
    old = [each for each in one.entries if not each.quantity.startswith("real_fake")]
    assert len(figures.null_space_bars(replace(one, entries=old)).axes) == 2
    # Beside a report that has them, it has a gap.
    assert len(figures.null_space_bars([replace(one, entries=old), one]).axes) == 3


def test_captions_say_what_is_drawn_and_nothing_else(
    one: NullSpaceReport, several: NullSpaceReport
) -> None:
    bare = replace(one, entries=[each for each in one.entries if "probe" not in each.quantity])
    said, alone, unread = (
        {name: made.caption for name, made in figures_of(each).items()}
        for each in (one, several, bare)
    )
    assert said["bars"] == (
        "Energy of the features in the null space of the head, raw and centred; black: chance, "
        "1 - rank / d. Accuracy of probes of the classes and of real against generated images on "
        "all features and on each part; dotted: chance. Whiskers are 95 % intervals, diamonds are "
        "the untrained network. mgan:discriminator, n = 120."
    )
    for name in ("bars", "noise"):
        assert "the untrained network" in said[name]
        assert "untrained" not in alone[name]
        assert "robes" in said[name]
        assert "robes" not in unread[name]


def test_strips_are_the_examples_by_class(one: NullSpaceReport, several: NullSpaceReport) -> None:
    for each, column, label in ((one, "logit", "logit"), (several, "along_ones", "λ")):
        figure = figures.null_space_strips(each)
        shares, scores = figure.axes
        assert scores.get_ylabel().startswith(label)
        for panel, name in ((shares, "null_share"), (scores, column)):
            shown = np.concatenate(
                [line.get_ydata() for line in panel.lines if len(line.get_ydata()) > 2]
            )
            assert sorted(shown) == pytest.approx(sorted(getattr(each.examples, name)))
        assert [t.get_text() for t in shares.get_xticklabels()] == ["0", "1", "2", "3"]
        assert shares.get_xlabel() == "class, or generator"
        assert legend(figure) == ["real", "generated", "median", "chance"]


def test_strips_have_the_names_of_the_classes(several: NullSpaceReport) -> None:
    real = [kind == "real" for kind in several.examples.group]
    names = ("ant", "bee", "cat", "dog")
    named = several.examples.named(names)
    rows = {key: getattr(named, key) for key in ("group", "label", "null_share", "along_ones")}
    alone = {
        key: tuple(value for value, is_real in zip(values, real, strict=True) if is_real)
        for key, values in rows.items()
    }
    both, one_kind = (replace(several, examples=each) for each in (named, replace(named, **alone)))
    shown = [[*strips_figure(each).panels[0].categories] for each in (both, one_kind)]
    assert shown == [["ant, 0", "bee, 1", "cat, 2", "dog, 3"], [*names]]
    assert several.examples.named(("0", "1", "2", "3")) == several.examples


def test_a_dot_stands_at_its_own_class_or_generator(several: NullSpaceReport) -> None:
    """Classes that some kind lacks do not move the others."""
    label = tuple(
        9 if kind == "generated" else each % 2 + 1
        for kind, each in zip(several.examples.group, several.examples.label, strict=True)
    )
    moved = replace(several, examples=replace(several.examples, label=label))
    panel = strips_figure(moved).panels[0]
    assert [*panel.categories] == ["1", "2", "9"]
    assert {each.label: {*each.places} for each in panel.groups} == {
        "real": {0, 1},
        "generated": {2},
    }


def test_examples_without_classes_are_one_strip(one: NullSpaceReport) -> None:
    kinds = replace(one.examples, label=(None,) * len(one.examples))
    ax = figures.null_space_strips(replace(one, examples=kinds)).axes[0]
    assert list(ax.get_xticks()) == []


def test_a_histogram_has_an_area_of_one_for_each_kind(several: NullSpaceReport) -> None:
    figure = figures.score_histogram(several)
    (ax,) = figure.axes
    assert ax.get_xlabel().startswith("λ")
    areas = []
    for patch in ax.patches:
        heights, edges, _ = patch.get_data()  # type: ignore[attr-defined]
        areas.append(np.sum(heights * np.diff(edges)))
    assert areas == pytest.approx([1, 1])
    none = replace(several.examples, along_ones=())
    with pytest.raises(UsageError, match="no logits and no λ"):
        figures.score_histogram(replace(several, examples=none))


def test_noise_is_drawn_by_level_with_chance_and_control(one: NullSpaceReport) -> None:
    figure = figures.noise_curves(one)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["(a) gaussian", "(b) salt and pepper"]
    levels = [f"gaussian {level}" for level in ("0.25", "0.5", "1")]
    entries = [one.find("noise_share", "row", level) for level in levels]
    for label, key in (
        ("row space", "value"),
        ("untrained", "control"),
        ("random subspaces", "chance"),
    ):
        assert list(drawn(figure, 0, label)) == [getattr(entry, key) for entry in entries if entry]
    probes = [one.find("probe", "null", group) for group in ("clean", *levels)]
    assert drawn(figure, 2, "null space") == pytest.approx([100 * p.value for p in probes if p])
    assert legend(figure) == [
        *("row space", "row space, centred", "untrained", "random subspaces", "between classes"),
        *("all features", "null space", "chance"),
    ]
    centred = [one.value("noise_share_centred", "row", level) for level in levels]
    assert list(drawn(figure, 0, "row space, centred")) == centred
    old = [e for e in one.entries if e.quantity != "noise_share_centred"]
    before = replace(one, entries=old)
    assert "row space, centred" not in legend(figures.noise_curves(before))
    said = [figures.figures_of(each)["noise"].caption for each in (one, before)]
    assert ["its mean (not measured)" in each for each in said] == [False, True]
    quiet = [e for e in one.entries if e.quantity != "noise_share"]
    with pytest.raises(UsageError, match="holds no noise"):
        figures.noise_curves(replace(one, entries=quiet))


def test_noise_without_a_level_has_no_curve(one: NullSpaceReport) -> None:
    names = {"gaussian 0.5": "fog", "gaussian 0.25": "my noise v2", "gaussian 1": "rain 1e-2"}
    entries = [replace(e, group=names.get(e.group, e.group)) for e in one.entries]
    figure = figures.noise_curves(replace(one, entries=entries))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["(a) rain", "(b) salt and pepper"]


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ((100.0, 100.0), "each with their own batch statistics"),
        ((math.nan, math.nan), "by mixed batch statistics of real and generated images."),
        (
            (math.nan, 100.0),
            "of real and generated images until epoch 1.",
        ),
    ],
)
def test_alpha_says_which_statistics_it_was_taken_with(
    batches: tuple[float, float], words: str, one: NullSpaceReport
) -> None:
    rows = [replace(row, alpha_batches=n) for row, n in zip(one.alpha, batches, strict=False)]
    assert words in alpha_figure(replace(one, alpha=rows)).caption


def test_alpha_is_drawn_over_epochs_and_zeros_are_left_out(one: NullSpaceReport) -> None:
    figure = figures.alpha_curves(one)
    assert list(drawn(figure, 0, "real")) == [9, 4.5, 3]
    assert np.isnan(drawn(figure, 1, "generated")).all()  # zero has no place on a log axis
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log"]
    with pytest.raises(UsageError, match="no α"):
        figures.alpha_curves(replace(one, alpha=[]))


def test_layers_are_drawn_in_order_against_chance(one: NullSpaceReport) -> None:
    figure = figures.null_space_layers(one)
    assert list(drawn(figure, 0, "real")) == list(drawn(figure, 0, "generated")) == [0.1, 0.8, 0.9]
    assert list(drawn(figure, 0, "1 - rank / dim")) == [0.75] * 3
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["conv1", "conv2", "head"]
    with pytest.raises(UsageError, match="no other layers"):
        figures.null_space_layers(replace(one, entries=one.entries[:3]))


def test_a_report_prints_as_a_table(one: NullSpaceReport) -> None:
    first, *lines = str(one).splitlines()
    assert first.startswith("mgan:discriminator: n = 120, rank 1 of 12")
    assert len(lines) == len(one.summary())
    for (name, entry), line in zip(one.summary(), lines, strict=True):
        assert line.startswith(name)
        assert f"{entry.value:.4g}" in line
        assert f"{entry.control:.4g}" in line
