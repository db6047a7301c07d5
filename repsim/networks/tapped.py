"""Networks that are a line of parts, with taps under the names of Kolesnikov et al. (2019).

Addresses, alike in every such network, and present in ``resnet`` as well:

    stem            what the first block takes; a network without one begins with block1
    block1, ...     the output of each group of layers, four of them in the paper
    pre_logits      the representation: pooled features, or their linear map to another number
    head            what the head makes of it
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_TAP = re.compile(r"stem|block\d+|pre_logits")


class Tapped(nn.Module):
    """Parts that run one after the other, then ``pre_logits`` and ``head``.

    Maps images (n, channels, h, w) in [-1, 1] to features (n, ``feature_dim``), or to what a module
    assigned to ``head`` makes of them. Convolutions start from N(0, 2 / (kernel area x outputs)).

    Args:
        parts: by name, in order; the last one gives features (n, ``features``).
        features: their number.
        representation: size of a linear map of the features; 0 for the features themselves.
    """

    head_input = "pre_logits"

    def __init__(
        self, parts: Mapping[str, nn.Module], features: int, representation: int = 0
    ) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        linear = nn.Linear(features, representation) if representation else nn.Identity()
        self.pre_logits: nn.Module = linear
        self.feature_dim = representation or features
        self.head: nn.Module = nn.Identity()
        convs = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        # As in ``ResNet``: faster on CPUs, but not safe where channels do not fill eight lanes.
        lanes = all(conv.out_channels % 8 == 0 for conv in convs)
        self.memory_format = torch.channels_last if lanes else torch.contiguous_format

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=self.memory_format)
        for part in self.children():
            x = part(x)
        return x

    def layer_names(self) -> list[str]:
        """Addresses of the taps above, in order of execution."""
        taps = [name for name, _ in self.named_children() if _TAP.fullmatch(name)]
        return taps if isinstance(self.head, nn.Identity) else [*taps, "head"]
