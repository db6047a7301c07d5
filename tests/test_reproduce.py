"""Papers reproduced: recipes make each thing once, and say what the numbers say."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from driving import run_command

from repsim.errors import UsageError
from repsim.figures import FigureData, PrintedTable
from repsim.figures.papers import PAPERS, Recipe, Workspace, find_recipe
from repsim.figures.papers.claims import exactly, over_seeds
from repsim.figures.papers.grigg2021 import gaussian_check, invariance_check, one_batch_check
from repsim.figures.papers.mao2022 import PUBLISHED, probability_changes
from repsim.figures.papers.production import Log, estimate, make_missing
from repsim.figures.papers.recipe import Analysis, Training
from repsim.figures.papers.report import publish
from repsim.progress import silent
from repsim.results import NullSpaceReport, ProbeCurve, Result
from repsim.training.presets import read_preset


class Stop(Exception):
    """The exception that interrupts a reproduction."""


def recipe_of(paper: str, folder: Path, **options: object) -> Recipe:
    return find_recipe(paper)(Workspace(folder, device="cpu"), "tiny", **options)  # type: ignore[arg-type]


# Verdicts


@pytest.mark.parametrize(
    ("values", "side", "bound", "verdict"),
    [
        ([1.0, 1.1, 0.9], "above", 0.5, "supported"),
        ([1.0, 1.1, 0.9], "above", 0.9, "undecided"),
        ([1.0, 1.1, 0.9], "above", 2.0, "not supported"),
        ([1.0, 1.1, 0.9], "below", 2.0, "supported"),
        ([1.0, 1.1, 0.9], "below", 0.5, "not supported"),
        ([1.0], "above", 0.5, "undecided"),
        ([0.8, 0.8], "above", 0.8, "undecided"),
        ([0.8, 0.8, 0.8], "above", 0.8, "undecided"),
        ([1.0, 1.0], "above", 0.8, "undecided"),
        ([1.0, 1.0, 1.0], "above", 0.8, "supported"),
        ([1.0, 1.0, 1.0], "below", 0.8, "not supported"),
        ([math.nan, 1.0], "above", 0.5, "undecided"),
    ],
)
def test_means_over_seeds_decide_by_their_interval(
    values: list[float], side: str, bound: float, verdict: str
) -> None:
    claim = over_seeds("a", "b", "c", values, side, bound)  # type: ignore[arg-type]
    assert claim.verdict == verdict
    assert claim.seeds == len(values)


def test_the_interval_of_a_claim_is_students() -> None:
    claim = over_seeds("a", "b", "c", [1.0, 2.0, 3.0], "above", 0.0)
    reach = 4.302652729911275 / math.sqrt(3)  # t of two degrees of freedom
    assert (claim.low, claim.high) == pytest.approx((2 - reach, 2 + reach))


def test_without_a_bound_nothing_is_decided() -> None:
    assert over_seeds("a", "b", "c", [1.0, 1.0], None).verdict == "reported"


def test_the_worst_case_decides_what_has_to_hold_of_all() -> None:
    assert exactly("a", "b", "c", [0.1, 0.3], "below", 0.2).verdict == "not supported"
    assert exactly("a", "b", "c", [0.1, 0.2], "below", 0.2).verdict == "supported"
    assert exactly("a", "b", "c", [0.1, 0.3], "above", 0.1).value == 0.1
    for values in ([0.1, math.nan], [math.nan, 0.1], []):
        assert exactly("a", "b", "c", values, "below", 0.2).verdict == "undecided"


def test_a_claim_is_a_line_of_a_table_without_nan() -> None:
    row = exactly("a", "b", "c", [0.1], "below", 0.2).row()
    assert row["low"] == ""
    assert row["value"] == 0.1


# Closed forms


@pytest.mark.parametrize(("n", "p", "limit"), [(256, 2048, 0.889), (50, 5000, 0.990)])
def test_the_biased_estimator_goes_to_its_limit_on_independent_features(
    n: int, p: int, limit: float
) -> None:
    found = gaussian_check(n, p)
    assert found["limit"] == pytest.approx(limit, abs=5e-4)
    assert found["biased"] == pytest.approx(found["limit"], abs=0.01)
    assert abs(found["unbiased"]) < 0.02


def test_identities_of_the_estimators() -> None:
    assert max(invariance_check()) < 1e-12
    assert max(one_batch_check()) < 1e-12


def test_softmax_sees_every_direction_of_the_row_space_but_one() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    features, weight = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((20, 8), (4, 8))
    )
    along, across = probability_changes(features, weight).values()
    assert max(along) < 1e-12
    assert across[-1] > 1e-3
    assert across == sorted(across)


def test_published_differences_are_those_of_the_published_accuracies() -> None:
    table = PUBLISHED["mnist"]
    pairs = zip(table["classifier"], table["discriminator"], strict=True)
    assert [round(c - d, 2) for c, d in pairs] == table["difference"]


# Recipes


@pytest.mark.parametrize("paper", PAPERS)
def test_what_a_thing_is_called_depends_on_its_settings_alone(paper: str, tmp_path: Path) -> None:
    tasks = {task.path.name for task in recipe_of(paper, tmp_path).tasks}
    assert len(tasks) == len(recipe_of(paper, tmp_path).tasks)
    elsewhere = find_recipe(paper)(Workspace(tmp_path / "b", device="auto"), "tiny")
    assert {task.path.name for task in elsewhere.tasks} == tasks
    # More seeds need what fewer have, and something more.
    more = {task.path.name for task in recipe_of(paper, tmp_path, seeds=3).tasks}
    assert tasks < more


@pytest.mark.parametrize("paper", PAPERS)
def test_a_task_comes_after_what_it_needs(paper: str, tmp_path: Path) -> None:
    seen = set()
    for task in recipe_of(paper, tmp_path).tasks:
        assert all(need.path in seen for need in task.needs)
        seen.add(task.path)


def test_a_changed_setting_is_another_run_and_another_result(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    settings = {"data": "digits", "epochs": 1}
    one, other = (
        Training(workspace, "a", "supervised", {**settings, "lr": lr}) for lr in (0.1, 0.2)
    )
    assert one.path != other.path
    results = [
        Analysis(workspace, "r", FigureData, {}, [run], lambda progress: FigureData("", "", []))
        for run in (one, other)
    ]
    assert results[0].path != results[1].path


def test_a_result_is_made_again_when_it_or_its_network_is_another(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, device="cpu")
    panel = PrintedTable("", ["a"], [["b"]])
    run = Training(workspace, "a", "gan", {**read_preset("gan", "tiny"), "epochs": 0})
    result = Analysis(
        workspace, "r", FigureData, {}, [run], lambda progress: FigureData("", "", [panel])
    )
    assert not result.done
    run.make(silent)
    result.make(silent)
    assert result.done
    whole = result.path.read_bytes()
    for damage in (whole[:100], b"{}", ProbeCurve([], 2, 1, 1, "lbfgs")):
        if isinstance(damage, ProbeCurve):
            damage.save(result.path, overwrite=True)
        else:
            result.path.write_bytes(damage)
        assert not result.done
        result.make(silent)
        assert result.done
        assert result.path.read_bytes() == whole
    result.path.with_suffix(".csv").unlink()
    assert not result.done
    result.make(silent)
    checkpoint = run.run.checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes() + b" ")
    assert not result.done
    checkpoint.unlink()
    assert not result.done


def test_a_folder_is_of_one_reproduction_and_one_process(tmp_path: Path) -> None:
    with (
        recipe_of("grigg2021", tmp_path).claim_folder(),
        pytest.raises(UsageError, match="being worked on by another process"),
        recipe_of("grigg2021", tmp_path, seeds=3).claim_folder(),
    ):
        pass
    with (
        pytest.raises(UsageError, match="holds another reproduction .*choose another --output"),
        recipe_of("mao2022", tmp_path).claim_folder(),
    ):
        pass


def test_a_damaged_log_is_begun_anew(tmp_path: Path) -> None:
    recipe = recipe_of("grigg2021", tmp_path)
    (tmp_path / "log.csv").write_text("task,seconds\nbroken")
    log = Log(recipe)
    log.add(recipe.tasks[-1], 2.0)
    log.add(recipe.tasks[-2], 3.0)
    assert [row["seconds"] for row in log.rows()] == ["2.0", "3.0"]


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_scale_has_settings(paper: str, scale: str, tmp_path: Path) -> None:
    recipe = find_recipe(paper)(Workspace(tmp_path), scale)
    runs = [run for group in recipe.runs.values() for run in group]  # type: ignore[attr-defined]
    assert len({run.path for run in runs}) == len(runs) == len({run.key for run in runs})
    assert {run.config.seed for run in runs} == {0, 1, 2}
    assert {run.config.data for run in runs} == {recipe.data}


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
@pytest.mark.parametrize("data", [None, "cifar10"])
def test_nothing_learns_from_what_is_held_out(
    paper: str, scale: str, data: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scale == "tiny" and data is not None:
        pytest.skip("laid out for digits only")
    monkeypatch.setattr(Workspace, "images", lambda *_: range(10))  # which are counted
    recipe = find_recipe(paper)(Workspace(tmp_path), scale, data=data)
    assert not overlap(recipe.known, recipe.held_out)
    for task in recipe.tasks:
        learned = [
            task.settings[key]
            for key in ("split", "heads", "known", "probed")
            if key in task.settings
        ]
        learns = isinstance(task, Training) or task.kind in (ProbeCurve, NullSpaceReport)
        assert len(learned) == int(learns), task.name
        for part in learned:
            assert not overlap(part, recipe.held_out), (task.name, part)
            if paper == "grigg2021":
                assert not overlap(part, recipe.compared), (task.name, part)


def overlap(one: str, other: str) -> bool:
    """True if two splits such as ``train[:200]`` have images in common."""
    (name, low, high), (other_name, other_low, other_high) = map(bounds, (one, other))
    return name == other_name and low < other_high and other_low < high


def bounds(split: str) -> tuple[str, float, float]:
    match = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?", split)
    assert match, split
    return match[1], float(match[2] or 0), float(match[3] or "inf")


def test_what_a_recipe_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe of 'grig2021'; did you mean"):
        find_recipe("grig2021")
    kind = find_recipe("mao2022")
    with pytest.raises(UsageError, match="not laid out for 'folder'; expected mnist or cifar10"):
        kind(Workspace(tmp_path), "small", data="folder")
    with pytest.raises(UsageError, match="asked for 1 seeds; expected at least 2"):
        find_recipe("grigg2021")(Workspace(tmp_path), "tiny", seeds=1)


# Whole reproductions


def contents(folder: Path, *suffixes: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes and path.is_file()
    }


def written(recipe: Recipe) -> dict[Path, int]:
    """The time at which each task finished, by the file that comes last."""
    done = [task for task in recipe.tasks if task.done]
    files = [task.run.checkpoint if isinstance(task, Training) else task.path for task in done]
    return {file: file.stat().st_mtime_ns for file in files}


def claims_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "claims.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_grigg2021_interrupted_anywhere_ends_the_same(tmp_path: Path) -> None:
    """Stopped in a training, in an analysis and between two of them; then whole, in one go."""
    folder = tmp_path / "stopped"
    steps = 0

    def stop_at(share: float) -> object:
        def progress(done: int, total: int, note: str = "") -> None:
            nonlocal steps
            steps += 1
            if done / total > share:
                raise Stop

        return progress

    for share in (0.0, 0.3, 0.7):
        with pytest.raises(Stop):
            make_missing(recipe_of("grigg2021", folder), progress=stop_at(share))  # type: ignore[arg-type]
    made = written(recipe_of("grigg2021", folder))
    assert 0 < len(made) < len(recipe_of("grigg2021", folder).tasks)
    make_missing(recipe_of("grigg2021", folder))
    assert written(recipe_of("grigg2021", folder)).items() > made.items()  # none was made again
    recipe = recipe_of("grigg2021", folder)
    publish(recipe, recipe.claims())

    whole = tmp_path / "whole"
    command = ("reproduce", "grigg2021", "--scale", "tiny", "--device", "cpu")
    assert run_command(*command, "-o", whole) == 0
    ours, theirs = (
        contents(each / "figures", ".json", ".csv", ".png", ".pdf") for each in (folder, whole)
    )
    assert ours == theirs
    assert claims_of(folder) == claims_of(whole)
    check_grigg2021(whole)


def check_grigg2021(folder: Path) -> None:
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-1": ["heatmap"] * 3,
        "figure-2": ["heatmap", "heatmap", "lines"],
        "figure-3": ["lines"] * 3,
        "figure-4": ["heatmap"] * 3,
        "figure-5": ["lines"],
        "estimators": ["lines"],
        "layer-identification": ["lines"],
    }
    for name, data in figures.items():
        for suffix in (".pdf", ".png", ".csv", ".txt"):
            assert (folder / "figures" / f"{name}{suffix}").stat().st_size > 100
        for panel in data.panels:
            for series in getattr(panel, "series", ()):
                assert np.isfinite(series.values).any(), (name, series.label)
    ids = {row["claim"].partition(":")[0] for row in claims_of(folder)}
    assert ids == {"4a", "4b", "4c", "4d", "4e", "4f", "4g"}
    exact = [row["verdict"] for row in claims_of(folder) if row["claim"].startswith("4g")]
    assert exact == ["supported"] * 4
    settings = (folder / "tables" / "settings.csv").read_text().splitlines()
    assert settings[0] == "setting,SimCLR,supervised,untrained"
    assert "temperature,0.5,," in settings


@pytest.mark.slow
def test_mao2022_has_every_panel_and_makes_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mao"
    options = ("--scale", "tiny", "--seeds", 1, "--device", "cpu")
    command = ("reproduce", "mao2022", *options, "-o", folder)
    assert run_command(*command, "--dry-run") == 0
    assert "20 of 20 runs and results are missing" in capsys.readouterr().out
    assert not folder.exists()
    assert run_command(*command) == 0
    assert "2c: classifier ahead" in capsys.readouterr().out
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-2": ["diagram"] * 3,
        "figure-3": ["lines"] * 5,
        "table-2": ["lines"] * 2,
        "softmax-shift": ["lines"],
        "null-space": ["bars"] * 2,
        **{
            f"null-space-{name}-examples": ["strips"] * 2
            for name in ("discriminator", "classifier")
        },
        **{f"null-space-{name}-noise": ["lines"] * 4 for name in ("discriminator", "classifier")},
    }
    sides = [
        f"{n}-{what}" for n in ("discriminator", "classifier") for what in ("examples", "noise")
    ]
    for name in ("null-space", *(f"null-space-{each}" for each in sides)):
        for suffix in (".pdf", ".png", ".csv", ".txt"):
            assert (folder / "figures" / f"{name}{suffix}").stat().st_size > 100
    rows = claims_of(folder)
    exact = [row for row in rows if row["claim"][:2] in ("2a", "2b")]
    assert [row["verdict"] for row in exact] == ["supported"] * 4
    assert {row["claim"][:2] for row in rows} == {f"2{letter}" for letter in "abcdefghi"}
    with (folder / "tables" / "table-1.csv").open() as stream:
        layers = list(csv.DictReader(stream))
    assert [row["kernel"] for row in layers if row["network"] == "generator"] == ["4x4"] * 4
    assert {row["bias"] for row in layers} == {"False"}

    # Another seed leaves what is there; without it nothing is missing.
    assert run_command(*command, "--seeds", 2, "--dry-run", "--json") == 0
    missing = json.loads(capsys.readouterr().out)
    assert {each["task"] for each in missing} >= {"mgan-removed-0-1", "mgan-removed-4-1"}
    assert not any(
        re.search(r"(removed-\d|untrained-discriminator)-0", each["task"]) for each in missing
    )
    assert estimate(recipe_of("mao2022", folder, seeds=1)) == []
    # A figure is drawn again from its own file, in another size.
    figure = folder / "figures" / "table-2.json"
    assert run_command("figure", figure, "--style", "column", "-o", tmp_path / "again") == 0
    assert (tmp_path / "again.pdf").is_file()
