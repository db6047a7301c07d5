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
from repsim.errors import StoreError, UsageError
from repsim.results import Result
from repsim.training.run import Run

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


def hanging(name: str) -> list[str]:
    """The names of the results and figures that go with a thing."""
    known = inventory(RUNS)
    return [each.name for each in hanging_on(find_thing(name, known), known)]


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
    ("name", "expected"),
    [
        ("supervised", ["cka-supervised-supervised-test-30", "training-supervised-curves"]),
        ("one", ["cka-one-one", "cka-one-two"]),
        ("activations/two.h5", ["cka-one-two"]),
        ("cka-one-two", []),
        ("results/cka-one-two.json", []),
    ],
)
def test_results_hang_on_what_they_were_made_from(
    inside: Path, name: str, expected: list[str]
) -> None:
    assert hanging(name) == expected


def test_a_store_that_cannot_be_opened_is_known_by_its_network(inside: Path) -> None:
    with h5py.File(Path("activations/two.h5").rename("activations/two.test.h5"), "r+") as file:
        file.attrs["format_version"] = 99
    assert names("network") == ["one", "two"]


def test_results_of_another_network_of_the_name_stay(inside: Path) -> None:
    np.savez("other.npz", l0=np.random.default_rng(1).normal(size=(20, 3)))
    assert run_command("import", "other.npz", "--name", "one", "--overwrite") == 0
    assert hanging("one") == []


def test_a_figure_of_several_results_belongs_to_none_and_hangs_on_each_network(
    inside: Path,
) -> None:
    another = ("--name", "supervised-2", "--seed", 1, "--batch-size", 30)
    assert run_command("train", "supervised", *TINY, *another) == 0
    networks = ("supervised", "supervised-2")
    few = ("--split", "train[:60]", "--test-split", "test[:30]", "--noise", "gaussian:0.5")
    assert run_command("nullspace", *networks, *few, "--no-layers", "--no-control") == 0
    (joint,) = (each for each in names("figure") if each.endswith("-bars"))
    assert not any(
        path.stem == joint
        for each in inventory(RUNS)
        if each.kind == "result"
        for path in each.paths
    )
    for name in networks:
        assert joint in hanging(name)
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
    with pytest.raises(UsageError, match=r"no run, network, result or figure 'nought'; .*one"):
        find_thing("nought", inventory(RUNS))
    shutil.copytree("runs/supervised", "runs/one")
    with pytest.raises(UsageError, match=r"'one' is a run .* and a network .*; say the path"):
        find_thing("one", inventory(RUNS))
    assert find_thing("runs/one", inventory(RUNS)).kind == "run"
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


# --- networks from elsewhere

NETWORKS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU())
        self.head = nn.Linear(6, 10)

    def forward(self, x):
        return self.head(self.body(x))


def make(seed=0):
    return Net(seed)
"""

#: Commands of one network, each of which leaves a result.
OF_ONE: list[tuple[object, ...]] = [
    ("cka",),
    ("probe",),
    ("classes",),
    ("classes", "--augmentation", "none"),
    ("invariance", "--augmentation", "simclr"),
    ("layer-nullspace",),
    ("signal", "--layers", "head"),
    ("transfer", "--epochs", 1, "--layers", "body.1"),
]


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks from elsewhere, ``ann`` and ``ann.b``, with results of each and of both."""
    folder = tmp_path_factory.mktemp("brought")
    shown = ("--data", "digits", "--image-size", 8, "--pooling", "none")
    parts = ("--split", "train[:60]", "--split", "test[:30]")
    seen = ("--split", "test[:30]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(sys, "argv", [])
        Path("ownnets.py").write_text(NETWORKS)
        for seed, name in enumerate(("ann", "ann.b")):
            made = ("--model", "ownnets:make", "--model-args", f"seed={seed}", "--name", name)
            assert run_command("harvest", *made, *shown, *parts) == 0
        probed = ("--split", "train[:60]", "--test-split", "test[:30]")
        for command, *options in OF_ONE:
            learns = command in ("probe", "signal", "transfer")
            for name in ("ann", "ann.b"):
                used = probed if learns else seen
                assert run_command(command, name, *options, *used) == 0, command
        assert run_command("cka", "ann", "ann.b", *seen) == 0
        assert run_command("cka", "ann", "ann.b", *seen, "--format", "pdf", "-o", "results/m") == 0
        assert run_command("probe", "ann", "ann.b", *probed) == 0
        quick = ("--noise", "none", "--layer-images", 20, "--format", "pdf", "--format", "svg")
        assert run_command("nullspace", "ann", "ann.b", *probed, *quick) == 0
        for ending in ("png", "pdf", "svg"):
            drawn = ("-o", f"results/again-{ending}", "--format", ending)
            assert run_command("figure", "results/m.json", *drawn) == 0
    return folder


def test_all_that_was_made_from_a_network_goes_with_it_and_nothing_else(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(brought, tmp_path, monkeypatch)
    made = {each.name for each in inventory(RUNS) if each.kind in ("result", "figure")}
    of_b = {each for each in made if "ann-b" in each and "ann" not in each.replace("ann-b", "")}
    of_a = {each for each in made if "ann" in each and "ann-b" not in each}
    both = made - of_a - of_b
    assert len(of_a) == len(of_b) == len(OF_ONE) + 1
    assert set(hanging("ann")) == of_a | both
    assert set(hanging("ann.b")) == of_b | both
    assert {each for each in both if each.startswith("again-")} == {
        f"again-{ending}-{figure}"
        for ending in ("png", "pdf", "svg")
        for figure in ("heatmap", "curves")
    }
    assert run_command("rm", "ann", "--yes") == 0
    assert [each.name for each in inventory(RUNS) if each.kind == "network"] == ["ann.b"]
    left = {each.name for each in inventory(RUNS) if each.kind in ("result", "figure")}
    assert left == of_b
    files = {path.name for path in Path("results").iterdir()}
    assert all(name.startswith(tuple(left)) for name in files)
    assert sorted(path.name for path in Path("activations").iterdir()) == [
        "ann.b.digits-8x8-test.0-30.h5",
        "ann.b.digits-8x8-train.0-60.h5",
    ]


def test_a_store_goes_alone_and_with_the_results_of_its_part(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(brought, tmp_path, monkeypatch)
    store = "activations/ann.digits-8x8-test.0-30.h5"
    assert "cka-ann-ann-test-30" in hanging(store)
    assert run_command("rm", store, "--yes") == 0
    assert [each.name for each in Path("activations").glob("ann.digits*")] == [
        "ann.digits-8x8-train.0-60.h5"
    ]
    assert "ann" in [each.name for each in inventory(RUNS) if each.kind == "network"]


def test_figures_under_other_names_go_with_their_result(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(brought, tmp_path, monkeypatch)
    assert len(hanging("m")) == 6
    assert run_command("rm", "m", "--yes") == 0
    assert not list(Path("results").glob("again-*"))


def test_a_harvest_that_was_interrupted_is_listed_and_removed(
    brought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_copy(brought, tmp_path, monkeypatch)
    store = Path("activations/ann.digits-8x8-train.0-60.h5")
    part = store.rename(f"{store}.part")
    (found,) = (each for each in inventory(RUNS) if each.name == "ann")
    assert part in found.paths
    assert "digits train[0:60] unfinished" in found.about
    assert run_command("rm", "ann", "--yes") == 0
    assert not part.exists()


def test_each_result_is_read_once_and_no_weights_are(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    load = Result.load

    def counted(path: Path) -> Result:
        read.append(Path(path))
        return load(path)

    def untouched(*args: object, **options: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(Result, "load", staticmethod(counted))
    monkeypatch.setattr(Run, "load_state", untouched)
    assert run_command("ls") == 0
    files = sorted(Path("results").glob("*.json"))
    assert sorted(read) == files
    read.clear()
    assert run_command("rm", "one", "--yes") == 0
    assert sorted(read) == files


def test_scores_are_those_of_the_checkpoint(inside: Path) -> None:
    run = Run(Path("runs/supervised"))
    assert run.scores() == run.load_state(run.checkpoint)["held_out"] != {}
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:500])
    with pytest.raises(StoreError, match="is damaged"):
        run.scores()
    run.checkpoint.unlink()
    assert run.scores() == {}
