"""Training in one process or several: starting them, and what they tell each other."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.training.config import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import ClusterEnvironment

T = TypeVar("T")


def is_leader(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process writes files and talks: the first one, however they were started."""
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if "SLURM_STEP_ID" in environment:
        return environment.get("SLURM_PROCID", "0") == "0"
    return all(environment.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


def start(config: TrainConfig) -> Fabric:
    """The processes that ``config``, torchrun or SLURM asks for, each on its device.

    Raises:
        UsageError: a device or precision that is not there, or numbers that contradict each other.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = find_device(config.device)
    check_precision(config.precision, device)
    devices, nodes, environment = _processes(config.devices)
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(
            f"devices is {devices}, but this machine has {torch.cuda.device_count()} for torch; "
            "try fewer, or --device cpu"
        )
    if device.type == "mps" and devices > 1:
        raise UsageError(f"devices is {devices}, but mps is one device; try --devices 1")
    _check_shares(config, devices * nodes)
    options: dict[str, Any] = {"accelerator": device.type, "precision": config.precision}
    if devices * nodes == 1:
        return Fabric(**options, devices=1, plugins=[environment])
    strategy = _replicated(environment)
    fabric = Fabric(**options, devices=devices, num_nodes=nodes, strategy=strategy)
    fabric.launch()
    atexit.register(_part)
    return fabric


def _part() -> None:
    """Leave the group in order. A thread of gloo's that lives longer than the interpreter aborts
    the process when it lets go of a tensor; Fabric leaves groups of NCCL alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse float16 where torch scales no losses: it would quietly be something else."""
    if precision == "16-mixed" and device.type != "cuda":
        raise UsageError(
            f"precision 16-mixed needs a cuda device, not {device.type}; try --precision bf16-mixed"
        )


def _processes(devices: int) -> tuple[int, int, ClusterEnvironment]:
    """Processes a machine, machines, and who starts them: torchrun, SLURM's srun, or we."""
    from lightning_fabric.plugins.environments import (
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )

    environment: ClusterEnvironment
    if TorchElasticEnvironment.detect():
        each, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        who, nodes, environment = "torchrun", world // each, TorchElasticEnvironment()
    elif "SLURM_STEP_ID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        nodes = int(os.environ.get("SLURM_NNODES", 1))
        who, each = "srun", int(os.environ["SLURM_NTASKS"]) // nodes
        try:
            environment = SLURMEnvironment(auto_requeue=False)
        except RuntimeError:
            raise UsageError(
                f"srun started {os.environ['SLURM_NTASKS']} tasks without saying how many a "
                f"machine; try: srun --ntasks-per-node={each}"
            ) from None
    else:
        return devices, 1, LightningEnvironment()
    if devices not in (1, each):
        raise UsageError(
            f"devices is {devices}, but {who} started {each} processes a machine; "
            "leave --devices to it"
        )
    return each, nodes, environment


def _check_shares(config: TrainConfig, world: int) -> None:
    parts = world * config.accumulate
    if config.batch_size % parts:
        raise UsageError(
            f"batch_size is {config.batch_size}; expected a multiple of {parts}: of {world} "
            f"(processes) times {config.accumulate} (parts of a batch)"
        )


def _replicated(environment: ClusterEnvironment) -> Any:
    from lightning_fabric.strategies import DDPStrategy

    class Replicated(DDPStrategy):
        """Fabric's processes, without the hooks that average gradients during each backward pass.

        A step may have several networks, which share parameters, several forward passes and several
        optimisers. ``Stepper`` averages what an optimiser is about to use, once.
        """

        def setup_module(self, module: Any) -> Any:
            return module

    return Replicated(cluster_environment=environment)


def agree(fabric: Fabric, action: Callable[..., T], *arguments: Any) -> T:
    """What ``action`` returns or raises in the first process, which alone runs it, in all of them.

    The others would otherwise wait for one that has failed.
    """
    if fabric.world_size == 1:
        return action(*arguments)
    result: Any = None
    failed: Exception | None = None
    if fabric.is_global_zero:
        try:
            result = action(*arguments)
        except Exception as error:
            failed = error
    result, failed = fabric.broadcast((result, failed))
    if failed is not None:
        raise failed
    return result


class _Gathered(torch.autograd.Function):
    """All processes' rows; what comes back is added up, as each used all of them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed.chunk(dist.get_world_size())[dist.get_rank()]


class _Summed(torch.autograd.Function):
    """The sum over processes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        summed = value.contiguous().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed


def gather(rows: Tensor) -> Tensor:
    """Rows (n, ...) of every process as (n * processes, ...), differentiable; each gives n."""
    return _Gathered.apply(rows)


def total(value: Tensor) -> Tensor:
    """The sum of ``value`` over the processes, differentiable."""
    return _Summed.apply(value)


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the processes, in one exchange for each type."""
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
        own = [tensor for tensor in tensors if tensor.dtype == kind]
        flat = torch.cat([tensor.flatten() for tensor in own])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for tensor, mean in zip(own, flat.split([each.numel() for each in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))


class CommonRandom:
    """Random numbers that all processes draw alike, beside those that each draws for itself.

    With ``augment`` every process transforms the whole batch and keeps its share. That is more
    work than to transform the share alone, and the only way to give each image what it would be
    given in a single process, whatever the transform draws.
    """

    def __init__(self, device: torch.device, rank: int) -> None:
        self.device = device
        self.rank = rank
        self._common = self._state()

    def split(self, seed: int) -> None:
        """Keep the random state of now as the common one; this process goes on from ``seed``."""
        self._common = self._state()
        torch.manual_seed(seed)

    def augment(self, transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """This process's share of the transform of all processes' images."""
        whole, own = gather(images), self._state()
        self._restore(self._common)
        changed = transform(whole)
        self._common = self._state()
        self._restore(own)
        start = self.rank * len(images)
        return changed[start : start + len(images)]

    def _state(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def _restore(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self.device)
