"""One command as several processes, each with a device of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from repsim.devices import find_device
from repsim.errors import UsageError


@dataclass(frozen=True)
class Processes:
    """This process among those that run the same command.

    Attributes:
        rank: of this one, from 0.
        world: how many there are.
        device: that this one computes on.
        barrier: returns once every process has called it.
    """

    rank: int
    world: int
    device: torch.device
    barrier: Callable[[], None]


def start_processes(device: str, devices: int | None = None) -> Processes:
    """Start the command on several devices, or take part where a launcher started it.

    With ``devices`` above 1 the command line of this process is run again for each other device.
    ``torchrun`` and SLURM have started all processes already.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        devices: how many of them, each with a process; None for one, or what a launcher says.

    Raises:
        UsageError: more devices than there are, or not as many as the launcher has started.
    """
    kind = find_device(device)
    launched = int(os.environ.get("LOCAL_WORLD_SIZE", 0))  # by torchrun
    if launched and devices not in (None, launched):
        raise UsageError(f"--devices {devices}, but torchrun started {launched} processes here")
    count = launched or devices or 1
    nodes = int(os.environ.get("WORLD_SIZE", count)) // count if launched else 1
    if kind.type == "cuda" and count > torch.cuda.device_count():
        raise UsageError(f"{count} devices, but there are {torch.cuda.device_count()} CUDA devices")
    if kind.type == "mps" and count > 1:
        raise UsageError("--devices needs cpu or cuda; MPS is one device")
    if count * nodes == 1:
        return Processes(0, 1, kind, lambda: None)
    return _launch(kind.type, count, nodes)


def _launch(accelerator: str, devices: int, nodes: int) -> Processes:
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    options: dict[str, Any] = {"accelerator": accelerator, "devices": devices, "num_nodes": nodes}
    fabric = Fabric(strategy="ddp", **options)
    fabric.launch()
    return Processes(fabric.global_rank, fabric.world_size, fabric.device, fabric.barrier)
