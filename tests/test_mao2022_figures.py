"""Figures and tables of Mao et al.: converged heads first, noise raw beside centred."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from sample_results import number, probed
from test_mao2022_claims import DISCRIMINATOR, REMOVED, SEEDS, Results, with_reports

from repsim.figures.papers.mao2022 import figures, tables
from repsim.figures.papers.mao2022.analyses import CONTROLS, HEADS
from repsim.figures.papers.mao2022.heads import quality
from repsim.figures.papers.mao2022.runs import NAMES
from repsim.results import FigureData, ProbeCurve

#: The analyses of networks that share nothing.
LAST = [HEADS[name, 4] for name in NAMES]


class Shown(Results):
    """Results that figures can be made of."""

    splits = {"held_out": "test"}  # noqa: RUF012

    def figure(self, name: str, caption: str, panels: Any) -> FigureData:
        return FigureData(name, caption, panels, {})


def head(accuracy: float, seed: int) -> ProbeCurve:
    """A head of each kind: by SGD after two epochs, half of what it converges to."""
    accuracy += 1e-3 * seed
    entries = [
        probed("mgan", "features", 0, accuracy, solver="lbfgs"),
        probed(
            "mgan", "features", 0, accuracy / 2, solver="sgd:mao2022", history=(0.1, accuracy / 2)
        ),
    ]
    return ProbeCurve(entries, classes=10, n_train=80, n_test=20, solver="lbfgs,sgd:mao2022")


@pytest.fixture
def heads() -> Shown:
    made = {
        analysis: [head(0.9 + 0.01 * removed, seed) for seed in range(SEEDS)]
        for (_, removed), analysis in HEADS.items()
    }
    return Shown({**made, CONTROLS: [head(0.5, seed) for seed in range(SEEDS)]})


def test_figure_3_has_converged_heads_beside_the_epochs_of_the_papers(heads: Shown) -> None:
    data = figures.figure_3(heads)
    assert "a head that has converged" in data.caption
    for removed, panel in zip(REMOVED, data.panels, strict=True):
        lines = {line.label: line for line in panel.series}
        assert list(lines) == ["D, SGD", "D, L-BFGS", "C, SGD", "C, L-BFGS"]
        converged = 100 * (0.901 + 0.01 * removed)
        for name in "DC":
            level = lines[f"{name}, L-BFGS"]
            assert level.values == pytest.approx([converged] * 2)
            assert level.look == "reference"
            assert lines[f"{name}, SGD"].values == pytest.approx([10, converged / 2])
            assert level.group == lines[f"{name}, SGD"].group
        low, high = panel.ylim
        assert low < 10 < converged < high


def test_table_2_names_the_heads_that_decide_first(heads: Shown) -> None:
    rows = tables.table_2(heads)
    assert [row["head"] for row in rows] == ["L-BFGS", "SGD"] * len(REMOVED)
    for row in rows:  # the paper's numbers are of its own heads
        assert (row["classifier_published"] == "") == (row["head"] == "L-BFGS")
    accuracies, differences = figures.table_2(heads).panels
    labels = [line.label for line in accuracies.series]
    assert labels[:4] == ["D, L-BFGS", "C, L-BFGS", "D, SGD", "C, SGD"]
    assert [line.label for line in differences.series][:2] == ["L-BFGS", "SGD"]


def test_table_2_and_captions_have_the_heads_that_are_there(heads: Shown) -> None:
    last = {key: value for key, value in heads.made.items() if key is CONTROLS or key in LAST}
    found = Shown(last)
    assert [row["removed"] for row in tables.table_2(found)] == [4, 4]
    assert "0 removed" not in quality(found)
    assert "(C, 4 removed)" in quality(found)


def test_the_table_of_noise_has_raw_beside_centred_shares() -> None:
    moved = [*DISCRIMINATOR, number("noise_shift", "full", 0.9, "gaussian 0.1")]
    other = [replace(each, group="real-fake") for each in moved if "noise" in each.quantity][:1]
    rows = tables.noise(with_reports(discriminator=[*moved, *other]))
    assert [(row["noise"], row["extractor"]) for row in rows] == [
        ("gaussian 0.1", "discriminator"),
        ("real-fake", "discriminator"),
    ]
    numbers = ("row space", "row space, centred", "shift of all images")
    assert [rows[0][key] for key in numbers] == pytest.approx([0.8, 0.1, 0.9], rel=2e-3)
    for key in numbers:
        assert rows[0][f"{key}_low"] < rows[0][key] < rows[0][f"{key}_high"]
    assert all(math.isnan(rows[1][key]) for key in numbers[1:])  # not measured
