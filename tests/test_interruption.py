"""Ctrl-C tells the truth: the state that it leaves, and a way on that works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import toy_paper
from driving import run_command

import repsim.training.loop as loop
from repsim.cli import demo, harvest
from repsim.training.run import Run

SMALL = ("--split", "train[:100]", "--test", "test[:50]", "--batch-size", 50)
SETTINGS = ("--depth", 10, "--width", 4, "--epochs", 1, *SMALL)


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPSIM_DATA", raising=False)  # hints repeat it
    return tmp_path


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command that is interrupted as soon as it calls ``at``; its remarks on stderr."""

    def run(at: str, *arguments: object) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(at, interrupt)
            capsys.readouterr()
            assert run_command(*arguments) == 130
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return said.err

    return run


def settings_of(run: Run) -> tuple[Any, ...]:
    config = run.describe()["config"]
    return config["depth"], config["width"], config["epochs"]


#: Calls before the configuration is written, and while it is written.
EARLY = ("repsim.training.loop.open_images", "repsim.training.loop._describe")


@pytest.mark.parametrize("at", EARLY)
def test_a_training_that_left_nothing_names_no_run(
    at: str, inside: Path, told: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(at, "train", "supervised", "--name", "early", *SETTINGS)
    assert "stopped before training began; nothing was kept" in said
    assert "--resume" not in said
    assert not Run(inside / "runs" / "early").exists
    assert run_command("train", "supervised", "--name", "early", "--resume") == 2
    assert capsys.readouterr().err == (
        "repsim: error: there is no run 'early' in runs to resume; there are none yet; "
        "leave out --resume to begin one\n"
    )
    assert run_command("train", "supervised", "--name", "early", *SETTINGS) == 0  # "begins again"
    assert settings_of(Run(inside / "runs" / "early")) == (10, 4, 1)


def test_the_hint_of_a_training_is_run_and_keeps_its_settings(
    inside: Path, told: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--runs", inside / "my runs", "--data-dir", inside / "sets")
    at = "repsim.training.loop._Session.train"
    said = told(at, "train", "supervised", "--name", "early", *where, *SETTINGS)
    found = re.search(r"continue with: repsim (.*)", said)
    assert found is not None
    assert run_command(*shlex.split(found[1])) == 0
    run = Run(inside / "my runs" / "early")
    assert run.complete
    assert settings_of(run) == (10, 4, 1)
    said = f"next: repsim harvest early --runs '{inside}/my runs' --data-dir {inside}/sets\n"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("at", EARLY)
def test_a_run_that_was_not_replaced_yet_is_as_it_was(
    at: str, inside: Path, told: Callable[..., str]
) -> None:
    assert run_command("train", "supervised", *SETTINGS) == 0
    run = Run(inside / "runs" / "supervised")
    before = run.checkpoint.read_bytes()
    for other in ((), ("--seed", 1)):  # also where both have the same settings
        said = told(at, "train", "supervised", *SETTINGS, *other, "--overwrite")
        assert "stopped before training began; run 'supervised' is as it was" in said
        assert "--resume" not in said
        assert run.checkpoint.read_bytes() == before
    assert [path.name for path in run.path.parent.iterdir()] == ["supervised"]


def test_a_replacement_that_was_begun_is_resumed(inside: Path, told: Callable[..., str]) -> None:
    assert run_command("train", "supervised", *SETTINGS) == 0
    again = ("train", "supervised", *SETTINGS, "--seed", 1, "--overwrite")
    said = told("repsim.training.loop._Session.train", *again)
    assert "continue with: repsim train supervised --name supervised --resume" in said
    assert run_command("train", "supervised", "--name", "supervised", "--resume") == 0
    assert Run(inside / "runs" / "supervised").describe()["config"]["seed"] == 1


def test_an_interruption_after_the_last_epoch_says_that_the_run_is_finished(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = loop._Session.finish

    def then_stop(session: Any, images: Any) -> None:
        finish(session, images)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Session, "finish", then_stop)
    for replacing in ((), ("--overwrite",)):
        assert run_command("train", "supervised", *SETTINGS, *replacing) == 130
        assert "stopped when run 'supervised' was finished already" in capsys.readouterr().err
    assert Run(inside / "runs" / "supervised").complete


# Harvests


@contextmanager
def stopping(description: str) -> Iterator[Callable[..., None]]:
    """The progress of a command that is interrupted at its second call, if there is one."""
    calls = []

    def progress(done: int, total: int, note: str = "") -> None:
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    yield progress


HARVEST = ("harvest", "supervised", "--split", "test[:100]", "--batch-size", 20)


def test_a_harvest_that_stored_nothing_begins_again(inside: Path, told: Callable[..., str]) -> None:
    assert run_command("train", "supervised", *SETTINGS) == 0
    said = told("repsim.activations.harvesting.harvest._plan", *HARVEST)
    assert "stopped before anything was stored; the same command begins again" in said
    assert "--resume" not in said
    assert run_command(*HARVEST) == 0


def test_a_harvest_that_was_begun_is_resumed(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("train", "supervised", *SETTINGS) == 0
    with monkeypatch.context() as patch:
        patch.setattr(harvest, "bar", stopping)
        assert run_command(*HARVEST) == 130
    assert "stopped; the same command with --resume continues" in capsys.readouterr().err
    assert run_command(*HARVEST, "--resume") == 0
    (store,) = (inside / "runs" / "supervised" / "activations").glob("*.h5")
    before = store.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(harvest, "bar", stopping)
        capsys.readouterr()
        assert run_command(*HARVEST, "--overwrite") == 130
    assert "stopped; the same command begins again" in capsys.readouterr().err
    assert store.read_bytes() == before
    assert run_command(*HARVEST, "--overwrite") == 0


# Commands that find their own results again


def test_a_demo_continues(inside: Path, told: Callable[..., str]) -> None:
    runs = {"supervised": ("supervised", {"depth": 10, "width": 4, "epochs": 0})}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "demo_runs", lambda fast: runs)
        said = told("repsim.cli.demo.compare_all", "demo", "--fast")
        assert "stopped; the same command continues" in said
        trained = (inside / "demo-fast" / "runs" / "supervised" / "checkpoint.pt").stat()
        told("repsim.cli.demo.compare_all", "demo", "--fast")
    again = (inside / "demo-fast" / "runs" / "supervised" / "checkpoint.pt").stat()
    assert again.st_mtime_ns == trained.st_mtime_ns


def test_a_reproduction_continues(
    inside: Path, told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repsim.figures.papers.find_paper", lambda name: toy_paper.paper())
    command = ("reproduce", "toy", "--scale", "tiny", "--seeds", 1, "--device", "cpu", "-o", "made")
    said = told("repsim.figures.papers.engine.report.collect", *command)
    assert "stopped; the same command continues" in said
    trained = {path: path.stat().st_mtime_ns for path in inside.rglob("checkpoint.pt")}
    assert trained
    assert run_command(*command) == 0
    assert {path: path.stat().st_mtime_ns for path in inside.rglob("checkpoint.pt")} == trained
