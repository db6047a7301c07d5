"""Optimisers of the methods, which step once a batch whatever parts and processes share it."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from repsim.training.parallel import average


class AdamSettings(Protocol):
    """Settings of Adam with weight decay."""

    @property
    def lr(self) -> float: ...

    @property
    def beta1(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...


def adam(settings: AdamSettings, network: nn.Module) -> Adam:
    """Adam of a network, whose gradients have the weight decay times the weights added.

    Biases and the parameters of normalisation have none, as in the authors' code of Donahue et al.
    (2017).
    """
    s, own = settings, list(network.parameters())
    betas = (s.beta1, 0.999)
    if not s.weight_decay:
        return Adam(own, s.lr, betas)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in own if p.ndim > 1], "weight_decay": s.weight_decay},
        {"params": [p for p in own if p.ndim <= 1]},
    ]
    return Adam([group for group in groups if group["params"]], s.lr, betas)


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
