"""Toy networks: modules by name, and a forward that a test hands in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Net(nn.Module):
    """Modules by name, and a forward that is given the network and its input."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.compute = forward

    def forward(self, x: Tensor) -> Any:
        return self.compute(self, x)
