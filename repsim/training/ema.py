"""The exponential moving average of networks during training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


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
