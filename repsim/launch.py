"""One command as several processes, each with a device of its own.

Training and harvesting start here. torchrun or SLURM's srun may have started all processes already;
otherwise this one runs its own command line again for each other device.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist

from repsim.devices import find_device
from repsim.errors import UsageError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import ClusterEnvironment

Starter = Literal["this process", "torchrun", "srun"]


def is_leader(environment: Mapping[str, str] = os.environ) -> bool:
    """True in the process that writes files and talks: the first one, however it was started."""
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if "SLURM_STEP_ID" in environment:
        return environment.get("SLURM_PROCID", "0") == "0"
    return all(environment.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


@dataclass(frozen=True)
class Launch:
    """The processes that take part in a command.

    Attributes:
        device: the kind of device that each of them computes on.
        each: processes a machine.
        machines: machines.
        starter: what has started the processes, or will.
    """

    device: torch.device
    each: int
    machines: int
    starter: Starter

    @property
    def processes(self) -> int:
        """The number of all processes."""
        return self.each * self.machines

    def start(self, precision: Any = "32-true") -> Fabric:
        """Start the processes, or join those that were started, and meet."""
        from lightning_fabric import Fabric

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        options: dict[str, Any] = {"accelerator": self.device.type, "precision": precision}
        environment = _environment(self.starter)
        if self.processes == 1:
            return Fabric(**options, devices=1, plugins=[environment])
        strategy = _unwrapped(environment)
        fabric = Fabric(**options, devices=self.each, num_nodes=self.machines, strategy=strategy)
        fabric.launch()
        atexit.register(_part)
        return fabric


def find_launch(device: str, devices: int = 1) -> Launch:
    """The processes that the arguments, torchrun or srun ask for; starts none of them.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        devices: processes on this machine, each with a device; 1 leaves it to whatever has started
            them.

    Raises:
        UsageError: a device that is not there, or another number than was started.
    """
    found = Launch(find_device(device), *_started(devices))
    kind, each = found.device.type, found.each
    if found.starter != "this process" and devices not in (1, each):
        raise UsageError(
            f"devices is {devices}, but {found.starter} started {each} processes a machine; "
            "leave --devices to it"
        )
    if kind == "cuda" and each > torch.cuda.device_count():
        raise UsageError(
            f"devices is {each}, but this machine has {torch.cuda.device_count()} for torch; "
            "try fewer, or --device cpu"
        )
    if kind == "mps" and each > 1:
        raise UsageError(f"devices is {each}, but mps is one device; try --devices 1")
    return found


def _started(devices: int) -> tuple[int, int, Starter]:
    """Processes a machine, machines, and what starts them."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        each, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        return each, world // each, "torchrun"
    tasks = int(os.environ.get("SLURM_NTASKS", 1))
    if "SLURM_STEP_ID" not in os.environ or tasks == 1:
        return devices, 1, "this process"
    machines = int(os.environ.get("SLURM_NNODES", 1))
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UsageError(
            f"srun started {tasks} tasks without saying how many a machine; "
            f"try: srun --ntasks-per-node={tasks // machines}"
        )
    return tasks // machines, machines, "srun"


def _environment(starter: Starter) -> ClusterEnvironment:
    from lightning_fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    if starter == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return TorchElasticEnvironment() if starter == "torchrun" else LightningEnvironment()


def _unwrapped(environment: ClusterEnvironment) -> Any:
    from lightning_fabric.strategies import DDPStrategy

    class Unwrapped(DDPStrategy):
        """Fabric's processes, without the hooks that average gradients during each backward pass.

        A step of training may have several networks, which share parameters, several forward passes
        and several optimisers. ``Stepper`` averages what an optimiser is about to use, once.
        """

        def setup_module(self, module: Any) -> Any:
            return module

    return Unwrapped(cluster_environment=environment)


def _part() -> None:
    """Leave the group in order.

    A thread of gloo's that lives longer than the interpreter aborts the process when it lets go of
    a tensor; Fabric leaves groups of NCCL alone.
    """
    if dist.is_initialized():
        dist.destroy_process_group()


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


def start_processes(device: str, devices: int = 1) -> Processes:
    """The processes of ``find_launch``, started, for what only shares out work and waits."""
    found = find_launch(device, devices)
    if found.processes == 1:  # without importing Fabric
        return Processes(0, 1, found.device, lambda: None)
    fabric = found.start()
    return Processes(fabric.global_rank, fabric.world_size, fabric.device, fabric.barrier)
