"""Heads that sit on pooled features."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from repsim.errors import UsageError, choices

#: Names that networks have for their head.
HEADS = ("head", "fc", "classifier")


def find_head(network: nn.Module, named: str | None = None) -> tuple[str, nn.Linear] | None:
    """The address and the linear head of a network.

    Args:
        network: not wrapped.
        named: the address of the head; by default one of the usual names.

    Returns:
        None where no name was given, and no usual one is a linear layer.

    Raises:
        UsageError: the address that was given is no linear layer; those that are, are listed.
    """
    linear = linear_layers(network)
    if named is None:
        found = [name for name in HEADS if isinstance(getattr(network, name, None), nn.Linear)]
        return (found[0], getattr(network, found[0])) if found else None
    if named not in linear:
        raise UsageError(
            f"{named!r} is no linear layer of {type(network).__name__}; {choices(named, linear)}"
        )
    return named, linear[named]


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a network by address, in order of definition: candidates for a head.

    The last layer of attention is none: its weights are read, and it is never called.
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)
    }


def head_input(network: nn.Module, name: str) -> str:
    """The address of the layer that feeds the head of a network."""
    usual = f"{name}@input"
    return str(getattr(network, "head_input", usual)) if name in HEADS else usual


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


class PatchesHead(nn.Sequential):
    """A head on the embeddings of several patches: Linear, BN, ReLU, dropout, Linear.

    After the code of Kolesnikov et al. (2019): weights start from a normal distribution of
    deviation 0.005, cut off at two deviations, biases at 0.1 and 0.

    Args:
        features: of all patches together.
        hidden: units between the linear layers.
        answers: numbers of the output.
        dropout: the probability of a hidden unit to be left out.
    """

    def __init__(self, features: int, hidden: int, answers: int, dropout: float) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            hidden=nn.Linear(features, hidden),
            norm=nn.BatchNorm1d(hidden),
            relu=nn.ReLU(),
            dropout=nn.Dropout(dropout),
            out=nn.Linear(hidden, answers),
        )
        super().__init__(parts)
        self.input_shape = (features,)
        for name, bias in (("hidden", 0.1), ("out", 0.0)):
            linear = self.get_submodule(name)
            nn.init.trunc_normal_(linear.get_parameter("weight"), std=0.005, a=-0.01, b=0.01)
            nn.init.constant_(linear.get_parameter("bias"), bias)
