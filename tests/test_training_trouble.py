"""Settings that training refuses before they cost anything, and files that are damaged."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import Stop, run_command, stop_at

from repsim.errors import RepsimError, StoreError, UsageError
from repsim.training import loop
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Run, save_checkpoint, save_state
from repsim.training.tensor_files import checksum, load_tensors

TINY = {"split": "train[:100]", "test": "test[:50]", "epochs": 1, "batch_size": 50, "width": 4}


def configured(method: str, **values: Any) -> Any:
    own = {"sheet": 0, "coverage": 0, "statistics_batches": 3}
    if method in ("supervised", "simclr"):
        own = {"depth": 10}
    elif method == "autoencoder":
        own = {"sheet": 0}
    return configure(method, {**TINY, **own, **values}, "test")


def arrays(path: Path, **replaced: Any) -> str:
    """An ``.npz`` of grey noise: 100 images to train on, 20 held out, 3 classes."""
    rng = np.random.default_rng(0)
    content = {
        "x_train": rng.integers(0, 256, (100, 1, 32, 32), dtype=np.uint8),
        "y_train": rng.integers(0, 3, 100),
        "x_test": rng.integers(0, 256, (20, 1, 32, 32), dtype=np.uint8),
        "y_test": rng.integers(0, 3, 20),
    } | replaced
    np.savez(path, **{key: value for key, value in content.items() if value is not None})
    return str(path)


# Folders of runs that were killed, or that hold links


def test_a_run_that_was_killed_as_its_first_file_was_written_can_be_begun(tmp_path: Path) -> None:
    left = tmp_path / "run" / ".writing-abc.json"
    left.parent.mkdir()
    left.write_text("{")
    assert train("gan", configured("gan"), tmp_path / "run").complete
    assert not left.exists()


def test_a_run_whose_harvests_are_a_link_is_replaced_and_the_link_is_not_followed(
    tmp_path: Path,
) -> None:
    run = train("gan", configured("gan"), tmp_path / "run")
    elsewhere = tmp_path / "scratch"
    elsewhere.mkdir()
    (elsewhere / "precious.h5").write_text("kept")
    (run.path / "activations").symlink_to(elsewhere)
    assert train("gan", configured("gan", seed=1), run.path, overwrite=True).complete
    assert (elsewhere / "precious.h5").read_text() == "kept"
    assert not (run.path / "activations").exists()


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("gan", configured("gan", epochs=0), tmp_path / "run")

    def refuse(*unused: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(run.checkpoint))

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(StoreError, match=r"checkpoint.pt cannot be read: Permission denied$"):
        run.load_method()


# Held-out images


@pytest.mark.parametrize(
    ("replaced", "words"),
    [
        ({"x_test": np.zeros((20, 3, 32, 32), np.uint8)}, "3 channels, the training part of 1"),
        ({"y_test": None}, "no labels to score by"),
        ({"x_test": np.zeros((0, 1, 32, 32), np.uint8), "y_test": np.zeros(0, int)}, "has shape"),
    ],
)
def test_held_out_images_that_do_not_fit_are_noticed_before_training(
    tmp_path: Path, replaced: dict[str, Any], words: str
) -> None:
    data = arrays(tmp_path / "images.npz", **replaced)
    config = configured("supervised", data=data, split="train", test="test")
    with pytest.raises(RepsimError, match=words):
        train("supervised", config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_held_out_part_that_is_not_there_costs_no_training(tmp_path: Path) -> None:
    before = train("supervised", configured("supervised"), tmp_path / "run").digest()
    for test in ("nonsense", "test[:0]", "test[0:9999]"):
        with pytest.raises(UsageError):
            train(
                "supervised", configured("supervised", test=test), tmp_path / "run", overwrite=True
            )
    assert Run(tmp_path / "run").digest() == before


# Labels


def test_images_without_labels_train_what_needs_none(tmp_path: Path) -> None:
    data = arrays(tmp_path / "images.npz", y_train=None, y_test=None)
    where = {"data": data, "split": "train", "test": "test"}
    for method in ("simclr", "gan", "autoencoder"):
        more = {"coverage": 100} if method == "gan" else {}
        run = train(method, configured(method, **where, **more), tmp_path / method)
        assert run.describe()["facts"]["classes"] == 0
    assert "classes_seen" not in Run(tmp_path / "gan").last_metrics()
    with pytest.raises(UsageError, match="has no labels, one each, which supervised"):
        train("supervised", configured("supervised", **where), tmp_path / "supervised")


# Resuming


def test_a_run_goes_on_with_the_images_it_began_with(tmp_path: Path) -> None:
    data = arrays(tmp_path / "images.npz")
    config = configured("gan", data=data, split="train", test="test", epochs=2)
    with pytest.raises(Stop):
        train("gan", config, tmp_path / "run", progress=stop_at(3))
    before = (tmp_path / "run" / "config.json").read_bytes()
    arrays(tmp_path / "images.npz", x_train=np.zeros((100, 1, 32, 32), np.uint8))
    with pytest.raises(UsageError, match="other images than .* has now; put those back"):
        train("gan", config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    arrays(tmp_path / "images.npz")
    assert train("gan", config, tmp_path / "run", resume=True).complete


def test_what_a_run_is_resumed_with_stands_beside_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured("gan", epochs=3)
    for step, version in ((3, "1"), (5, "2"), (99, "2")):
        monkeypatch.setattr(loop, "__version__", version)
        try:
            train("gan", config, tmp_path / "run", resume=True, progress=stop_at(step))
        except Stop:
            continue
    described = Run(tmp_path / "run").describe()
    assert described["repsim"] == "1"
    assert [(each["epoch"], each["repsim"]) for each in described["resumed"]] == [(1, "2")]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "mgan"])
def test_a_run_that_was_killed_resumes_to_the_same_bytes(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of its own is killed; the others would only import torch again."""
    monkeypatch.setattr(sys, "argv", [])
    options = ("--preset", "tiny", "--epochs", "4", "--device", "cpu", "--runs", str(tmp_path))
    start = ("train", method, *options, *(("--coverage", "0") if method == "mgan" else ()))
    assert run_command(*start, "--name", "whole") == 0
    resume = tmp_path / "killed" / "resume.pt"
    process = subprocess.Popen(
        (sys.executable, "-m", "repsim", *start, "--name", "killed"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not resume.is_file():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Run(tmp_path / "killed").complete
    assert run_command(*start, "--name", "killed", "--resume") == 0
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    assert killed.digest() == whole.digest()
    assert len(killed.metrics()) == 4


# Replacing


def test_a_run_that_is_a_link_is_not_replaced(tmp_path: Path) -> None:
    run = train("gan", configured("gan", epochs=0), tmp_path / "run")
    before = run.digest()
    (tmp_path / "link").symlink_to(run.path)
    with pytest.raises(UsageError, match="is a link to .*; replace the run there"):
        train("gan", configured("gan"), tmp_path / "link", overwrite=True)
    assert run.digest() == before


def test_any_failure_brings_back_what_was_to_be_replaced(tmp_path: Path) -> None:
    run = train("gan", configured("gan"), tmp_path / "run")
    before = run.digest()

    def fail(done: int, total: int, note: str = "") -> None:
        raise RuntimeError("the accelerator fell off")

    with pytest.raises(RuntimeError, match="fell off"):
        train("gan", configured("gan"), run.path, overwrite=True, progress=fail)
    assert run.digest() == before
    assert not (tmp_path / ".run.replaced").exists()


# Values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": True}, "epochs = True; expected no truth value"),
        ({"lr": 1e308}, r"lr = 1e\+308; expected at most 1e\+32"),
        ({"save_every": "2,-1"}, "save_every = '2,-1'; expected epochs of 0 or more"),
        ({"save_every": ""}, "save_every = ''; expected a number of epochs, or epochs as in"),
        ({"save_every": "0,9"}, "test: save_every has epoch 9, but epochs is 1"),
        ({"sheet": 10**8}, "sheet = 100000000; input should be less"),
        ({"data": ""}, "data = ''; string should have at least 1"),
    ],
)
def test_values_that_would_be_taken_for_something_else(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        configured("gan", **values)
    assert "alue error" not in str(refused.value)


def test_a_configuration_of_another_method(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'gan' takes a configuration of its own, got .*simclr"):
        train("gan", configured("simclr"), tmp_path / "run")


def test_no_memory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    huge = ("train", "gan", "--preset", "tiny", "--width", 10**8, "--runs", tmp_path)
    assert run_command(*huge) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("repsim: error: out of memory: ")


# Damaged files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run, and one that was stopped after its first epoch."""
    folder = tmp_path_factory.mktemp("runs")
    train("gan", configured("gan"), folder / "whole")
    with pytest.raises(Stop):
        train("gan", configured("gan", epochs=2), folder / "half", progress=stop_at(3))
    return folder / "whole", folder / "half"


@pytest.mark.parametrize(
    "text", ["", "epoch,loss\n1,one\n", "epoch,loss\n1\n", "epoch,loss\n1,2,3\n", b"epoch\n\xff\n"]
)
def test_damaged_metrics(trained: tuple[Path, Path], tmp_path: Path, text: Any) -> None:
    run = Run(Path(shutil.copytree(trained[0], tmp_path / "run")))
    (run.path / "metrics.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    if text == "":
        assert run.metrics() == []
        return
    with pytest.raises(StoreError, match=r"metrics.csv is damaged"):
        run.last_metrics()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": 3}, "config.json is damaged: method is 3"),
        ({"config": []}, r"config.json is damaged: config is \[\]"),
        ({"facts": None}, "config.json is damaged: facts is None"),
        ({"facts": {"colour": 1}}, "config.json is damaged: "),
        ({"format_version": 99}, "of format version 99; this repsim reads versions 1 and 2"),
    ],
)
def test_damaged_descriptions(
    trained: tuple[Path, Path], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    run = Run(Path(shutil.copytree(trained[0], tmp_path / "run")))
    file = run.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(StoreError, match=words):
        run.load_extractor()


def leave_out_networks(state: Any) -> Any:
    return {key: value for key, value in state.items() if key != "networks"}


def leave_out_a_weight(state: Any) -> Any:
    networks = {name: dict(each) for name, each in state["networks"].items()}
    networks["discriminator"].popitem()
    return {**state, "networks": networks}


def leave_out_optimisers(state: Any) -> Any:
    return {key: value for key, value in state.items() if key != "optimizers"}


@pytest.mark.parametrize(
    "damage", [lambda state: [1], leave_out_networks, leave_out_a_weight, leave_out_optimisers]
)
def test_states_that_do_not_fit(
    trained: tuple[Path, Path], tmp_path: Path, damage: Callable[[Any], Any]
) -> None:
    run = Run(Path(shutil.copytree(trained[1], tmp_path / "run")))
    damaged = damage(run.load_state(run.resume_file))
    if isinstance(damaged, dict):
        save_state(run.resume_file, damaged)
    else:
        torch.save(damaged, run.resume_file)
    with pytest.raises(StoreError, match="train it anew|train the run anew"):
        train("gan", configured("gan", epochs=2), run.path, resume=True)


@pytest.mark.parametrize("name", ["checkpoint.pt", "resume.pt", "statistics.pt"])
def test_a_flipped_bit_is_refused_or_changes_nothing(
    trained: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    source = trained[1] if name == "resume.pt" else trained[0]
    file = tmp_path / name
    content, rng = (source / name).read_bytes(), np.random.default_rng(0)

    def load() -> dict[str, Any]:
        return load_tensors(file, ("repsim-checkpoint", "repsim-state", "repsim-statistics"), "")

    file.write_bytes(content)
    whole, refused = checksum(load()), 0
    for bit in rng.choice(8 * len(content), 100, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(flipped))
        try:
            loaded = load()
        except StoreError:
            refused += 1
        else:
            assert checksum(loaded) == whole
    assert refused


def test_files_of_the_first_version_have_no_checksum_and_later_ones_must_have_it(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(trained[0], tmp_path / "run")))
    state = run.load_state(run.checkpoint)
    torch.save({**state, "format_version": 1}, run.checkpoint)
    run.load_extractor()
    torch.save(state, run.checkpoint)
    with pytest.raises(StoreError, match="is damaged: its checksum is of other values; train the"):
        run.load_extractor()
    torch.save({**state, "format_version": 3}, run.checkpoint)
    with pytest.raises(StoreError, match="is of format version 3; this repsim reads versions 1 to"):
        run.load_extractor()


def test_weights_that_are_nan_are_named(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained[0], tmp_path / "run")))
    state = run.load_state(run.checkpoint)
    name, weight = next(iter(state["networks"]["discriminator"].items()))
    weight.view(-1)[0] = float("nan")
    save_checkpoint(run.checkpoint, state)
    with pytest.raises(StoreError, match=f"holds NaN or infinity in '{name}' of 'discriminator'"):
        run.load_extractor()


def test_checkpoints_that_are_none(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained[0], tmp_path / "run")))
    torch.save({"a": torch.zeros(100_000)}, run.checkpoint)  # as large as one
    with pytest.raises(StoreError, match="is not a checkpoint; train the run anew"):
        run.load_extractor()
    run.checkpoint.write_bytes(b"PK\x03\x04" * 100_000)
    with pytest.raises(StoreError, match="is damaged or not a checkpoint"):
        run.load_extractor()
