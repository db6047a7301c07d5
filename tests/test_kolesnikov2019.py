"""Pretext tasks by architectures reproduced: its declarations, and all of it at scale tiny."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from driving import run_command

from repsim.figures.papers import find_paper
from repsim.figures.papers.engine import SCALES, Folder, Reproduction, Run
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.engine.found import Missing
from repsim.figures.papers.engine.page import write_page
from repsim.figures.papers.engine.report import collect
from repsim.figures.papers.kolesnikov2019.analyses import PROBES
from repsim.figures.papers.kolesnikov2019.claims import CLAIMS, disagreement
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS
from repsim.figures.papers.kolesnikov2019.inverse import inverse_errors
from repsim.figures.papers.kolesnikov2019.ranks import ranks, tau, taus
from repsim.figures.papers.kolesnikov2019.runs import (
    CELLS,
    LAID_OUT,
    NETWORKS,
    OF_PATCHES,
    SIX,
    TASKS,
    Cell,
)
from repsim.networks.families import find_family
from repsim.networks.image_spec import ImageSpec
from repsim.results import ProbeCurve, ProbeEntry, Result

PAPER = find_paper("kolesnikov2019")


def reproduction(folder: Path, scale: str, data: str | None = None) -> Reproduction:
    return Reproduction(PAPER, Folder(folder, device="cpu"), scale, data, 1)


# --- the grid


@pytest.mark.parametrize("scale", SCALES)
def test_each_scale_trains_its_cells(scale: str, tmp_path: Path) -> None:
    made = reproduction(tmp_path, scale)
    trained = [run for run, steps in made.trainings.items() if steps[0].config.epochs]
    assert len(set(LAID_OUT[scale])) == len(LAID_OUT[scale])
    assert {run.name for run in trained} == {cell.name for cell in LAID_OUT[scale]}
    assert len({run.name for run in made.trainings}) == len(made.trainings)
    if scale in ("small", "long"):  # in order, the cells that decide a claim first
        assert [run.name for run in trained] == [cell.name for cell in LAID_OUT[scale]]
    for analysis, steps in made.computations.items():
        assert all(network.run in made.trainings for network in analysis.networks), steps[0].name


def test_tiny_has_all_tasks_by_all_networks_and_paper_four_widths() -> None:
    assert {*LAID_OUT["tiny"]} >= {Cell(*each) for each in product(TASKS, SIX)}
    assert {*LAID_OUT["paper"]} >= {Cell(*each) for each in product(TASKS, SIX, (4, 8, 12, 16))}
    assert len(LAID_OUT["paper"]) > 100


def test_no_scale_below_paper_looks_at_the_test_images() -> None:
    for (scale, data), splits in PAPER.splits.items():
        looks = any("test" in split for split in splits.values())
        assert looks == (scale == "paper" or data == "digits")


def test_widths_are_the_papers(tmp_path: Path) -> None:
    """16 k channels of residual networks, 8 k of VGG; patches have a last stride of 1."""
    for scale, depth in (("long", 14), ("paper", 50)):
        trainings = reproduction(tmp_path, scale).trainings
        for cell in LAID_OUT[scale]:
            config = trainings[CELLS[cell]][0].config
            family = NETWORKS[cell.network]["network"]
            assert config.network == family
            if family == "nin":
                assert (config.width, config.schedule) == (
                    192 if depth == 50 else 96,
                    "gidaris2018",
                )
                continue
            assert config.width == cell.width * (8 if family == "vgg" else 16)
            assert config.representation == cell.size
            assert (config.schedule, config.weight_decay, config.lr) == (
                "kolesnikov2019",
                1e-4,
                0.1,
            )
            if family != "vgg":
                assert (config.depth, config.last_stride) == (
                    depth,
                    1 + (cell.task not in OF_PATCHES),
                )
                assert getattr(config, "last_relu", True) == ("(-)" not in cell.network)


# --- rankings


def test_ranks_start_with_the_largest() -> None:
    assert ranks([10.0, 30.0, 20.0]) == [3, 1, 2]
    assert ranks([10.0, 30.0, 30.0, math.nan]) == [3, 1, 1, 0]
    assert ranks([math.nan]) == [0]


def test_tau_counts_pairs_in_the_same_order() -> None:
    """(concordant - discordant) / pairs, by hand: of 6 pairs one is the other way round."""
    assert tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert tau([1, 2, 3], [3, 2, 1]) == -1
    assert tau([1, 2, math.nan, 3], [1, 3, 9, 2]) == pytest.approx(1 / 3)
    assert math.isnan(tau([1, 1], [1, 2]))
    rows = {"a": [1, 2, 3], "b": [1, 2, 3], "c": [3, 2, 1]}
    assert taus(rows) == {("a", "b"): 1, ("a", "c"): -1, ("b", "c"): -1}


def test_disagreement_is_of_tasks_beyond_that_of_seeds() -> None:
    up, down = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]
    assert disagreement(np.array([up, up]), np.array([up, up])) == 0
    assert disagreement(np.array([up, down]), np.array([up, down])) == 2
    assert disagreement(np.array([up, down]), np.array([down, up])) == -2


# --- verdicts, on made-up results


class Known:
    """Results of scale ``long`` with three seeds, where accuracies follow a function.

    Args:
        accuracy: gives the accuracy (%) of a probe from cell, tap, solver and share of the labels.
        pretext: gives that of the pretext task from the cell.
    """

    scale, data, words = "long", "cifar10", {}

    def __init__(
        self,
        accuracy: Callable[[Cell, str, str, float], float],
        pretext: Callable[[Cell], float] = lambda cell: 50.0,
    ) -> None:
        self.seeds, self._accuracy, self._pretext = range(3), accuracy, pretext
        self._cells = {PROBES[cell]: cell for cell in LAID_OUT["long"]}
        self.reproduction = SimpleNamespace(trainings=[CELLS[each] for each in LAID_OUT["long"]])

    def __contains__(self, asked: AnalysisOf) -> bool:
        return asked in self._cells

    def __getitem__(self, asked: AnalysisOf) -> list[ProbeCurve]:
        if asked not in self:
            raise Missing(f"it needs {asked.name}")
        return [self._curve(self._cells[asked], seed) for seed in self.seeds]

    def _curve(self, cell: Cell, seed: int) -> ProbeCurve:
        asked = [(tap, "lbfgs", 1.0) for tap in TAPS]
        asked += [(TAPS[-1], "mlp", 1.0), (TAPS[-1], "lbfgs", 0.1), (TAPS[-1], "lbfgs", 0.05)]
        entries = [
            ProbeEntry(
                network=cell.name,
                layer=tap,
                depth=TAPS.index(tap),
                features=1,
                solver=solver,
                label_fraction=share,
                n_train=10,
                accuracy=(self._accuracy(cell, tap, solver, share) + 0.01 * seed) / 100,
            )
            for tap, solver, share in asked
        ]
        return ProbeCurve(entries, 10, 10, 10, "lbfgs, mlp")

    def trained(self, run: Run) -> list[Any]:
        cell = next(each for each, own in CELLS.items() if own is run)
        scored = {"accuracy": self._pretext(cell) / 100}
        return [SimpleNamespace(run=SimpleNamespace(scores=lambda: scored)) for _ in self.seeds]


def verdict(name: str, found: Any) -> str:
    """The verdict on the claim whose name begins so."""
    findings = [
        each for claim in CLAIMS for case in claim.cases(found) for each in _of(case, found)
    ]
    return next(each.verdict for each in findings if each.claim.startswith(name))


def _of(case: Any, found: Any) -> list[Any]:
    try:
        return case.findings(found)
    except Missing as error:
        return case.undecided(found, str(error))


def test_width_and_size_are_judged_by_their_gains() -> None:
    def gains(points: float) -> Known:
        return Known(lambda cell, tap, solver, share: 30 + points * (cell.width + cell.size / 512))

    for points, verdicts in ((3, "supported"), (0, "not supported")):
        found = gains(points)
        assert verdict("1a: width helps, RevNet", found) == verdicts
        assert verdict("1b", found) == verdicts
    assert verdict("1h: width helps with a tenth of the labels, VGG", gains(3)) == "supported"
    assert verdict("1h: width helps with a tenth of the labels, VGG", gains(-3)) == "not supported"


def test_taps_are_judged_by_the_fall_to_the_last() -> None:
    def falling(cell: Cell, tap: str, solver: str, share: float) -> float:
        return 40 - (8 if cell.network == "VGG" and tap == TAPS[-1] else 0)

    assert verdict("1c: VGG degrades", Known(falling)) == "supported"
    assert verdict("1c: RevNet does not", Known(falling)) == "supported"
    level = Known(lambda cell, tap, solver, share: 40.0)
    assert verdict("1c: VGG degrades", level) == "not supported"
    assert verdict("1c: rotation teaches", level) == "undecided"  # no control among these results


def test_pretext_accuracy_ranks_widths_and_does_not_choose_networks() -> None:
    def downstream(cell: Cell, tap: str, solver: str, share: float) -> float:
        return 40 + cell.width - (5 if cell.network == "VGG" else 0)

    def answers(cell: Cell) -> float:  # VGG is best at the pretext task
        return 50 + cell.width + (20 if cell.network == "VGG" else 0)

    found = Known(downstream, answers)
    assert verdict("1d: pretext accuracy ranks widths, RevNet", found) == "supported"
    assert verdict("1d: pretext accuracy does not choose the network, jigsaw", found) == "supported"
    against = Known(downstream, lambda cell: 50.0 - cell.width)
    assert verdict("1d: pretext accuracy ranks widths, RevNet", against) == "not supported"


def test_rankings_are_judged_by_their_correlation() -> None:
    names = list(NETWORKS)

    def alike(cell: Cell, tap: str, solver: str, share: float) -> float:
        return 30.0 + names.index(cell.network) + (5 if solver == "mlp" else 0)

    def opposed(cell: Cell, tap: str, solver: str, share: float) -> float:
        sign = -1 if cell.task == "jigsaw" else 1
        return 30.0 + sign * names.index(cell.network)

    assert verdict("1g: rankings of networks differ", Known(opposed)) == "supported"
    assert verdict("1g: they differ more", Known(opposed)) == "supported"
    assert verdict("1g: rankings of networks differ", Known(alike)) != "supported"
    assert verdict("1e: a linear probe suffices, gain", Known(alike)) == "not supported"
    assert verdict("1e: a linear probe suffices, gain", Known(opposed)) == "supported"
    assert verdict("1e: a linear probe suffices, ranks", Known(opposed)) == "supported"


# --- the inverse


def test_the_inverse_of_every_group_is_measured() -> None:
    torch.manual_seed(0)
    kind = find_family("revnet")
    family = kind(kind.settings(depth=14, width=4))
    network = family.encoder(ImageSpec(3, 10, 16, 16, flips=True)).eval()
    images = torch.randn(4, 3, 16, 16)
    errors = inverse_errors(network, images)
    assert list(errors) == [f"block{k}" for k in range(1, 5)]
    assert all(0 <= error < 1e-5 for error in errors.values())
    group = network.get_submodule("block2")
    group.inverse = lambda y: y  # no inverse at all
    wrong = inverse_errors(network, images)
    assert wrong["block2"] > 0.1
    assert wrong["block3"] == errors["block3"]


# --- all of it


@pytest.mark.slow
def test_kolesnikov2019_has_every_panel_and_makes_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    options = ("--scale", "tiny", "--device", "cpu", "--seeds", 1, "-o", folder)
    command = ("reproduce", "kolesnikov2019", *options)
    assert run_command(*command) == 0
    capsys.readouterr()
    assert run_command(*command, "--dry-run") == 0
    assert "nothing is missing" in capsys.readouterr().out
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "table-3": ["matrix"],
        "rankings": ["matrix"] * 2,
        "depth": ["lines"] * 4,
        "nin": ["lines"],
        "linear-and-mlp": ["scatter"],
        "pretext-and-downstream": ["scatter"] * 4,
        "width-and-size": ["matrix"],
        "few-labels": ["lines"],
        "schedules": ["lines"],
        "tasks-of-revnet": ["matrix"] * 6,
        "networks-of-rotation": ["matrix"] * 3,
        "sharing": ["scatter"],
    }
    table = figures["table-3"].panels[0]
    assert list(table.columns) == [*TASKS, "untrained"]
    assert np.isfinite(np.array(table.values)).sum() == len(TASKS) * len(SIX) + 3 + len(SIX) + 3
    check_claims(folder)
    check_probes(folder)
    page = tmp_path / "docs" / "kolesnikov2019.md"
    write_page(collect(reproduction(folder, "tiny")), page)
    assert "{{" not in page.read_text()


def check_claims(folder: Path) -> None:
    with (folder / "claims.csv").open() as stream:
        claims = list(csv.DictReader(stream))
    assert {each["claim"][:2] for each in claims} >= {f"1{letter}" for letter in "abcdefghi"}
    for each in claims:
        assert each["value"] or "does not lay out" in each["note"] or "pairs" in each["note"], each
    (inverse,) = (each for each in claims if each["claim"].startswith("1i"))
    assert inverse["verdict"] == "supported"


def check_probes(folder: Path) -> None:
    """Every tap by L-BFGS; the last by a perceptron, with few labels, and by SGD."""
    for path in (folder / "results").glob("schedules-*.json"):
        epochs = [len(each.history) for each in ProbeCurve.load(path).entries]
        assert epochs == [0, 70, 160, 520]
    for path in (folder / "results").glob("evaluation-*.json"):
        found = ProbeCurve.load(path)
        assert (found.n_train, found.n_test) == (200, 100)
        kinds = [(each.layer, each.solver, each.label_fraction) for each in found.entries]
        linear = [(tap, "lbfgs", 1.0) for tap in TAPS]
        few = [(TAPS[-1], "lbfgs", share) for share in (0.1, 0.05)]
        assert kinds == [*linear, (TAPS[-1], "mlp", 1.0), *few]
