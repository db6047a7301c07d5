"""Every command: JSON for programs, help in groups, words that a shell completes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from driving import run_command

from repsim.cli.grouping import Grouped
from repsim.cli.main import cli

TINY = ("--depth", 10, "--width", 4, "--split", "train[:60]", "--test", "test[:30]")


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command without commands below it, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *path, name)
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(leaves(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json_and_groups_its_options(name: str) -> None:
    command = COMMANDS[name]
    context = click.Context(command, info_name=name)
    options = {opt for each in command.get_params(context) for opt in each.opts}
    assert "--json" in options
    assert isinstance(command, Grouped)
    formatter = context.make_formatter()
    command.format_options(context, formatter)
    lines = formatter.getvalue().splitlines()
    heads = [line.rstrip(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    shown = [each for each in command.get_params(context) if not getattr(each, "hidden", False)]
    listed = [line.split()[0] for line in lines if line.startswith("  -")]
    assert len(listed) == sum(isinstance(each, click.Option) for each in shown)
    if len(listed) >= 8:
        assert len(heads) >= 2
        assert heads[-1] == "Output"
        assert "Options" not in heads
    else:
        assert heads == ["Options"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a series of checkpoints and its store, and a network that was imported."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        series = ("--epochs", 1, "--save-every", 1, "--batch-size", 30)
        assert run_command("train", "supervised", *TINY, *series) == 0
        assert run_command("harvest", "supervised", "--split", "test[:30]") == 0
        Path("activations").mkdir()
        np.savez("mine.npz", **{f"layer.{at}": rng.standard_normal((12, 5)) for at in (1, 2)})
        command = ("import", "mine.npz", "--name", "my.net", "-o", "activations/my.net.h5")
        assert run_command(*command) == 0
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture
def read(inside: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command with ``--json``; its output, which is JSON alone."""

    def run(*arguments: object) -> Any:
        capsys.readouterr()
        assert run_command(*arguments, "--json") == 0
        return json.loads(capsys.readouterr().out)

    return run


# JSON


def test_json_of_trainings_and_harvests(read: Callable[..., Any]) -> None:
    config = read("train", "gan", "--width", 4, "--print-config")
    assert (config["width"], config["network"]) == (4, "dcgan")
    trained = read("train", "supervised", *TINY, "--epochs", 0, "--name", "fresh")
    assert trained["path"] == "runs/fresh"
    assert (trained["method"], trained["epoch"]) == ("supervised", 0)
    assert 0 <= trained["held_out"]["accuracy"] <= 1
    harvest = ("harvest", "fresh", "--split", "test[:20]", "--layers", "head,stem")
    (plan,) = read(*harvest, "--dry-run")
    assert [each["layer"] for each in plan["layers"]] == ["stem", "head"]
    assert plan["bytes"] == sum(each["bytes"] for each in plan["layers"])
    (made,) = read(*harvest)
    assert made["path"] == plan["path"]
    assert (made["n"], made["layers"], made["network"]) == (20, ["stem", "head"], "fresh")
    assert Path(made["path"]).is_file()


def test_json_of_files_that_are_written(read: Callable[..., Any], tmp_path: Path) -> None:
    written = read("export", "my.net", "-o", tmp_path / "arrays")
    assert written
    assert all(Path(each).is_file() for each in written)
    result = tmp_path / "cka.json"
    read("cka", "my.net", "-o", result)
    drawn = read("figure", result, "-o", tmp_path / "again")
    assert str(tmp_path / "again-heatmap.pdf") in drawn
    assert all(Path(each).is_file() for each in drawn)


def test_json_of_image_sets(read: Callable[..., Any], tmp_path: Path) -> None:
    sets = read("data", "list", "--data-dir", tmp_path)
    assert sets["digits"]["state"] == "built in"
    assert sets["digits"]["splits"]["train"] == 1437
    assert sets["mnist"]["state"] == "missing"
    assert sets["mnist"]["missing"]
    assert "keep" in {each["name"] for each in sets["two-digits"]["parameters"]}


def test_the_demo_over_the_folder_of_another_one_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train = ("train", "simclr", *TINY, "--epochs", 0, "--runs", "demo-fast/runs")
    assert run_command(*train) == 0
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert run_command("demo", "--fast") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "demo-fast is of another demo, whose run 'simclr' has other settings" in line
    assert line.endswith("name another folder, -o FOLDER, or remove demo-fast")
    assert sorted(tmp_path.rglob("*")) == before


# Completion


def completed(*words: str) -> list[str]:
    """Words that a shell offers in place of the last one."""
    *before, word = words
    found = ShellComplete(cli, {}, "repsim", "_REPSIM_COMPLETE").get_completions(before, word)
    return [f"{each.type}:{each.value}" if each.type != "plain" else each.value for each in found]


def test_names_are_completed(inside: Path) -> None:
    assert completed("har") == ["harvest"]
    assert completed("harvest", "sup") == ["supervised"]
    assert completed("cka", "supervised", "my") == ["my.net"]
    assert completed("cka", "--a", "my") == ["my.net"]
    assert "supervised" in completed("train", "supervised", "--name", "")
    assert completed("info", "activ") == ["file:activ"]
    assert completed("info", "--runs", "elsewhere", "sup") == ["file:sup"]


def test_papers_are_completed() -> None:
    assert completed("reproduce", "gri") == ["grigg2021"]
    assert "mao2022" in completed("reproduce", "")
    assert completed("reproduce", "nothing") == []


@pytest.mark.parametrize(
    "command", ["cka", "classes", "export", "harvest", "influence", "nullspace", "probe", "signal"]
)
def test_help_names_all_parts_of_a_data_set(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    splits = text.count("split TEXT")
    assert text.count("or all of a folder or file that has no parts") == splits > 0


def test_layers_and_checkpoints_are_completed(inside: Path) -> None:
    assert completed("cka", "supervised@bg4") == ["supervised@bg4.b0.even", "supervised@bg4.b0.odd"]
    assert completed("cka", "my.net@layer") == ["my.net@layer.1", "my.net@layer.2"]
    assert {"supervised@0", "supervised@1", "supervised@all"} < set(completed("cka", "supervised@"))
    assert completed("cka", "supervised@1@st") == ["supervised@1@stem"]
    assert completed("cka", "my.net", "--layers", "odd,layer.1") == ["odd,layer.1"]
    assert completed("cka", "my.net", "supervised", "--layers-b", "po") == ["pooled"]
    assert completed("harvest", "supervised", "--layers", "ev") == ["even"]
    store = "activations/my.net.h5"
    assert completed("export", f"{store}@layer.2") == [f"{store}@layer.2"]


# Content that info shows


@pytest.fixture
def seen(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """The lines that ``repsim info`` takes on a terminal of 80 columns, with its hint."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> list[str]:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        capsys.readouterr()
        assert run_command("info", *arguments) == 0
        told = capsys.readouterr()
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in (told.out + told.err).splitlines()]

    return run


STORE = "runs/supervised/activations/digits-test.0-30.h5"


@pytest.mark.parametrize("target", ["supervised", STORE, "my.net", "r.json", ".", "runs"])
def test_info_is_a_screenful_and_full_is_the_rest(
    target: str, seen: Callable[..., list[str]], inside: Path
) -> None:
    if not (inside / "r.json").exists():
        command = ("cka", "supervised", "--split", "test[:30]", "-o", "r.json")
        assert run_command(*command) == 0
    lines = seen(target)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    full = seen(target, "--full")
    assert "--full shows the rest" not in full
    assert ("--full shows the rest" in lines) == (len(full) > len(lines))


def test_info_shows_the_settings_that_are_not_usual(seen: Callable[..., list[str]]) -> None:
    text = " ".join(" ".join(seen("supervised")).split())
    assert "depth=10, width=4" in text
    assert "weight_decay" not in text
    assert any("weight_decay" in line for line in seen("supervised", "--full"))


def test_info_says_where_a_store_and_a_result_come_from(seen: Callable[..., list[str]]) -> None:
    text = " ".join(" ".join(seen(STORE)).split())
    assert "of supervised, epoch 1, digits, test[0:30], pooling none, weights" in text
    assert "ids digits/test/0 to digits/test/29" in text
    assert "the first 10 of 11" in text


def test_info_of_a_folder_lists_what_lies_in_it(
    inside: Path, read: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    holds = {each["name"]: each for each in read("info", ".")["holds"]}
    assert holds["activations/my.net.h5"]["about"] == "my.net, 2 layers, n = 12"
    assert holds["runs/supervised"]["kind"] == "run"
    assert "held-out accuracy" in holds["runs/supervised"]["about"]
    (inside / "empty").mkdir(exist_ok=True)
    (inside / "damaged").mkdir(exist_ok=True)
    (inside / "damaged" / "cut.h5").write_bytes(b"HDF")
    (inside / "damaged" / "other.json").write_text("{}")
    (cut,) = read("info", "damaged")["holds"]
    assert "cut short" in cut["about"] or "not" in cut["about"]
    assert run_command("info", "empty") == 2
    assert "empty holds no run, store or result of repsim" in capsys.readouterr().err
    assert run_command("info", "empty", "--networks") == 2
    assert "'empty' is a folder" in capsys.readouterr().err
