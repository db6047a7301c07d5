"""Reversible units, and groups of them that train without keeping activations (Gomez et al. 2017).

A unit splits its channels into halves x1 and x2, and gives x2 and x1 + F(x2). Its input follows
from its output, so that a backward pass needs the output of the last unit alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from repsim.networks.residual import preactivated

#: The first and the second half of the channels of a batch.
Halves = tuple[Tensor, Tensor]


class ReversibleUnit(nn.Module):
    """(x1, x2) to (x2, x1 + F(x2)), F being a bottleneck with pre-activation on half of the
    channels.

    Args:
        channels: of input and output.
        empty: channels on either side of the input that are zero by construction. The inverse sets
            them to zero: their rounding errors would be divided by a deviation of zero, and so be
            several hundred times as large in F.
    """

    def __init__(self, channels: int, empty: int = 0) -> None:
        super().__init__()
        self.empty = empty
        self.residual = nn.Sequential(*preactivated(channels // 2, channels // 2))

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = _halves(x)
        return torch.cat([x2, x1 + self.residual(x2)], 1)

    def inverse(self, y: Tensor) -> Tensor:
        """The input that gave an output."""
        x2, y2 = self._known(*_halves(y))
        return torch.cat([self._filled(y2 - self.residual(x2)), x2], 1)

    def step_back(
        self, y: Halves, grad: Halves
    ) -> tuple[Halves, Halves, dict[nn.Parameter, Tensor]]:
        """The input, its gradient, and the weights' gradients, from the output and its gradient."""
        (x2, y2), (grad1, grad2) = self._known(*y), grad
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        with torch.enable_grad():
            start = x2.detach().requires_grad_()
            change = self.residual(start)
        along, *of_weights = torch.autograd.grad(change, [start, *weights], grad2.to(change.dtype))
        x1 = self._filled(y2 - change.detach())
        gradients = dict(zip(weights, of_weights, strict=True))
        return (x1, x2), (grad2, grad1 + along), gradients

    def _known(self, x2: Tensor, y2: Tensor) -> Halves:
        """The output, with its first half as it was before anything was rounded."""
        kept = x2.shape[1] - self.empty
        return (F.pad(x2[:, :kept], (0, 0, 0, 0, 0, self.empty)) if self.empty else x2), y2

    def _filled(self, x1: Tensor) -> Tensor:
        """The first half of the input, with its empty channels."""
        return F.pad(x1[:, self.empty :], (0, 0, 0, 0, self.empty, 0)) if self.empty else x1


class ReversibleGroup(nn.Module):
    """Reversible units in a row, whose output alone is kept for the backward pass of training.

    Each unit's input is computed from its output then, and its residual part runs a second time; so
    do hooks on modules inside the units. In evaluation mode, or without gradients, the units run as
    any modules do. Under autocast the halves stay in float32: sums that were rounded to fewer
    digits could not be undone.

    Args:
        channels: of input and output.
        count: units.
        empty: channels on either side of the input that are zero by construction.
        recompute: False to keep activations in training, as ordinary networks do.
    """

    def __init__(
        self, channels: int, count: int, *, empty: int = 0, recompute: bool = True
    ) -> None:
        super().__init__()
        others = (ReversibleUnit(channels) for _ in range(count - 1))
        self.units = nn.Sequential(ReversibleUnit(channels, empty), *others)
        self.recompute = recompute

    def forward(self, x: Tensor) -> Tensor:
        if _autocast(x)["enabled"]:
            x = x.float()
        if self.recompute and self.training and torch.is_grad_enabled():
            return _Recomputed.apply(x, self.units, *self.units.parameters())
        return self.units(x)

    def inverse(self, y: Tensor) -> Tensor:
        """The input that gave an output, to rounding. In training mode, of the same batch."""
        with _once_more(self.units, training=self.training):
            for unit in _backwards(self.units):
                y = unit.inverse(y)
        return y


class _Recomputed(torch.autograd.Function):
    """Units whose activations are computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, units: nn.Sequential, *weights: Tensor) -> Tensor:
        ctx.units, ctx.autocast = units, _autocast(x)
        y = units(x)
        # With the weights, torch refuses a backward pass after one of them was changed in place.
        ctx.save_for_backward(y, *weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved, *_ = ctx.saved_tensors
        y, grad = _halves(saved), _halves(grads[0])
        found: dict[nn.Parameter, Tensor] = {}
        with torch.autocast(**ctx.autocast), _once_more(ctx.units, training=True):
            for unit in _backwards(ctx.units):
                y, grad, gradients = unit.step_back(y, grad)
                found |= gradients
        return torch.cat(grad, 1), None, *(found.get(weight) for weight in ctx.units.parameters())


def _halves(x: Tensor) -> Halves:
    first, second = x.chunk(2, 1)
    return first, second


def _autocast(x: Tensor) -> dict[str, Any]:
    """The arguments of an ``autocast`` like the present one; the backward pass is without it."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):  # as for meta tensors
        return {"device_type": "cpu", "enabled": False}
    dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    return {"device_type": kind, "dtype": dtype, "enabled": enabled}


def _backwards(units: nn.Sequential) -> Iterable[ReversibleUnit]:
    for unit in reversed(units):
        assert isinstance(unit, ReversibleUnit)
        yield unit


@contextmanager
def _once_more(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Let batch normalisations repeat a pass, without a second move of their running statistics."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    before = [(norm, norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = training, False
    try:
        yield
    finally:
        for norm, mode, tracks in before:
            norm.training, norm.track_running_stats = mode, tracks
