"""Which modules of a network are layers of interest where nobody says."""

from __future__ import annotations

from torch import nn


def default_layers(model: nn.Module) -> list[str]:
    """The addresses that a network names itself (``layer_names``), or its leaf modules."""
    named = getattr(model, "layer_names", None)
    if callable(named):
        return list(named())
    return [name for name, module in model.named_modules() if name and not any(module.children())]


def addresses(model: nn.Module) -> list[str]:
    """What a pattern chooses among: the layers a network names itself, or all of its modules."""
    if callable(getattr(model, "layer_names", None)):
        return default_layers(model)
    return [name for name, _ in model.named_modules() if name]
