"""``log.csv``: the record of what was made, and of the machine that made it."""

from __future__ import annotations

import csv
import os
import platform
import time
from pathlib import Path

import torch

from repsim._version import __version__
from repsim.devices import find_device
from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.files import csv_text, write_atomic
from repsim.training.run import Run

_COLUMNS = ("task", "seconds", "finished", "repsim", "machine")


class Log:
    """A record of the steps that were made: when, in how long, on which machine.

    Args:
        folder: of the reproduction.
    """

    def __init__(self, folder: Folder) -> None:
        self._path = folder.path / "log.csv"
        self._machine = machine(find_device(folder.device))

    def rows(self) -> list[dict[str, str]]:
        """The lines so far."""
        if not self._path.is_file():
            return []
        with self._path.open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = list(csv.DictReader(stream))
        return [row for row in rows if set(row) == set(_COLUMNS) and None not in row.values()]

    def of(self, steps: list[Step]) -> list[dict[str, str]]:
        """The lines of some steps."""
        names = {step.path.name for step in steps}
        return [row for row in self.rows() if row["task"] in names]

    def add(self, step: Step, seconds: float) -> None:
        """Note that a step was finished; of a run that was interrupted, all of its epochs count."""
        if isinstance(step, Training):
            seconds = max(seconds, trained_seconds(step.run, step.images))
        finished = time.strftime("%Y-%m-%dT%H:%M:%S")
        values = (step.path.name, f"{seconds:.1f}", finished, __version__, self._machine)
        row = dict(zip(_COLUMNS, values, strict=True))
        write_atomic(self._path, csv_text([*self.rows(), row]))

    def add_unnoted(self, steps: list[Step]) -> None:
        """Note the runs that another process finished after this one was interrupted."""
        noted = {row["task"] for row in self.rows()}
        for step in steps:
            if isinstance(step, Training) and step.done and step.path.name not in noted:
                self.add(step, 0.0)


def trained_seconds(run: Run, images: int) -> float:
    """Seconds that the epochs of a run took, in however many sittings."""
    speeds = [row["images_per_second"] for row in run.metrics()]
    return sum(images / speed for speed in speeds if speed > 0)


def machine(device: torch.device) -> str:
    """The machine that numbers were made on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} processors, {torch.get_num_threads()} threads"
