"""Scores that are called held out are of images that nothing learned from."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import run_command
from PIL import Image

from repsim.data import Split, load
from repsim.data.apart import check_apart
from repsim.errors import MismatchError, RepsimWarning
from repsim.figures.probes import probe_figure
from repsim.results import ProbeCurve
from repsim.results.learned import learned_from
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Run

TINY = {"depth": 10, "width": 4, "batch_size": 20, "epochs": 1, "device": "cpu"}


def pixels(count: int = 60) -> np.ndarray:
    """Images that all differ, of two classes in turn."""
    found = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    found[1::2, :4] = 255
    return found


def labels(count: int = 60) -> np.ndarray:
    return np.arange(count) % 2


def folder(root: Path) -> str:
    for k, each in enumerate(pixels()):
        path = root / "photos" / ("even", "odd")[k % 2] / f"{k:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(path)
    return str(root / "photos")


def copies(root: Path) -> str:
    """A folder with parts, of which one has the other's images under other names."""
    for k, each in enumerate(pixels()):
        for part, name in (("train", f"{k:02}.png"), ("test", f"copy-{k:02}.png")):
            path = root / "twice" / part / ("even", "odd")[k % 2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(each).save(path)
    return str(root / "twice")


def one_array(root: Path) -> str:
    np.savez(root / "one.npz", images=pixels(), labels=labels())
    return str(root / "one.npz")


def two_arrays(root: Path) -> str:
    about = {"x_train": pixels(), "y_train": labels(), "x_test": pixels(), "y_test": labels()}
    np.savez(root / "two.npz", **about)
    return str(root / "two.npz")


def digits(root: Path) -> str:
    return "digits"


OVERLAPS: list[tuple[Callable[[Path], str], str, str, str]] = [
    (folder, "all", "test", "photos all and photos test share 12 images, such as "),
    (folder, "all[0:40]", "all[30:60]", "share 10 images"),
    (one_array, "all", "test", "one all and one test share 12 images"),
    (digits, "test", "test", "digits test and digits test share 360 images"),
    (digits, "train[:100]", "train[50:150]", "share 50 images"),
    (two_arrays, "train", "test", "60 of 60 images of the latter have the pixels of images of the"),
    (copies, "train", "test", "under other names, such as test/even/copy-00.png"),
]


@pytest.mark.parametrize(("make", "split", "test", "words"), OVERLAPS)
@pytest.mark.parametrize("method", ["supervised", "rotation"])
def test_training_on_the_held_out_images_is_refused(
    method: str,
    make: Callable[[Path], str],
    split: str,
    test: str,
    words: str,
    tmp_path: Path,
) -> None:
    network = {"network": "resnet"}
    values = {**TINY, **network, "data": make(tmp_path), "split": split, "test": test}
    with pytest.raises(MismatchError) as refused:
        train(method, configure(method, values), tmp_path / "run")
    said = str(refused.value)
    assert words in said
    assert "\n" not in said
    assert "train on another --split, such as train, or score on another --test" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("supervised", {"test": "none"}),  # all images, and no score
        ("simclr", {}),  # has no score
        ("supervised", {"epochs": 0}),  # learns from none
    ],
)
def test_all_images_may_be_trained_on_where_nothing_is_called_held_out(
    method: str, more: dict[str, Any], tmp_path: Path
) -> None:
    values = {**TINY, "data": folder(tmp_path), "split": "all", **more}
    run = train(method, configure(method, values), tmp_path / "run")
    assert run.complete
    held_out = run.load_state(run.checkpoint)["held_out"]
    assert set(held_out) == ({"accuracy"} if more == {"epochs": 0} else set())


def test_the_parts_of_a_folder_are_apart(tmp_path: Path) -> None:
    values = {**TINY, "data": folder(tmp_path), "split": "train", "test": "test"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train("supervised", configure("supervised", values), tmp_path / "run")
    assert 0 <= run.load_state(run.checkpoint)["held_out"]["accuracy"] <= 1


def test_one_image_in_hundreds_that_comes_twice_is_told(tmp_path: Path) -> None:
    both = pixels(500)
    np.savez(tmp_path / "few.npz", x_train=both[:300], x_test=np.r_[both[:1], both[300:]])
    parts = [load(tmp_path / "few.npz", split) for split in ("train", "test")]
    with pytest.warns(RepsimWarning, match="1 of 201 images of the latter"):
        check_apart(parts[0], parts[1], "")


def test_the_command_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path)
    options = ("--data", "photos", "--split", "all", "--epochs", "1", "--batch-size", "20")
    assert run_command("train", "supervised", *options) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert "photos all and photos test share 12 images" in found.err
    assert run_command("train", "supervised", *options, "--test", "none", "--width", "4") == 0
    assert "held-out" not in capsys.readouterr().out
    assert Run(Path("runs/supervised")).config.test == "none"


# --- networks that were trained on the images of a result


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("train", "train", True),
        ("train", "test", False),
        ("train[:10]", "train[10:]", False),
        ("train[:11]", "train[10:]", True),
        ("train[5:]", "train", True),
        ("train", "train[1000:1001]", True),
        ("all", "test", True),
        ("all[:5]", "all[5:9]", False),
    ],
)
def test_splits_meet_where_they_can_share_examples(one: str, other: str, meet: bool) -> None:
    first, second = Split.parse(one), Split.parse(other)
    assert (first.meets(second), second.meets(first)) == (meet, meet)


def _record(split: str, shown: str, **about: Any) -> dict[str, Any]:
    """A result of a network that was trained on ``split``, with ``shown`` held out."""
    trained = {"data": "a/photos", "split": split, "epochs": 3, **about.pop("config", {})}
    network = {"network": "mine", "config": trained, "epoch": 3, **about}
    return {"network": network, "test": {"data": "photos", "split": shown}}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (_record("train", "test"), ""),
        (_record("all", "test"), "mine was trained on photos all, which shares images with photos"),
        (_record("train", "train"), "mine was trained on photos train: these images are not new"),
        (_record("all", "test", epoch=0), ""),
        (_record("all", "test", config={"epochs": 0}), ""),
        (_record("all", "test", config={"data": "others"}), ""),
        (_record("train", "my own part"), ""),
        ({"network": "mine", "test": {"data": "photos", "split": "all"}}, ""),
    ],
)
def test_a_network_that_has_seen_the_held_out_images_is_told(
    record: dict[str, Any], said: str
) -> None:
    found = learned_from({"a result": [record]})
    assert len(found) == bool(said)
    assert all(each.startswith(said) for each in found)


def test_probes_of_a_network_that_has_seen_the_images_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time the numbers are shown, and in the caption; not of a network that has not."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path)
    small = ("--data", "photos", "--width", "4", "--epochs", "1", "--batch-size", "20")
    assert run_command("train", "supervised", *small, "--split", "all", "--test", "none") == 0
    assert run_command("train", "supervised", *small, "--name", "apart") == 0
    parts = ("--split", "train", "--split", "test", "--pooling", "avg")
    assert run_command("harvest", "supervised", "apart", *parts) == 0
    capsys.readouterr()
    told = "note: supervised was trained on photos all, which shares images with photos test"
    for _ in range(2):
        assert run_command("probe", "supervised") == 0
        assert told in capsys.readouterr().err
        assert run_command("probe", "apart") == 0
        assert "was trained on" not in capsys.readouterr().err
    caption = Path("results/probe-supervised-curves.txt").read_text()
    assert "its accuracies on them are not of held-out images." in caption
    curve = ProbeCurve.load("results/probe-apart.json")
    assert "was trained on" not in probe_figure(curve).caption
    assert run_command("transfer", "supervised", "--epochs", "1", "--layers", "stem") == 0
    assert told in capsys.readouterr().err


# --- papers


@pytest.mark.parametrize(
    "name", ["donahue2017", "grigg2021", "kolesnikov2019", "mao2022", "song2017"]
)
def test_papers_judge_on_images_that_nothing_learned_from(name: str) -> None:
    runs = importlib.import_module(f"repsim.figures.papers.{name}.runs")
    assert runs.SPLITS
    for where, splits in runs.SPLITS.items():
        held = Split.parse(splits["held_out"])
        for part in ("trained", "probed"):
            assert not Split.parse(splits[part]).meets(held), (where, part)
        shown = Split.parse(splits.get("compared", splits["held_out"]))
        assert not Split.parse(splits["trained"]).meets(shown), where
