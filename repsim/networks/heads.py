"""Heads that sit on pooled features."""

from __future__ import annotations

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """SimCLR's projection head: Linear, BN, ReLU, Linear (Chen et al. 2020, section 4.2).

    Maps (n, features) to (n, out). The last layer has no bias, as the loss takes cosines only.
    """

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features, bias=False)
        self.norm = nn.BatchNorm1d(features)
        self.relu = nn.ReLU()
        self.out = nn.Linear(features, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.relu(self.norm(self.hidden(x))))
