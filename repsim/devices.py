"""Devices by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from repsim.errors import UsageError

#: Types of devices that have no float64.
_WITHOUT_FLOAT64 = frozenset({"mps"})

#: Multiplications of a matrix product that is worth more threads than one: a millisecond of work.
_WORTH_THREADS = 20_000_000


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
    return found if has_float64(found) else torch.device("cpu")


def has_float64(device: torch.device) -> bool:
    """True of a device that computes in float64."""
    return device.type not in _WITHOUT_FLOAT64


def kind_of(device: torch.device) -> str:
    """``"cpu"`` or ``"accelerator"``, by which the sizes of tiles go."""
    return "cpu" if device.type == "cpu" else "accelerator"


@contextmanager
def threads_for(products: int, device: torch.device) -> Iterator[None]:
    """One thread for a block whose matrix products are of few multiplications each, on the CPU.

    Threads would wait for each other longer than they work. The number is the whole process's, as
    torch has it, and what it was after the block.
    """
    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1 or products >= _WORTH_THREADS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def default_memory(device: torch.device) -> int:
    """Bytes that a computation may take where the caller sets no limit: a quarter of what is free.

    4 GiB count as free where the system does not say.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 4)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(dict(line.split(":") for line in lines)["MemAvailable"].split()[0])
    except (OSError, LookupError, ValueError):
        try:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            free = 4 << 30
    return min(free, _allowed()) // 4


def in_units(size: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _allowed() -> int:
    """Bytes that the control group of this process may take, as clusters set them."""
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return int(Path(limit).read_text())
        except (OSError, ValueError):  # absent, or "max"
            continue
    return 1 << 62
