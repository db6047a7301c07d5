"""Training: what it leaves behind, that it continues exactly, and that it says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import Stop, run_command, stop_at, train_before

from repsim.configuration import read_toml
from repsim.errors import StoreError, TrainingError, UsageError
from repsim.training import mode_collapse
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.methods import find_method, method_names, method_summary
from repsim.training.run import Run
from repsim.training.schedules import constant_exponential, warmup_cosine, warmup_steps

#: By default, statistics are of many more images than these runs train on.
FEW: dict[str, Any] = {"batch_size": 50, "coverage": 0, "statistics_batches": 3}
INVERTING: dict[str, Any] = {**FEW, "width": 16, "sheet": 16}
PATCHES: dict[str, Any] = {
    **{"network": "nin", "width": 6, "batch_size": 25, "embedding": 20, "hidden": 20}
}
#: Settings that make each method run in a second or two.
TINY: dict[str, dict[str, Any]] = {
    "bigan": {**INVERTING},
    "joint_latent_regressor": {**INVERTING},
    "latent_regressor": {**INVERTING},
    "supervised": {"depth": 10, "width": 4, "batch_size": 25},
    "simclr": {"depth": 10, "width": 4, "batch_size": 50},
    "gan": {**FEW, "width": 4, "sheet": 16},
    "wgan": {**FEW, "width": 4, "sheet": 16},
    "mgan": {**FEW, "width": 4, "sheet": 20},
    "autoencoder": {"width": 4, "batch_size": 50},
    "rotation": {"width": 4, "batch_size": 25},
    "exemplar": {"network": "nin", "width": 6, "batch_size": 25, "views": 3, "embedding": 20},
    "relative_patch_location": {**PATCHES},
    "jigsaw": {**PATCHES, "permutations": 10},
}


def settings(method: str, **more: Any) -> Any:
    values = {"split": "train[:100]", "test": "test[:50]", "epochs": 3, **TINY[method], **more}
    return configure(method, values, "test")


def whole(run: Run) -> dict[str, bytes]:
    """The outcome of a run that must not depend on an interruption."""
    return {name: (run.path / name).read_bytes() for name in ("checkpoint.pt", "config.json")}


def test_every_method_is_tested_here() -> None:
    assert sorted(TINY) == method_names()
    assert all(method_summary(name).endswith(".") for name in method_names())


@pytest.mark.parametrize("method", TINY)
def test_a_method_trains_and_its_extractors_load(method: str, tmp_path: Path) -> None:
    train_before(method, settings(method), tmp_path)
    run = train(method, settings(method), tmp_path / "run")
    assert run.complete
    assert not run.resume_file.exists()
    assert run.config == settings(method)
    images = torch.zeros(4, 1, 32, 32)
    for name in run.extractors:
        network = run.load_extractor(name)
        assert not network.training
        assert network(images).shape[0] == 4
        addresses = dict(network.named_modules())
        assert all(layer in addresses for layer in network.layer_names())
    state = torch.load(run.checkpoint, weights_only=True)
    assert set(state["networks"]) == set(run.build().networks)
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 4
    for name, network in run.build().networks.items():
        trained = state["networks"][name]
        assert any(not torch.equal(v, trained[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("method", ["supervised", "simclr", "mgan", "bigan", "latent_regressor"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode_collapse, "_STEPS", 5)
    # The classifier that counts classes is trained anew by who resumes.
    config = settings(method, **({"coverage": 20} if method == "mgan" else {}))
    train_before(method, config, tmp_path)
    expected = whole(train(method, config, tmp_path / "a"))
    with pytest.raises(Stop):
        train(method, config, tmp_path / "b", progress=stop_at(5))
    stopped = Run(tmp_path / "b")
    assert not stopped.complete
    assert stopped.resume_file.is_file()
    resumed = train(method, config, tmp_path / "b", resume=True)
    assert whole(resumed) == expected
    assert columns(resumed) == columns(Run(tmp_path / "a"))


def columns(run: Run) -> list[dict[str, float]]:
    """The table of losses, less what a clock says."""
    return [
        {name: value for name, value in row.items() if name != "images_per_second"}
        for row in run.metrics()
    ]


def test_a_run_stopped_before_its_first_epoch_ended_starts_again(tmp_path: Path) -> None:
    expected = whole(train("supervised", settings("supervised"), tmp_path / "a"))
    with pytest.raises(Stop):
        train("supervised", settings("supervised"), tmp_path / "b", progress=stop_at(1))
    assert (
        whole(train("supervised", settings("supervised"), tmp_path / "b", resume=True)) == expected
    )


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    digests = [
        train("gan", settings("gan", seed=seed, epochs=1), tmp_path / name).digest()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("method", TINY)
def test_a_run_without_epochs_is_where_a_longer_one_began(method: str, tmp_path: Path) -> None:
    train_before(method, settings(method), tmp_path)
    control = train(method, settings(method, epochs=0), tmp_path / "untrained")
    assert not (control.path / "metrics.csv").exists()
    trained = train(method, settings(method, epochs=1, save_every=(0,)), tmp_path / "trained")
    for name in control.extractors:
        begun = trained.load_extractor(name, epoch=0).state_dict()
        for key, value in control.load_extractor(name).state_dict().items():
            assert torch.equal(value, begun[key]), key


def test_a_finished_run_stays_unless_told_otherwise(tmp_path: Path) -> None:
    config = settings("supervised", epochs=1)
    run = train("supervised", config, tmp_path / "run")
    before = whole(run)
    with pytest.raises(UsageError, match="'run' exists and is finished; pass --overwrite"):
        train("supervised", config, run.path)
    train("supervised", config, run.path, resume=True)
    assert whole(run) == before
    (run.path / "activations").mkdir()
    again = train("supervised", settings("supervised", epochs=1, seed=3), run.path, overwrite=True)
    assert whole(again) != before
    assert not (run.path / "activations").exists()  # they were of other weights


def test_the_run_that_is_replaced_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    run = train("supervised", settings("supervised", epochs=1), tmp_path / "run")
    (run.path / "notes.txt").write_text("mine")
    before = whole(run)
    with pytest.raises(TrainingError):
        bad = settings("supervised", lr=1e30, warmup_epochs=0)
        train("supervised", bad, run.path, overwrite=True)
    assert whole(run) == before
    train("supervised", settings("supervised", epochs=1, seed=1), run.path, overwrite=True)
    assert whole(run) != before
    assert (run.path / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_replacement_that_never_finished_does_not_cost_the_run_it_replaces(
    tmp_path: Path,
) -> None:
    run = train("supervised", settings("supervised", epochs=1), tmp_path / "run")
    (run.path / "notes.txt").write_text("mine")
    before = whole(run)
    with pytest.raises(Stop):
        again = settings("supervised", seed=1)
        train("supervised", again, run.path, overwrite=True, progress=stop_at(5))
    with pytest.raises(TrainingError):
        bad = settings("supervised", lr=1e30, warmup_epochs=0)
        train("supervised", bad, run.path, overwrite=True)
    assert whole(run) == before
    assert (run.path / "notes.txt").read_text() == "mine"


def test_a_run_is_trained_by_one_process_at_a_time(tmp_path: Path) -> None:
    config = settings("supervised", epochs=1)

    def train_again(*progress: object) -> None:
        with pytest.raises(UsageError, match="'run' is being trained by another process"):
            train("supervised", config, tmp_path / "run", resume=True)

    train("supervised", config, tmp_path / "run", progress=train_again)


def test_a_device_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="no cuda device for torch; try --device cpu"):
        train("supervised", settings("supervised", device="cuda"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_continue_under_other_settings(tmp_path: Path) -> None:
    train("supervised", settings("supervised", epochs=1), tmp_path / "run")
    with pytest.raises(UsageError, match=r"started with epochs = 1, now it is 2"):
        train("supervised", settings("supervised", epochs=2), tmp_path / "run", resume=True)


def test_a_folder_that_is_not_a_run_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("all of it")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="exists and is not a run"):
            train("supervised", settings("supervised"), tmp_path / "thesis", **options)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "all of it"


def test_a_loss_that_is_not_finite_stops_and_names_itself(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"loss became (nan|inf) at step \d, in epoch 1; a lower lr",
    ):
        train("supervised", settings("supervised", lr=1e30, warmup_epochs=0), tmp_path / "run")
    assert not Run(tmp_path / "run").complete


def test_a_batch_larger_than_the_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch_size is 500, .* has 100 images; make it smaller"):
        train("supervised", settings("supervised", batch_size=500), tmp_path / "run")
    with pytest.raises(UsageError, match="multiple of the 10 generators"):
        train("mgan", settings("mgan", batch_size=99), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_supervised_training_is_scored_on_held_out_images(tmp_path: Path) -> None:
    config = settings("supervised", epochs=4, split="train", test="test", width=8, batch_size=64)
    run = train("supervised", config, tmp_path / "run")
    assert run.load_state(run.checkpoint)["held_out"]["accuracy"] > 0.7
    assert run.last_metrics()["loss"] < 1.0


def test_mgan_shares_what_it_says(tmp_path: Path) -> None:
    for shared in (0, 2, 4):
        config = settings("mgan", epochs=1, shared=shared)
        run = train("mgan", config, tmp_path / str(shared))
        networks = run.load_state(run.checkpoint)["networks"]
        for conv in (1, 2, 3, 4):
            own, other = (
                [value for key, value in networks[name].items() if key.startswith(f"conv{conv}.")]
                for name in ("discriminator", "classifier")
            )
            assert torch.equal(own[0], other[0]) == (conv <= shared)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    run = train("supervised", settings("supervised", epochs=0), tmp_path / "run")
    content = run.checkpoint.read_bytes()
    run.checkpoint.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match=r"checkpoint\.pt has .* kB, and config\.json beside it"):
        run.load_extractor()
    run.checkpoint.write_bytes(content[len(content) // 2 :] * 2)
    with pytest.raises(StoreError, match="damaged or not a checkpoint"):
        run.load_extractor()


def test_a_checkpoint_never_runs_code(tmp_path: Path) -> None:
    run = train("supervised", settings("supervised", epochs=0), tmp_path / "run")
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker,))

    enough = torch.zeros(100_000)  # else its size is refused before it is read
    torch.save({"networks": Hostile(), "enough": enough}, run.checkpoint)
    with pytest.raises(StoreError, match="damaged or not a checkpoint"):
        run.load_extractor()
    assert not marker.exists()


def test_configurations_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'temprature'; did you mean 'temperature'"):
        configure("simclr", {"temprature": 1}, "options")
    with pytest.raises(UsageError, match="options: temperature = -1; input should be greater than"):
        configure("simclr", {"temperature": -1}, "options")
    with pytest.raises(UsageError, match="depth = 19"):
        configure("simclr", {"depth": 19}, "options")
    with pytest.raises(UsageError, match="unknown method 'simcrl'; did you mean 'simclr'"):
        find_method("simcrl")
    (tmp_path / "broken.toml").write_text("epochs = ")
    with pytest.raises(UsageError, match="not a TOML file"):
        read_toml(tmp_path / "broken.toml")


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    factors = [warmup_cosine(step, 100, 10) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors.index(max(factors)) in (9, 10)
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)


def test_learning_rate_falls_by_steps_at_shares_of_the_run() -> None:
    ninety = [warmup_steps(epoch, 90, 5, (1 / 3, 2 / 3, 8 / 9)) for epoch in range(90)]
    assert ninety[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    falls = [epoch for epoch in range(6, 90) if ninety[epoch] < ninety[epoch - 1]]
    assert falls == [30, 60, 80]
    assert [ninety[epoch] for epoch in falls] == pytest.approx([0.1, 0.01, 0.001])
    short = [warmup_steps(epoch, 35, 0, (3 / 7, 5 / 7)) for epoch in range(35)]
    assert [short.index(0.1), short.index(pytest.approx(0.01))] == [15, 25]


def test_learning_rate_stays_then_falls_exponentially_to_a_hundredth() -> None:
    factors = [constant_exponential(step, 400) for step in range(401)]
    assert factors[:201] == [1.0] * 201
    assert factors[300] == pytest.approx(0.1)
    assert factors[400] == pytest.approx(0.01)


@pytest.mark.slow
def test_a_killed_training_continues_to_the_same_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``kill -9`` of the real command once it has saved an epoch, then ``--resume``."""
    start = ("train", "supervised", "--runs", str(tmp_path))
    command = (*start, "--depth", "10", "--width", "4", "--epochs", "4", "--split", "train[:400]")
    monkeypatch.setattr(sys, "argv", [])
    assert run_command(*command, "--name", "whole") == 0
    killed = Run(tmp_path / "killed")
    process = subprocess.Popen(
        [sys.executable, "-m", "repsim", *command, "--name", "killed"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not killed.resume_file.exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.complete
    assert run_command(*start, "--name", "killed", "--resume") == 0
    assert whole(killed) == whole(Run(tmp_path / "whole"))
