"""Training in several processes gives what one process would."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import steps
import torch
from driving import run_command

from repsim.errors import UsageError
from repsim.training.config import TrainConfig
from repsim.training.parallel import agree, start
from repsim.training.run import Run


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_starts() -> None:
    shares = "batch_size is 100; .* multiple of 6: of 3 .processes. times 2"
    with pytest.raises(UsageError, match=shares):
        start(TrainConfig(batch_size=100, devices=3, accumulate=2, device="cpu"))


def test_one_process_needs_no_agreement() -> None:
    fabric = start(TrainConfig(device="cpu"))
    assert agree(fabric, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        agree(fabric, divmod, 7, 0)


# Two processes

TORCHRUN_COMMAND = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


SMOOTH = ("supervised", "simclr", "rotation", *steps.ON_PATCHES)
METHODS = (*SMOOTH, "exemplar")


@pytest.fixture(scope="module")
def of_two() -> dict[str, list[float]]:
    """Losses of each method in two processes, which train one after the other: to start them takes
    longer."""
    run = python(*TORCHRUN_COMMAND, steps.__file__, *METHODS)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("method", SMOOTH)
def test_two_processes_train_as_one(method: str, of_two: dict[str, list[float]]) -> None:
    """The same losses to 1e-5 over 20 steps, at the method's own learning rate.

    Batch statistics and negatives are those of the whole batch, and so is the augmentation.
    """
    one, two = steps.losses(method), of_two[method]
    assert len(one) == len(set(one)) == 20
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_exemplars_of_two_processes_are_each_others_negatives(
    of_two: dict[str, list[float]],
) -> None:
    """The same losses to 1e-7 over four steps.

    Later ones may differ, since the loss jumps where rounding makes another view the nearest that
    lies beyond the positive.
    """
    one, two = steps.losses("exemplar"), of_two["exemplar"]
    assert len(set(one)) == 20
    np.testing.assert_allclose(two[:4], one[:4], rtol=0, atol=1e-7)


def losses(run: Run) -> list[float]:
    with (run.path / "metrics.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


SETTINGS = (
    *("train", "supervised", "--preset", "tiny", "--device", "cpu"),
    *("--warmup-epochs", 0, "--lr", 1e-4, "--ema", 0.9, "--save-every", 1),
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run that this process trains by itself."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", sys.argv)
        assert run_command(*SETTINGS, "--runs", folder, "--name", "one") == 0
    return Run(folder / "one")


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [False, True])
def test_the_command_trains_in_two_processes_and_one_of_them_writes(
    torchrun: bool, one: Run, tmp_path: Path
) -> None:
    start, devices = (TORCHRUN_COMMAND, ()) if torchrun else ((), ("--devices", 2))
    command = (*start, "-m", "repsim", *SETTINGS, "--runs", tmp_path, "--name", "two", *devices)
    two = python(*command)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("held-out accuracy") == 1
    assert two.stderr.count("next: repsim harvest two") == 1
    runs = [one, Run(tmp_path / "two")]
    assert [run.describe()["processes"] for run in runs] == [1, 2]
    np.testing.assert_allclose(losses(runs[1]), losses(runs[0]), rtol=0, atol=1e-4)
    for epoch in (0, 1, 2):
        networks = [run.load_extractor(epoch=epoch).state_dict() for run in runs]
        assert list(networks[0]) == list(networks[1])
        for name, value in networks[0].items():
            torch.testing.assert_close(networks[1][name], value, rtol=1e-2, atol=1e-3)
    again = python(*command)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("was finished already, with these settings") == 1


@pytest.mark.slow
def test_processes_fail_as_one_and_generators_train_in_several(tmp_path: Path) -> None:
    tiny = ("--preset", "tiny", "--runs", tmp_path, "--devices", 2, "--device", "cpu")
    done = python("-m", "repsim", "train", "mgan", *tiny, "--batch-size", 80)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mgan" / "samples" / "epoch-0002.png").is_file()
    bad = ("--lr", "1e30", "--warmup-epochs", 0)
    failed = python("-m", "repsim", "train", "supervised", *tiny, *bad)
    assert failed.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if line.startswith("repsim: error: ")]
    assert len(lines) == 1
    assert "loss became" in lines[0]
    assert "Traceback" not in failed.stderr
