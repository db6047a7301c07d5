"""Feature competition reproduced: its declarations, its numbers, and all of it at scale tiny."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command

from repsim.activations.analyses.signal import Shown
from repsim.activations.harvesting.features import layer_features
from repsim.data import ImageSet, find_set
from repsim.data.sets.two_digits import TwoDigits
from repsim.errors import UsageError
from repsim.figures.papers import find_paper
from repsim.figures.papers.engine import Folder, Reproduction, estimates, rank_correlation
from repsim.figures.papers.engine.page import write_page
from repsim.figures.papers.engine.report import collect
from repsim.figures.papers.engine.training import Training
from repsim.figures.papers.song2017.published import (
    ACCURACY,
    PROBABILITIES,
    SIGNAL,
    WITH,
    WITHOUT,
)
from repsim.figures.papers.song2017.readings import read
from repsim.figures.papers.song2017.runs import CELLS, GRID, SMALL, TINY
from repsim.networks.families.halves import Halves
from repsim.results import ProbeCurve, Result
from repsim.training.loaders import spec_of

PAPER = find_paper("song2017")


def test_published_numbers_are_where_they_belong() -> None:
    assert len(ACCURACY) == len(SIGNAL) == 100
    assert (ACCURACY[0.0, 0.9], ACCURACY[0.9, 0.9]) == (86, 71)
    assert (ACCURACY[0.0, 0.0], ACCURACY[0.9, 0.0], ACCURACY[0.8, 0.0]) == (62, 63, 59)
    assert (SIGNAL[0.0, 0.9], SIGNAL[0.0, 0.5], SIGNAL[0.5, 0.8]) == (2.60, 0.90, 2.07 / 2)
    assert round(rank_correlation(list(SIGNAL.values()), list(ACCURACY.values())), 3) == 0.934
    assert round(WITH["CNN"] - WITHOUT["CNN"], 1) == -16.4


@pytest.mark.parametrize(("scale", "data"), list(PAPER.splits))
def test_every_cell_is_trained_on_pairs_of_its_probabilities(
    scale: str, data: str, tmp_path: Path
) -> None:
    reproduction = Reproduction(PAPER, Folder(tmp_path, device="cpu"), scale, data)
    clean = find_set(data)
    assert isinstance(clean, TwoDigits)
    assert (clean.keep, clean.copy) == (1.0, 0.0)
    trained = {}
    for cell, run in CELLS.items():
        if run in reproduction.trainings:
            step = reproduction.trainings[run][0]
            named = find_set(step.config.data)
            assert isinstance(named, TwoDigits)
            assert (named.base, named.pairs) == (clean.base, clean.pairs)
            assert (step.config.target, step.config.network) == ("left", "halves")
            trained[named.keep, named.copy] = cell
    keeps, copies = GRID[data]
    assert trained == {(keep, copy): (keep, copy) for keep in keeps for copy in copies}


def test_the_small_grid_has_what_its_claims_need() -> None:
    for data, (keeps, copies) in GRID.items():
        assert {0.0, 0.9} <= set(keeps), data
        assert {0.0, 0.5, 0.9} <= set(copies), data
    assert len(GRID[SMALL][0]) >= 4 <= len(GRID[SMALL][1])
    assert set(GRID[TINY][0]) <= set(PROBABILITIES)


def test_a_correlation_of_what_does_not_vary_is_missing() -> None:
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert rank_correlation([1, 2, 3], [2, 4, 9]) == 1


def test_cells_are_measured_once_since_they_differ_in_their_images_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(step: Training) -> estimates._Speed:
        measured.append(step.method)
        return estimates._Speed()

    monkeypatch.setattr(estimates, "_measured", measure)
    read: list[str] = []
    reading = TwoDigits.read

    def count(self: TwoDigits, *args: Any) -> ImageSet:
        read.append(self.name)
        return reading(self, *args)

    monkeypatch.setattr(TwoDigits, "read", count)
    reproduction = Reproduction(PAPER, Folder(tmp_path, device="cpu"), "tiny")
    rows = estimates.estimate(reproduction.steps)
    assert sorted(measured) == ["autoencoder", "gan", "supervised", "wgan"]
    assert {row["unknown"] for row in rows} == {""}
    assert not any("keep" in name or "copy" in name for name in read)  # no cell is composed


@pytest.mark.parametrize("split", ["train", "validation", "test[:7]", "test[3:]"])
def test_an_outline_has_the_facts_of_its_set(split: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("digits", "digits:noise=0.5", "two-digits:base=digits,copy=0.5,keep=0,pairs=40"):
        if name.startswith("digits") and split == "validation":
            continue
        found, outline = (each(name, split) for each in (folder.images, folder.outline))
        assert folder.count(name, split) == len(found)
        assert spec_of(outline, name) == spec_of(found, name)
    with pytest.raises(UsageError, match="goes beyond 'test', which has 40 examples"):
        folder.count("two-digits:pairs=40", "test[:41]")


def test_critic_steps_decide_the_batch_that_is_measured(tmp_path: Path) -> None:
    """A batch of forty is no multiple of three: nothing was known of such a critic."""
    step = Training(Folder(tmp_path, device="cpu"), "w", "wgan", {**TINY_CRITIC, "critic_steps": 3})
    cost = estimates.Estimator().of(step)
    assert not cost.unknown
    assert cost.seconds > 0
    odd = Training(Folder(tmp_path, device="cpu"), "w", "wgan", {**TINY_CRITIC, "critic_steps": 7})
    (row,) = estimates.estimate([odd])
    assert row["unknown"] == "batch_size is 60; expected a multiple of the 7 critic_steps"
    assert row["seconds"] is None


TINY_CRITIC = {"data": TINY, "network": "halves", "batch_size": 60, "epochs": 1, "width": 2}


@pytest.mark.parametrize("alone", [True, False])
def test_readings_of_both_halves_are_the_logit_of_the_critic(alone: bool) -> None:
    torch.manual_seed(0)
    critic = Halves(1, 2, 5, size=(8, 16))
    critic.head = torch.nn.Linear(10, 1, bias=False)
    images = torch.randn(6, 1, 8, 16)
    layers = layer_features(critic, images, ["left", "right"])
    shown = Shown(layers["right"], layers["left"], torch.zeros(6).long())
    weights = critic.head.weight.detach()
    found = read(shown, weights, alone=alone)
    assert (found.given is None) == alone
    left = shown.given @ weights[:, :5].T if found.given is None else found.given
    logit = critic(images).detach()
    torch.testing.assert_close(left + found.layers, logit)


@pytest.mark.slow
def test_song2017_has_every_panel_and_makes_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    command = ("reproduce", "song2017", "--scale", "tiny", "--device", "cpu", "-o", folder)
    assert run_command(*command) == 0
    capsys.readouterr()
    assert run_command(*command, "--dry-run") == 0
    assert "nothing is missing" in capsys.readouterr().out
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-1": ["diagram"] * 2,
        "heatmaps": ["matrix"] * 3,
        "extractors": ["bars"],
        "heads": ["bars"] * 2,
        "halves": ["bars"],
        "signals": ["bars"] * 2,
    }
    with (folder / "claims.csv").open() as stream:
        claims = list(csv.DictReader(stream))
    assert {each["claim"][:2] for each in claims} == {f"0{letter}" for letter in "abcdefghi"}
    (closed,) = (each for each in claims if each["claim"].startswith("0a"))
    assert closed["verdict"] == "supported"
    for each in claims[1:]:
        assert each["verdict"] in ("undecided: needs three", "reported")
        assert math.isfinite(float(each["value"]))
    for each in claims:
        assert ("given left" in each["claim"]) == ("bits open" in each["note"])
    check_evaluations(folder)
    check_remarks({each["claim"] for each in claims})
    page = tmp_path / "docs" / "song2017.md"
    write_page(collect(Reproduction(PAPER, Folder(folder, device="cpu"), "tiny")), page)
    text = page.read_text()
    assert "{{" not in text
    for image in re.findall(r"\((images/.*?)\)", text):
        assert (page.parent / image).is_file()


def check_evaluations(folder: Path) -> None:
    """Each new head reads the frozen halves, for the right label, on held-out pairs."""
    for path in (folder / "results").glob("evaluation-*.json"):
        found = ProbeCurve.load(path)
        assert (found.n_train, found.n_test, found.classes) == (300, 200, 10)
        assert found.provenance["target"] == "right"
        assert found.provenance["test"]["data"] == TINY
        assert [(each.layer, each.solver, each.features) for each in found.entries] == [
            ("features", "sgd:song2017", 16),
            ("features", "lbfgs", 16),
            ("right", "sgd:song2017", 8),
            ("right", "lbfgs", 8),
        ]


def check_remarks(claims: set[str]) -> None:
    """Remarks on the results of other scales name claims that there are."""
    assert PAPER.folder is not None
    for path in PAPER.folder.glob("remarks.*.md"):
        named = re.findall(r"\{\{(?:value|verdict) (.*?)\}\}", path.read_text())
        assert set(named) <= claims
