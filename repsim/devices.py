"""Devices by name."""

from __future__ import annotations

import torch

from repsim.errors import UsageError


def find_device(device: torch.device | str) -> torch.device:
    """``device``, checked to be there; ``"auto"`` is the accelerator that torch finds, or the CPU.

    Raises:
        UsageError: no such device, or not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UsageError(f"unknown device {device!r}; try cpu, cuda or mps") from None
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(found.type, True):
        raise UsageError(f"this machine has no {found.type} device for torch; try --device cpu")
    return found


def float64_device(device: torch.device | str) -> torch.device:
    """``device``, or the CPU in place of MPS, which has no float64 to sum in."""
    found = find_device(device)
    return torch.device("cpu") if found.type == "mps" else found
