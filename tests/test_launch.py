"""The launcher: processes that torchrun, srun or the command itself starts."""

from __future__ import annotations

import pytest
import torch

from repsim import launch
from repsim.errors import UsageError
from repsim.launch import find_launch, is_leader, start_processes

SLURM = {
    **{"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_JOB_ID": "1234"},
    **{"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"},
}
TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6", "RANK": "3"},
    **{"LOCAL_RANK": "1"},
}


@pytest.mark.parametrize(
    ("environment", "leads"),
    [
        ({}, True),
        (TORCHRUN, False),
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, True),
        (SLURM, False),
        ({**SLURM, "SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, True),  # a shell inside of an allocation, no step of srun's
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_one_process_writes_and_talks(environment: dict[str, str], leads: bool) -> None:
    assert is_leader(environment) == leads


def started(devices: int) -> tuple[int, int, int, str]:
    found = find_launch("cpu", devices)
    return found.each, found.machines, found.processes, found.starter


def test_without_a_launcher_this_process_starts_the_others() -> None:
    assert started(3) == (3, 1, 3, "this process")
    assert started(1) == (1, 1, 1, "this process")


def test_torchrun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert started(1) == started(2) == (2, 3, 6, "torchrun")
    with pytest.raises(UsageError, match="devices is 3, but torchrun started 2 processes a mach"):
        find_launch("cpu", 3)


def test_srun_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="try: srun --ntasks-per-node=4"):
        find_launch("cpu")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    assert started(1) == started(4) == (4, 2, 8, "srun")
    with pytest.raises(UsageError, match="devices is 8, but srun started 4 processes a machine"):
        find_launch("cpu", 8)


def test_a_shell_in_an_allocation_is_no_step_of_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert started(2) == (2, 1, 2, "this process")


@pytest.mark.parametrize(
    ("kind", "message"),
    [("cuda", "devices is 3, but this machine has 2 for torch"), ("mps", "mps is one device")],
)
def test_more_devices_than_there_are(
    kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "find_device", lambda _: torch.device(kind))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=message):
        find_launch(kind, 3)


def test_one_process_starts_nothing() -> None:
    alone = start_processes("cpu")
    assert (alone.rank, alone.world, alone.device) == (0, 1, torch.device("cpu"))
    alone.barrier()
