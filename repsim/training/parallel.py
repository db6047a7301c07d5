"""Training in several processes: their start, and the sums and values that they exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from repsim.errors import UsageError
from repsim.launch import find_launch
from repsim.training.config import TrainConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def start(config: TrainConfig) -> Fabric:
    """Start or join the processes that ``config``, torchrun or SLURM asks for, each on its device.

    Raises:
        UsageError: a device or precision that is not there, or numbers that contradict each other.
    """
    launch = find_launch(config.device, config.devices)
    check_precision(config.precision, launch.device)
    _check_shares(config, launch.processes)
    return launch.start(config.precision)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse float16 where torch scales no losses: it would quietly be something else."""
    if precision == "16-mixed" and device.type != "cuda":
        raise UsageError(
            f"precision 16-mixed needs a cuda device, not {device.type}; try --precision bf16-mixed"
        )


def _check_shares(config: TrainConfig, world: int) -> None:
    parts = world * config.accumulate
    if config.batch_size % parts:
        raise UsageError(
            f"batch_size is {config.batch_size}; expected a multiple of {parts}: of {world} "
            f"(processes) times {config.accumulate} (parts of a batch)"
        )


def agree(fabric: Fabric, action: Callable[..., T], *arguments: Any) -> T:
    """Run ``action`` in the first process alone; all return, or raise, what it did.

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
    """The rows of all processes. Gradients are added up, since each process used all rows."""

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
    """Random numbers that all processes draw alike, beside those of each process alone.

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
