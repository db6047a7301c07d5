"""The evaluation mode of networks, also of those that have a ``train`` or ``eval`` of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from repsim.errors import CaptureError


def switches_itself(model: nn.Module) -> bool:
    """True if the network's own code has to put it in evaluation mode.

    That code may keep dropout on, set further attributes or merge weights. A network without a
    module in training mode is taken as it is.
    """
    modules = list(model.modules())
    return any(each.training for each in modules) and any(map(_has_its_own, modules))


def _has_its_own(module: nn.Module) -> bool:
    """True for a module whose ``train`` or ``eval``, of its class or its own, is not torch's."""
    return any(
        getattr(getattr(module, name), "__func__", None) is not getattr(nn.Module, name)
        for name in ("train", "eval")
    )


def evaluate(model: nn.Module) -> None:
    """Put a network in evaluation mode by its own code; by attributes where that has none.

    Raises:
        CaptureError: that code fails.
    """
    try:
        model.eval()
    except NotImplementedError:  # such as that of an exported network
        for module in model.modules():
            module.training = False
    except Exception as error:
        raise CaptureError(
            f"eval() of {type(model).__name__} fails: {type(error).__name__}: {error}; call it "
            "yourself, and hand the network over with no module in training mode"
        ) from error


@contextmanager
def same_modes(model: nn.Module) -> Iterator[None]:
    """Leave the mode of every module as it was."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
