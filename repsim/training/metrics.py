"""Means of losses over an epoch, the first that is not finite, and where they are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from repsim.devices import has_float64
from repsim.errors import TrainingError
from repsim.files import csv_text, write_atomic

_NEVER = 2**62


class Diverged(TrainingError):
    """A loss or weight that is not finite."""


class Means:
    """Running means of losses, kept on their device so that no step waits for it.

    Args:
        device: of the losses.
        processes: that have each their own; ``check`` and ``overall`` are for all of them at once.
    """

    def __init__(self, device: torch.device, processes: int = 1) -> None:
        self._device = device
        self._processes = processes
        self._kind = torch.float64 if has_float64(device) else torch.float32
        self._names: tuple[str, ...] = ()
        self._sums = self._since = torch.empty(0)
        self._count = 0

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Note the losses of ``step``, scalars under the same names each time."""
        if not self._names:
            self._names = tuple(losses)
            self._sums = torch.zeros(len(losses), dtype=self._kind, device=self._device)
            self._since = torch.full((len(losses),), _NEVER, device=self._device)
        values = torch.stack([losses[name].detach().to(self._kind) for name in self._names])
        self._sums += values
        news = ~values.isfinite() & (self._since > step)
        self._since = torch.where(news, step, self._since)
        self._count += 1

    def check(self) -> None:
        """Raise ``Diverged`` if a loss was not finite, naming the first."""
        earliest = self._since.clone()
        if self._processes > 1:
            dist.all_reduce(earliest, dist.ReduceOp.MIN)
        since = earliest.tolist()
        if min(since, default=_NEVER) < _NEVER:
            step = min(since)
            name = self._names[since.index(step)]
            raise Diverged(f"{name} became {self.overall()[name]} at step {step + 1}")

    def overall(self) -> dict[str, float]:
        """The means over all processes."""
        sums = self._sums / self._processes
        if self._processes > 1:
            dist.all_reduce(sums)
        return self._means(sums)

    def brief(self) -> str:
        """The means of this process, for a progress bar."""
        return " ".join(f"{name} {value:.3f}" for name, value in self._means(self._sums).items())

    def _means(self, sums: Tensor) -> dict[str, float]:
        return {
            name: value / self._count
            for name, value in zip(self._names, sums.tolist(), strict=True)
        }


def check_weights(networks: Mapping[str, torch.nn.Module]) -> None:
    """Raise ``Diverged`` if a network has weights or statistics that are not finite.

    The last step of an epoch can spoil weights without a loss that shows it.
    """
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise Diverged(f"{key} of network {name!r} is not finite")


class Log:
    """``metrics.csv`` of a run, and its event files where TensorBoard is installed."""

    def __init__(self, folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        self.rows = [dict(row) for row in rows]
        self._board = _board(folder / "tensorboard", len(rows))

    def add(self, row: Mapping[str, Any]) -> None:
        """Take note of an epoch."""
        self.rows.append(dict(row))
        if self._board is not None:
            for name, value in row.items():
                if name != "epoch" and math.isfinite(value):
                    self._board.add_scalar(name, value, row["epoch"])

    def write(self) -> None:
        """Write down what was noted."""
        if self.rows:
            write_atomic(self.folder / "metrics.csv", csv_text(self.rows))
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _board(folder: Path, epochs: int) -> Any:
    """A writer of event files that goes on after ``epochs``; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception:  # absent, or of a release that does not fit: training can do without
        return None
    return SummaryWriter(str(folder), purge_step=epochs + 1 if epochs else None)
