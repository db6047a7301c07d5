"""Tensors of several processes; of one, nothing has to be set up."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def of_other_ranks(x: Tensor) -> Tensor | None:
    """The rows (m, ...) that the other processes pass here, in order of rank; None where alone.

    Every process passes as many rows. Gradients flow back to where the rows came from, added up
    over the processes that used them. If each process takes the mean of its own losses, and the
    gradients of the weights are averaged over the processes, as usual, then that average is the
    gradient of the mean of all losses.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return None
    parts = list(_Gather.apply(x))
    del parts[dist.get_rank()]
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    """x of every rank; the gradient of x sums what every rank found for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = torch.stack(gradients)
        dist.all_reduce(total)
        return total[dist.get_rank()]
