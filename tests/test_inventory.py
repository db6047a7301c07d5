"""``repsim ls`` and ``repsim rm``: the things in a workspace, and the results made from each."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from driving import enter_copy, run_command

from repsim.cli.inventory import find_thing, hanging_on, inventory
from repsim.cli.ls import age_text, size_text
from repsim.errors import UsageError

RUNS = Path("runs")
TINY = ("--depth", 10, "--width", 4, "--split", "train[:60]", "--test", "test[:30]", "--epochs", 1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a harvest and its curves, two imported networks, and three comparisons."""
    folder = tmp_path_factory.mktemp("inventory")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        assert run_command("train", "supervised", *TINY, "--batch-size", 30) == 0
        assert run_command("harvest", "supervised", "--split", "test[:30]") == 0
        assert run_command("figure", "supervised") == 0
        for name in ("one", "two"):
            np.savez(f"{name}.npz", **{f"l{k}": rng.normal(size=(20, 3)) for k in range(2)})
            assert run_command("import", f"{name}.npz", "--name", name) == 0
        same = ("--split", "test[:30]")
        for pair in (("one",), ("one", "two"), ("supervised", "supervised", *same)):
            assert run_command("cka", *pair) == 0
        Path("results/other.json").write_text('{"of": "someone else"}')
    return folder


@pytest.fixture
def inside(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change."""
    return enter_copy(workspace, tmp_path, monkeypatch)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give an answer before it is asked for."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def names(kind: str) -> list[str]:
    return [each.name for each in inventory(RUNS) if each.kind == kind]


def test_everything_is_listed_by_kind(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert names("run") == ["supervised"]
    assert names("network") == ["one", "two"]
    made = ["cka-one-one", "cka-one-two", "cka-supervised-supervised-test-30"]
    assert sorted(names("result")) == made
    assert names("figure") == ["training-supervised-curves"]
    assert run_command("ls") == 0
    shown = capsys.readouterr().out
    for each in ("runs", "networks", "results", "figures", "1 harvest", "2 layers, n = 20"):
        assert each in shown
    assert run_command("ls", "--json") == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    run = sum(path.stat().st_size for path in Path("runs").rglob("*") if path.is_file())
    assert found["supervised"]["bytes"] == run
    assert (
        len(found["cka-one-two"]["paths"]) == 8
    )  # JSON, CSV, two figures in two formats with their captions


def test_an_empty_folder_says_where_to_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command("ls") == 0
    assert "repsim train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "hanging"),
    [
        ("supervised", ["cka-supervised-supervised-test-30", "training-supervised-curves"]),
        ("one", ["cka-one-one", "cka-one-two"]),
        ("activations/two.h5", ["cka-one-two"]),
        ("cka-one-two", []),
        ("results/cka-one-two.json", []),
    ],
)
def test_results_hang_on_what_they_were_made_from(
    inside: Path, name: str, hanging: list[str]
) -> None:
    assert [each.name for each in hanging_on(find_thing(name, RUNS))] == hanging


def test_a_store_that_cannot_be_opened_is_known_by_its_network(inside: Path) -> None:
    with h5py.File(Path("activations/two.h5").rename("activations/two.test.h5"), "r+") as file:
        file.attrs["format_version"] = 99
    assert names("network") == ["one", "two"]


def test_results_of_another_network_of_the_name_stay(inside: Path) -> None:
    np.savez("other.npz", l0=np.random.default_rng(1).normal(size=(20, 3)))
    assert run_command("import", "other.npz", "--name", "one", "--overwrite") == 0
    assert hanging_on(find_thing("one", RUNS)) == []


def test_a_figure_of_several_results_belongs_to_none_and_hangs_on_each_network(
    inside: Path,
) -> None:
    another = ("--name", "supervised-2", "--seed", 1, "--batch-size", 30)
    assert run_command("train", "supervised", *TINY, *another) == 0
    networks = ("supervised", "supervised-2")
    few = ("--split", "train[:60]", "--test-split", "test[:30]", "--noise", "gaussian:0.5")
    assert run_command("nullspace", *networks, *few) == 0
    (joint,) = (each for each in names("figure") if each.endswith("-bars"))
    assert not any(
        path.stem == joint
        for each in inventory(RUNS)
        if each.kind == "result"
        for path in each.paths
    )
    for name in networks:
        hanging = [each.name for each in hanging_on(find_thing(name, RUNS))]
        assert joint in hanging
    assert run_command("rm", "supervised-2", "--yes") == 0
    assert joint not in names("figure")


def test_rm_asks_and_removes_with_what_hangs_on_it(
    inside: Path, answer: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    answer("n\n")
    assert run_command("rm", "one") == 2
    assert "nothing was removed" in capsys.readouterr().err
    answer("")
    assert run_command("rm", "one") == 2
    assert names("network") == ["one", "two"]
    answer("y\n")
    assert run_command("rm", "one") == 0
    assert "cka-one-two" in capsys.readouterr().out
    assert names("network") == ["two"]
    assert names("result") == ["cka-supervised-supervised-test-30"]
    assert Path("results/other.json").is_file()


def test_a_run_is_removed_but_not_its_owners_files(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/supervised/notes.txt").write_text("mine")
    assert run_command("rm", "supervised", "--yes") == 0
    assert "notes.txt" in capsys.readouterr().err
    assert [path.name for path in Path("runs/supervised").iterdir()] == ["notes.txt"]
    assert (names("run"), names("figure")) == ([], [])
    assert len(names("result")) == 2


def test_rm_refuses_what_it_cannot_tell_apart(inside: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no 'nought'; .*one"):
        find_thing("nought", RUNS)
    shutil.copytree("runs/supervised", "runs/one")
    with pytest.raises(UsageError, match=r"'one' is a run .* and a network .*; say the path"):
        find_thing("one", RUNS)
    assert find_thing("runs/one", RUNS).kind == "run"
    Path("runs/link").symlink_to("supervised", target_is_directory=True)
    assert run_command("rm", "link", "--yes") == 2
    assert Path("runs/supervised/config.json").is_file()
    assert run_command("rm", "two", "--json") == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (size_text(999), "999 B"),
        (size_text(1_234_567), "1.2 MB"),
        (size_text(5 * 10**12), "5.0 TB"),
        (age_text(59), "now"),
        (age_text(7300), "2 h"),
        (age_text(86_400), "1 day"),
        (age_text(3 * 86_400 + 5), "3 days"),
    ],
)
def test_sizes_and_ages_in_words(text: str, expected: str) -> None:
    assert text == expected
