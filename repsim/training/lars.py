"""LARS: one learning rate a layer, in proportion to its weights over its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, Algorithm 1).

    For each tensor of weights w with gradient g:

        λ = trust ‖w‖ / (‖g‖ + weight_decay ‖w‖)
        v = momentum v + lr λ (g + weight_decay w)
        w = w - v

    where λ = 1 if either norm is 0, or in a group with ``adapt=False``.

    Args:
        parameters: tensors, or groups of them as for any optimiser of torch.
        lr: γ of the paper.
        momentum: m.
        weight_decay: β.
        trust: η.
        adapt: whether λ is applied.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        adapt: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "adapt": adapt,
        }
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; ``closure``, if given, computes the loss anew and is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    self._update(w, w.grad, group)
        return loss

    def _update(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        change = g.add(w, alpha=group["weight_decay"])
        if group["adapt"]:
            change *= _local_rate(w, g, group["weight_decay"], group["trust"])
        state = self.state[w]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(w)
        state["velocity"].mul_(group["momentum"]).add_(change, alpha=group["lr"])
        w.sub_(state["velocity"])


def _local_rate(w: Tensor, g: Tensor, weight_decay: float, trust: float) -> Tensor:
    """λ, a 0-d tensor: chosen on the device, which need not wait for it."""
    size, slope = w.norm(), g.norm()
    rate = trust * size / (slope + weight_decay * size)
    return torch.where((size > 0) & (slope > 0), rate, torch.ones_like(rate))


def lars_groups(network: nn.Module) -> list[dict[str, Any]]:
    """A network's parameters for LARS: biases and the scales of norms neither decay nor adapt.

    As in the code of Chen et al. (2020).
    """
    own = list(network.parameters())
    return [
        {"params": [p for p in own if p.ndim > 1]},
        {"params": [p for p in own if p.ndim <= 1], "weight_decay": 0.0, "adapt": False},
    ]
