"""Work that is done is done: the same command again ends well, other inputs are refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driving import enter_copy, run_command

TINY = ("--depth", 10, "--width", 4, "--split", "train[:60]", "--test", "test[:30]", "--epochs", 1)
TRAIN = ("train", "supervised", *TINY, "--batch-size", 30)
HARVESTS = [("harvest", "supervised", "--split", split) for split in ("test[:30]", "train[:60]")]
PARTS = ("--split", "train[:60]", "--test-split", "test[:30]")
COMMANDS = [
    ("cka", "supervised", "--split", "test[:30]", "--layers", "head,pooled"),
    ("probe", "supervised", *PARTS, "--layers", "pooled"),
    ("classes", "supervised", "--split", "test[:30]"),
    ("invariance", "supervised", "--split", "test[:30]", "--layers", "head"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two harvests, and a result of each command."""
    folder = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        for command in (TRAIN, *HARVESTS, *COMMANDS):
            assert run_command(*command) == 0
    return folder


@pytest.fixture
def inside(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change."""
    return enter_copy(workspace, tmp_path, monkeypatch)


Again = Callable[..., tuple[int, str, str]]


@pytest.fixture
def again(inside: Path, capfd: pytest.CaptureFixture[str]) -> Again:
    """Run a command; its status, its output and its remarks."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = run_command(*arguments)
        return status, *capfd.readouterr()

    return run


def contents() -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in Path().rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("command", [TRAIN, HARVESTS[0], *COMMANDS], ids=lambda each: each[0])
def test_the_same_command_again_says_so_and_changes_nothing(
    again: Again, command: tuple[object, ...]
) -> None:
    before = contents()
    status, out, remarks = again(*command)
    assert status == 0
    assert "already" in remarks
    assert out  # the result is shown as before
    assert contents() == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((*TRAIN, "--seed", 1), ["with seed = 0, now 1", "--overwrite"]),
        ((*HARVESTS[0], "--dtype", "float16"), ["dtype differ", "--overwrite"]),
        ((*COMMANDS[0], "-o", "results/probe-supervised.json"), None),
    ],
)
def test_other_inputs_are_refused_with_what_differs(
    again: Again, command: tuple[object, ...], words: list[str] | None
) -> None:
    if words is None:  # a result of another analysis
        (name,) = (str(path) for path in Path("results").glob("probe-*.json"))
        command, words = (*command[:-1], name), ["exists already", "analysis probe, now similarity"]
    before = contents()
    status, _, error = again(*command)
    assert status in (1, 2)
    for each in words:
        assert each in error
    assert contents() == before


def test_a_result_of_an_earlier_training_is_refused(again: Again) -> None:
    assert again(*TRAIN, "--seed", 1, "--overwrite")[0] == 0
    for command in HARVESTS:
        assert again(*command, "--overwrite")[0] == 0
    status, _, error = again(*COMMANDS[0])
    assert (status, "checkpoint_sha256" in error, "exists already" in error) == (2, True, True)


def test_a_store_whose_values_are_others_is_refused(again: Again) -> None:
    import h5py

    with h5py.File("runs/supervised/activations/digits-test.0-30.h5", "r+") as file:
        layer = next(iter(file["layers"].values()))
        layer[0] = layer[0] + np.float32(1)
    status, _, error = again(*HARVESTS[0])
    assert status == 1
    assert "other values for the first batch" in error


def test_inputs_are_checked_before_outputs(again: Again) -> None:
    shutil.rmtree("runs/supervised/activations")
    status, _, error = again(*COMMANDS[0])
    assert status == 1
    assert "has no activations of digits test[:30]" in error


def test_figures_that_are_there_are_kept(again: Again) -> None:
    (path,) = (str(path) for path in Path("results").glob("cka-*.json"))
    before = contents()
    status, out, remarks = again("figure", path)  # as the comparison drew them
    assert (status, out, remarks.count("is there already")) == (0, "", 2)
    assert contents() == before
    status, out, remarks = again("figure", path, "--json")
    assert (status, remarks.count("is there already")) == (0, 2)
    listed = {Path(each) for each in json.loads(out)}
    drawn = {each for each in before if each.name.startswith(f"{Path(path).stem}-")}
    assert listed == drawn
    assert len(listed) == 6  # a heatmap and curves: PNG, PDF and caption each
    for command in (("figure", path, "-o", "own"), ("figure", "supervised")):
        assert again(*command)[0] == 0
        before = contents()
        status, _, remarks = again(*command)
        assert (status, "is there already, drawn from the same" in remarks) == (0, True)
        assert contents() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--style", "slide"), "drawing.style column, now slide"),
        (("--width", "3"), "drawing.width nothing, now 3"),
        (("--rename", "supervised=S"), "drawing.names.supervised nothing, now S"),
        (("--estimator", "biased"), "drawing.estimator unbiased, now biased"),
    ],
)
def test_figures_that_would_be_drawn_otherwise_are_refused(
    again: Again, options: tuple[str, ...], words: str
) -> None:
    (path,) = (str(path) for path in Path("results").glob("cka-*.json"))
    before = contents()
    status, _, error = again("figure", path, *options)
    assert (status, words in error, "--overwrite" in error) == (2, True, True)
    assert contents() == before


def test_figures_of_another_result_are_refused(again: Again) -> None:
    names = [next(Path("results").glob(f"{kind}-*.json")) for kind in ("cka", "invariance")]
    assert again("figure", names[0], "-o", "own")[0] == 0
    status, _, error = again("figure", names[1], "-o", "own")
    assert (status, "of another figure (caption " in error) == (2, True)
    assert len(error.splitlines()) == 1
    Path("own-heatmap.txt").unlink()
    assert again("figure", names[0], "-o", "own")[0] == 2


def test_a_format_that_is_not_there_yet_is_written_alone(again: Again) -> None:
    (path,) = (str(path) for path in Path("results").glob("classes-*.json"))
    assert again("figure", path, "-o", "own", "--format", "png")[0] == 0
    before = contents()
    status, out, _ = again("figure", path, "-o", "own", "--format", "png,svg")
    assert (status, "own-curves.svg" in out, "own-curves.png" in out) == (0, True, False)
    assert all(contents()[name] == before[name] for name in before if name.suffix == ".png")


def test_a_result_that_says_nothing_of_its_inputs_is_not_taken_for_the_same(again: Again) -> None:
    (path,) = Path("results").glob("cka-*.json")
    content = json.loads(path.read_text())
    del content["provenance"]["inputs_sha256"]
    path.write_text(json.dumps(content))
    status, _, error = again(*COMMANDS[0])
    assert (status, "exists already" in error) == (2, True)


def test_one_new_network_is_computed_beside_those_that_are_there(again: Again) -> None:
    assert again("train", "supervised", *TINY, "--epochs", 0, "--name", "untrained")[0] == 0
    assert again("harvest", "untrained", "--split", "test[:30]")[0] == 0
    status, _, remarks = again("classes", "supervised", "untrained", "--split", "test[:30]")
    assert (status, remarks.count("is there already")) == (0, 1)
    assert len(list(Path("results").glob("classes-*.json"))) == 2


def test_figures_of_several_results_are_drawn_where_they_are_missing(again: Again) -> None:
    """As of networks that were reported on one by one, or with others."""
    quick = (*PARTS, "--noise", "none", "--layer-images", 20, "--format", "pdf")
    status, out, _ = again("nullspace", "supervised", *quick)
    assert status == 0
    (bars,) = Path("results").glob("nullspace-*-bars.pdf")
    drawn = bars.read_bytes()
    bars.unlink()
    bars.with_suffix(".txt").unlink()
    before = contents()
    status, out, remarks = again("nullspace", "supervised", *quick)
    assert status == 0
    assert "already" in remarks
    assert f"wrote {bars}" in out
    assert bars.read_bytes() == drawn
    assert {path: each for path, each in contents().items() if path in before} == before
    status, out, _ = again("nullspace", "supervised", *quick)
    assert status == 0
    assert "wrote" not in out
