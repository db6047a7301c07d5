"""Commands, stores and reports say which batch statistics a discriminator was run with."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command
from torch import nn

from repsim.activations import ActivationStore, harvest_run
from repsim.activations.analyses.nullspace import null_space_of_run
from repsim.activations.harvesting.calls import logits_both_ways
from repsim.activations.harvesting.heads import generated_images, head_features, linear_head
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.data import load
from repsim.errors import StoreError, UsageError
from repsim.nullspace.as_trained import calls
from repsim.results import NullSpaceReport, Result
from repsim.training import kept_sides
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Run

SMALL = {"width": 2, "split": "train[:120]", "test": "test[:20]", "epochs": 1, "batch_size": 20}
SETTINGS: dict[str, dict[str, Any]] = {
    "mgan": {"generators": 2, "shared": 0, "lr": 5e-3, "statistics_batches": 10, "sheet": 4},
    "supervised": {"depth": 10},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "runs"
    for method, own in SETTINGS.items():
        values = {"sheet": 0, "coverage": 0, **SMALL, **own}
        train(method, configure(method, values, "test"), folder / method)
    return folder


@pytest.fixture
def inside(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with copies of the runs."""
    shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("activations"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    return tmp_path / "runs"


def features(run: Run, statistics: Any, images: Any) -> torch.Tensor:
    return head_features(run.load_extractor("discriminator", statistics=statistics), images)


# --- stores


def test_a_harvest_is_of_real_images_and_says_so(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("harvest", "mgan:discriminator", "--split", "test[:30]", "--layers", "features")
    assert run_command(*asked) == 0
    assert "real batch statistics" in capsys.readouterr().out
    run, images = Run(inside / "mgan"), ImageLoader(load("digits", "test[:30]"), 30)
    for statistics in ("generated", "mixed"):
        assert run_command(*asked, "--statistics", statistics) == 0
        assert f"{statistics} batch statistics" in capsys.readouterr().out
    stores = {
        "real": "discriminator.digits-test.0-30.h5",
        "generated": "discriminator.generated-statistics.digits-test.0-30.h5",
        "mixed": "discriminator.mixed-statistics.digits-test.0-30.h5",
    }
    for statistics, name in stores.items():
        with ActivationStore(inside / "mgan" / "activations" / name) as store:
            assert store.provenance()["batch_statistics"] == statistics
            stored = torch.from_numpy(store.rows("features", 0, 30))
            torch.testing.assert_close(stored, features(run, statistics, images))


def test_other_networks_have_no_such_record(inside: Path) -> None:
    assert run_command("harvest", "supervised", "--split", "test[:30]") == 0
    with ActivationStore(inside / "supervised/activations/digits-test.0-30.h5") as store:
        assert "batch_statistics" not in store.provenance()
    assert run_command("harvest", "supervised", "--statistics", "real") == 2


def test_a_store_of_mixed_statistics_is_not_taken_for_another(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of earlier versions are: they do not record it."""
    run, images = Run(inside / "mgan"), load("digits", "test[:30]")
    monkeypatch.setattr(Run, "has_sides", False)
    with harvest_run(run, images, extractor="discriminator", layers="features") as store:
        assert "batch_statistics" not in store.provenance()
    monkeypatch.undo()
    monkeypatch.chdir(inside.parent)
    monkeypatch.setattr(sys, "argv", [])
    asked = ("cka", "--a", "mgan:discriminator@features", "--split", "test[:30]")
    assert run_command(*asked) == 1
    told = capsys.readouterr().err.replace("\n", " ")
    assert "was harvested with mixed batch statistics, not those of real images" in told
    assert "harvest it again with --overwrite, or pass --statistics mixed" in told
    assert run_command(*asked, "--statistics", "mixed") == 0
    file = inside / "mgan/activations/discriminator.digits-test.0-30.h5"
    capsys.readouterr()
    assert run_command("cka", "--a", file, "--split", "test[:30]", "--overwrite") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "is of mixed batch statistics" in told


def test_stored_activations_have_the_statistics_that_they_have(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("harvest", "mgan:discriminator", "--split", "test[:30]") == 0
    store = inside / "mgan/activations/discriminator.digits-test.0-30.h5"
    asked = ("cka", "--a", store, "--split", "test[:30]")
    assert run_command(*asked, "--statistics", "real") == 2
    capsys.readouterr()
    assert run_command(*asked) == 0
    assert "mixed batch statistics" not in capsys.readouterr().err


# --- reports


@pytest.fixture(scope="module")
def reports(runs: Path) -> dict[str, NullSpaceReport]:
    run, known, held = Run(runs / "mgan"), load("digits", "train[:60]"), load("digits", "test[:40]")
    options: dict[str, Any] = {"noises": ["gaussian:0.5"], "layer_images": 20}
    return {
        statistics: null_space_of_run(
            run.extractor("discriminator", statistics=statistics), known, held, **options
        )
        for statistics in ("own", "real", "mixed")
    }


def test_a_report_sees_each_image_with_its_own_statistics(
    reports: dict[str, NullSpaceReport], runs: Path
) -> None:
    run, held = Run(runs / "mgan"), load("digits", "test[:40]")
    made = generated_images(run, 20)
    assert made is not None
    head = linear_head(run.load_extractor("discriminator")).weight
    kinds = {"all": ("real", ImageLoader(held, 40)), "generated": ("generated", made.images)}
    for statistics, report in reports.items():
        assert report.provenance["network"]["batch_statistics"] == statistics
        for group, (side, images) in kinds.items():
            chosen = side if statistics == "own" else statistics
            logits = features(run, chosen, images) @ head.T
            assert report.value("called_real", "full", group) == pytest.approx(
                float((logits > 0).double().mean())
            )
            alpha = float((-logits.double()).exp().mean())
            assert report.value("alpha", "row", group) == pytest.approx(alpha, rel=1e-4)
    layer = ("layer_energy", "null", "generated", "conv3.0")
    values = [report.value(*layer) for report in reports.values()]
    assert len(set(values)) == 3


def test_a_report_says_what_the_discriminator_called_real_in_training(
    reports: dict[str, NullSpaceReport],
) -> None:
    for group in ("all", "generated"):
        found = {
            statistics: [
                report.value(quantity, "full", group)
                for quantity in ("called_real", "called_real_by_batch", "called_real_difference")
            ]
            for statistics, report in reports.items()
        }
        for now, then, difference in found.values():
            assert difference == pytest.approx(now - then)
        assert len({each[1] for each in found.values()}) == 1  # whatever reports use
        entry = reports["own"].find("called_real_difference", "full", group)
        assert entry is not None
        assert entry.low <= entry.value <= entry.high
        assert entry.control == entry.control


def test_theorem_1_is_open_unless_the_discriminator_is_the_one_that_was_trained(
    reports: dict[str, NullSpaceReport],
) -> None:
    for report in reports.values():
        calls, theorem = (
            [each for each in report.claims if each.claim == claim]
            for claim in ("as trained", "Theorem 1")
        )
        assert [each.group for each in calls] == ["all", "generated"]
        for each in calls:
            entry = report.find("called_real_difference", "full", each.group)
            assert entry is not None
            assert each.value == abs(entry.value)
            assert (each.side, each.against) == ("below", 0.05)
        if any(each.verdict != "supported" for each in calls):
            assert {each.verdict for each in theorem} == {"undecided"}
            assert all("not the discriminator that was" in each.statement for each in theorem)


def test_generated_images_are_seen_as_real_ones_are_too(
    reports: dict[str, NullSpaceReport],
) -> None:
    for part in ("full", "row", "null"):
        own = reports["own"].find("real_fake_probe", part, "alike")
        assert own is not None
        assert own.value == reports["real"].value("real_fake_probe", part)
        for statistics in ("real", "mixed"):
            assert reports[statistics].find("real_fake_probe", part, "alike") is None


def test_alpha_of_training_says_which_statistics_it_was_taken_with(
    reports: dict[str, NullSpaceReport], tmp_path: Path
) -> None:
    report = reports["own"]
    assert [row.alpha_batches for row in report.alpha] == [10]
    report.save(tmp_path / "report.json")
    again = Result.load(tmp_path / "report.json")
    assert again.alpha == report.alpha
    content = json.loads((tmp_path / "report.json").read_text())
    for row in content["alpha"]:
        del row["alpha_batches"]
    (tmp_path / "report.json").write_text(json.dumps(content))
    earlier = Result.load(tmp_path / "report.json")
    assert earlier.alpha[0].alpha_batches != earlier.alpha[0].alpha_batches


def test_the_command_names_the_statistics(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("nullspace", "mgan:discriminator", "--noise", "none", "--no-layers", "--no-control")
    parts = ("--split", "train[:60]", "--test-split", "test[:20]")
    assert run_command(*asked, *parts) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "each with the batch statistics of their own side" in told
    assert "of mixed batch statistics" not in told
    rows = (inside / "mgan" / "metrics.csv").read_text().splitlines()
    assert rows[0].split(",")[-2] == "alpha_batches"
    earlier = [",".join([*(cells := row.split(","))[:-2], cells[-1]]) for row in rows]
    (inside / "mgan" / "metrics.csv").write_text("\n".join(earlier) + "\n")
    assert run_command(*asked, *parts, "--statistics", "mixed") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "mixed batch statistics, of real and generated images together" in told
    assert "α over training is of mixed batch statistics" in told
    (result,) = Path("results").glob("*statistics-mixed*.json")
    assert Result.load(result).name == "mgan:discriminator (mixed statistics)"


# --- calls in closed form


class Scaled(nn.Module):
    """One logit: what a normalisation makes of the only pixel."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        assert self.norm.running_mean is not None
        self.norm.running_mean.fill_(mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.flatten(1))


def test_calls_by_batch_are_about_the_mean_of_the_batch() -> None:
    """By their own statistics half of either side is positive; together all of the higher side."""
    networks = {"real": Scaled(0).eval(), "generated": Scaled(0).eval()}
    sides = {"real": torch.tensor([1.0, 3.0] * 4), "generated": torch.tensor([-3.0, -1.0] * 4)}
    images = {side: values.view(8, 1, 1, 1) for side, values in sides.items()}
    apart = logits_both_ways(networks, images, 8)
    assert all((now > 0).all() == (side == "real") for side, (now, _) in apart.items())
    assert [int((then > 0).sum()) for _, then in apart.values()] == [4, 4]
    together = logits_both_ways(networks, images, 8, together=True)
    assert [int((then > 0).sum()) for _, then in together.values()] == [8, 0]
    entries = {(each.quantity, each.group): each for each in calls({"all": apart["real"]})}
    assert entries["called_real", "all"].value == 1
    assert entries["called_real_by_batch", "all"].value == 0.5
    assert entries["called_real_difference", "all"].value == 0.5
    # (1 ± 1) / sqrt(1) about the mean 2, of variance 1
    torch.testing.assert_close(apart["real"][1].abs(), torch.ones(8), rtol=1e-4, atol=0)


def test_images_beyond_the_last_whole_batch_are_left_out() -> None:
    networks = {"real": Scaled(0).eval()}
    for n, kept in ((10, 8), (3, 3)):
        found = logits_both_ways(networks, {"real": torch.randn(n, 1, 1, 1)}, 4)
        assert len(found["real"][0]) == len(found["real"][1]) == kept


def test_a_run_whose_images_are_gone_is_refused_by_commands(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside / "mgan" / "statistics.pt").unlink()
    kept_sides._IN_MEMORY.clear()

    def gone(*_: Any, **__: Any) -> Any:
        raise UsageError("there is no such set")

    monkeypatch.setattr(kept_sides, "open_images", gone)
    asked = ("harvest", "mgan:discriminator", "--split", "test[:30]")
    assert run_command(*asked) == 1
    assert "take --statistics mixed" in capsys.readouterr().err.replace("\n", " ")
    assert run_command(*asked, "--statistics", "mixed") == 0
    with pytest.raises(StoreError, match="statistics='mixed'"):
        Run(inside / "mgan").load_extractor("discriminator")
