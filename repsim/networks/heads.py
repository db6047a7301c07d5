"""Heads that sit on pooled features."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from repsim.errors import UsageError

#: Names that networks have for their head.
HEADS = ("head", "fc", "classifier")


def find_head(network: nn.Module) -> tuple[str, nn.Linear] | None:
    """The name and the linear head of a network, by the usual names; None without one."""
    for name in HEADS:
        head = getattr(network, name, None)
        if isinstance(head, nn.Linear):
            return name, head
    return None


def head_input(network: nn.Module, name: str) -> str:
    """The address of the layer that feeds the head of a network."""
    return str(getattr(network, "head_input", f"{name}@input"))


class ProjectionHead(nn.Sequential):
    """SimCLR's projection head: Linear, BN, ReLU, Linear (Chen et al. 2020, section 4.2).

    With three layers, Linear, BN and ReLU come twice, as in SimCLR v2. Maps (n, features) to
    (n, out). The last layer has no bias, as the loss takes cosines only.

    Args:
        features: of the input and of every hidden layer.
        out: of the output.
        layers: linear ones, at least 2.
    """

    def __init__(self, features: int, out: int, layers: int = 2) -> None:
        if layers < 2:
            raise UsageError(f"a projection head has at least 2 layers, got {layers}")
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for k in range(1, layers):
            number = "" if k == 1 else str(k)
            parts[f"hidden{number}"] = nn.Linear(features, features, bias=False)
            parts[f"norm{number}"] = nn.BatchNorm1d(features)
            parts[f"relu{number}"] = nn.ReLU()
        parts["out"] = nn.Linear(features, out, bias=False)
        super().__init__(parts)
