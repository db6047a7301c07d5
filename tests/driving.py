"""Training as tests drive it: stopped at a step, or by the real command in a copied workspace."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repsim.cli.main import main
from repsim.training.compose import configure, settings_of_family
from repsim.training.loop import train


class Stop(Exception):
    """The exception that interrupts a training."""


def stop_at(step: int) -> Callable[..., None]:
    """A progress that stops training once ``step`` steps are done."""

    def progress(done: int, total: int, note: str = "") -> None:
        if done == step:
            raise Stop

    return progress


def run_command(*arguments: object) -> int:
    """The real entry point; its exit status. It leaves ``sys.argv`` changed."""
    sys.argv = ["repsim", *map(str, arguments)]
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def train_before(method: str, config: Any, folder: Path, epochs: int = 0) -> None:
    """Train the run that a latent regressor of some settings begins from; nothing of others."""
    if method != "latent_regressor":
        return
    same = ("network", "latent", "noise", "data", "split", "test", "image_size")
    names = (*same, *settings_of_family(config.network))
    values = {name: getattr(config, name) for name in names}
    values |= {"epochs": epochs, "batch_size": 50, "sheet": 0, "coverage": 0}
    values["statistics_batches"] = 2
    train("gan", configure("gan", values), folder / config.gan)


def enter_copy(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go into a copy of a workspace that a test may change; its folder."""
    folder = tmp_path / "copy"
    shutil.copytree(workspace, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [])  # run_command changes it
    return folder
