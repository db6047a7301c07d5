"""Devices by name, and the memory that is free."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from repsim import devices
from repsim.devices import default_memory, find_device, float64_device, in_units
from repsim.errors import UsageError

CPU = torch.device("cpu")
MEMINFO = "MemTotal:       16000000 kB\nMemFree: 10 kB\nMemAvailable:    8000000 kB\n"
V2, V1 = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"


def machine(monkeypatch: Any, files: dict[str, str]) -> None:
    """A machine with these files and no others."""

    def read_text(self: Path, *arguments: Any, **options: Any) -> str:
        if str(self) not in files:
            raise FileNotFoundError(self)
        return files[str(self)]

    monkeypatch.setattr(Path, "read_text", read_text)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"/proc/meminfo": MEMINFO}, 8_192_000_000),
        ({"/proc/meminfo": MEMINFO, V2: "max\n"}, 8_192_000_000),
        ({"/proc/meminfo": MEMINFO, V2: "1073741824\n"}, 1 << 30),
        ({"/proc/meminfo": MEMINFO, V1: "2147483648"}, 1 << 31),
        ({"/proc/meminfo": MEMINFO, V2: "max", V1: "2147483648"}, 1 << 31),
        ({"/proc/meminfo": MEMINFO, V1: "9223372036854771712"}, 8_192_000_000),
    ],
    ids=["no group", "no limit", "limit", "old limit", "old beside new", "old without"],
)
def test_a_quarter_of_what_is_free_and_allowed(
    files: dict[str, str], free: int, monkeypatch: Any
) -> None:
    machine(monkeypatch, files)
    assert default_memory(CPU) == free // 4


@pytest.mark.parametrize("meminfo", ["", "MemTotal: 5 kB", "nonsense", "MemAvailable:"])
def test_a_system_that_does_not_say_gives_what_there_is(meminfo: str, monkeypatch: Any) -> None:
    machine(monkeypatch, {"/proc/meminfo": meminfo})
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert default_memory(CPU) == 1_024_000

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert default_memory(CPU) == 1 << 30
    monkeypatch.delattr(os, "sysconf")
    assert default_memory(CPU) == 1 << 30


def test_this_machine_has_some_memory() -> None:
    assert 1 << 20 < default_memory(CPU) < 1 << 50


def test_an_accelerator_is_asked_itself(monkeypatch: Any) -> None:
    cuda = SimpleNamespace(mem_get_info=lambda device: (4000, 9000))
    monkeypatch.setattr(devices, "torch", SimpleNamespace(cuda=cuda))
    assert default_memory(torch.device("cuda")) == 1000


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1, "1 bytes"),
        (1536, "1.5 KiB"),
        (3 << 20, "3 MiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 41, "2048.0 GiB"),
    ],
)
def test_bytes_as_people_read_them(size: int, text: str) -> None:
    assert in_units(size) == text


def test_devices_by_name(monkeypatch: Any) -> None:
    assert find_device("cpu") == CPU
    with pytest.raises(UsageError, match="unknown device 'gpu7'; try cpu, cuda or mps"):
        find_device("gpu7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="this machine has no cuda device"):
        find_device("cuda")
    assert find_device("auto") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto").type == "mps"
    assert float64_device("mps") == CPU  # which has float64 to sum in


@pytest.mark.parametrize("fails", [False, True])
def test_small_work_runs_in_one_thread_and_leaves_the_number_as_it_was(fails: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with devices.threads_for(10**9, CPU):
            assert torch.get_num_threads() == 2
        with devices.threads_for(10, torch.device("meta")):
            assert torch.get_num_threads() == 2
        try:
            with devices.threads_for(10, CPU):
                assert torch.get_num_threads() == 1
                if fails:
                    raise KeyError
        except KeyError:
            pass
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
