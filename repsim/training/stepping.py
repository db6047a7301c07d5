"""Optimisers as methods use them, and the moving average of what they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from repsim.training.parallel import average


class Stepper:
    """An optimiser that steps once a batch, on the mean gradient of its parts.

    Each part calls ``zero_grad``, ``backward`` and ``step``. What a part's ``step``
    finds is added up here, so that gradients which other losses of the method leave in the same
    parameters do not mix with it.

    Args:
        optimizer: torch's.
        parts: of a batch, one after the other.
        processes: that hold a share of each part.
        scaler: of float16 losses. Its scale must not change between parts, nor between optimisers
            that step on one loss: whoever calls ``step`` updates it.
        lr_scale: constant factor of the learning rates.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        parts: int = 1,
        processes: int = 1,
        scaler: Any = None,
        lr_scale: float = 1.0,
    ) -> None:
        self.optimizer = optimizer
        self.parts = parts
        self.processes = processes
        self.scaler = scaler
        self._base = [group["lr"] * lr_scale for group in optimizer.param_groups]
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._sums: dict[Tensor, Tensor] = {}
        self.seen = 0  #: calls of ``step``

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def set_lr(self, factor: float) -> None:
        """Let every group's learning rate be its base times ``factor``."""
        for group, base in zip(self.param_groups, self._base, strict=True):
            group["lr"] = base * factor

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self) -> None:
        self.seen += 1
        if self.parts > 1:
            self._add()
            if self.seen % self.parts:
                return
            for parameter, gradient in self._sums.items():
                parameter.grad = gradient
            self._sums = {}
        if self.processes > 1:
            average([p.grad for p in self._parameters if p.grad is not None])
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)

    def _add(self) -> None:
        for parameter in self._parameters:
            if parameter.grad is not None:
                share = parameter.grad / self.parts
                known = self._sums.get(parameter)
                self._sums[parameter] = share if known is None else known.add_(share)


class MovingAverage:
    """Exponential moving average of networks: after each step, a <- decay a + (1 - decay) w.

    It begins at the initial weights. Running statistics are averaged like weights, counters copied.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.networks = networks
        self.decay = decay
        self.state = _copies(networks)

    @torch.no_grad()
    def update(self) -> None:
        for name, network in self.networks.items():
            for key, value in network.state_dict().items():
                mean = self.state[name][key]
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - self.decay)
                else:
                    mean.copy_(value)

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from a saved average."""
        for name, values in state.items():
            for key, value in values.items():
                self.state[name][key].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The networks with their averaged weights, for the length of the block."""
        own = _copies(self.networks)
        _load(self.networks, self.state)
        try:
            yield
        finally:
            _load(self.networks, own)


def _copies(networks: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {
        name: {key: value.clone() for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }


def _load(networks: Mapping[str, nn.Module], state: Mapping[str, Mapping[str, Tensor]]) -> None:
    for name, network in networks.items():
        network.load_state_dict(dict(state[name]))
