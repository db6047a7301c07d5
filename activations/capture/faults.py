"""Errors that a network raises, as one line: the batch, the layer, the place and a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import nn

from repsim.activations.capture.advice import Fault, advice
from repsim.activations.capture.arguments import FIRST, arguments
from repsim.activations.capture.batches import batch_size, ids_of, inputs_of
from repsim.activations.capture.modules import first_addresses, modules_of, unwrap
from repsim.foreign import Cause, Step, in_one_line


@dataclass(frozen=True)
class At:
    """The place of a batch in its loader.

    Attributes:
        number: of the batch, from 1.
        begin: number of its first example, from 0.
    """

    number: int = 1
    begin: int = 0

    def after(self, batch: Any) -> At:
        """The place of the next batch."""
        return At(self.number + 1, self.begin + batch_size(batch))

    @property
    def name(self) -> str:
        """The batch in words."""
        return "the first batch" if self.number == 1 else f"batch {self.number}"


FIRST_BATCH = At()


def running(
    model: nn.Module, batch: Any, at: At = FIRST_BATCH, *, grad: bool = False
) -> AbstractContextManager[None]:
    """A block that runs a network; an error of its code becomes one line.

    Errors of repsim and of its own code pass as they are.

    Args:
        model: any module.
        batch: that it is shown.
        at: the place of the batch.
        grad: the block lets the network compute gradients.

    Raises:
        CaptureError: the network does not run on the batch.
    """

    def line(error: Exception, cause: Cause) -> str:
        if not _in_network(cause.steps):
            return ""
        return _of_network(unwrap(model), batch, at, error, cause, grad)

    return in_one_line(line)


def _of_network(
    model: nn.Module, batch: Any, at: At, error: Exception, cause: Cause, grad: bool
) -> str:
    layer = _layer(model, cause.steps)
    alone = batch_size(batch) == 1 and at.begin >= at.number
    fault = Fault(error, cause, at.number, model, layer, _given(model, batch), grad, alone)
    found = advice(fault)
    return (
        f"{type(model).__name__} does not run on {at.name} ({_described(batch, at)})"
        f"{_place(model, layer, cause)}: {cause.text}{f'; {found}' if found else ''}"
    )


def _place(model: nn.Module, layer: str, cause: Cause) -> str:
    """The layer that ran, and the line of code."""
    hook = "a hook of " if _in_hook(cause.steps) else ""
    kind = type(modules_of(model)[layer]).__name__
    what = f", in {hook}layer {layer!r} ({kind})" if layer else ", in a hook" if hook else ""
    elsewhere = f", in {cause.elsewhere}" if cause.elsewhere else ""
    return f"{what}{f', at {cause.place}' if cause.place else ''}{elsewhere}"


def module_of(step: Step) -> nn.Module | None:
    """The module whose method a frame is of."""
    owner = step.variables.get("self")
    return owner if isinstance(owner, nn.Module) else None


def _in_network(steps: tuple[Step, ...]) -> bool:
    """True unless our own code was entered behind the network's, as hooks are."""
    for step in reversed(steps):
        if step.mine or module_of(step) is not None:
            return True
        if step.module.startswith("repsim.activations") and step.name != "__torch_dispatch__":
            return False
    return False


def _in_hook(steps: tuple[Step, ...]) -> bool:
    """True if the last call of a module called a hook."""
    calls = [step.code for step in steps if step.file.endswith("torch/nn/modules/module.py")]
    return bool(calls) and "hook(" in calls[-1]


def _layer(model: nn.Module, steps: tuple[Step, ...]) -> str:
    """The address of the innermost module that ran; empty for the network itself."""
    addresses = first_addresses(modules_of(model))
    for step in reversed(steps):
        ran = module_of(step)
        if ran is not None and addresses.get(ran):
            return addresses[ran]
    return ""


def _given(model: nn.Module, batch: Any) -> tuple[str, ...]:
    """The arguments that a batch gives by name."""
    given = arguments(model, batch)
    return tuple(name for name, value in given.items() if name != FIRST and value is not None)


def _described(batch: Any, at: At) -> str:
    """The examples of a batch, and the shapes and types of its inputs."""
    inputs = inputs_of(batch)
    shown = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    sizes = ", ".join(f"{key} {tuple(v.shape)} {v.dtype}" for key, v in shown.items())
    ids, n = ids_of(batch), batch_size(batch)
    first, last = (ids[0], ids[-1]) if ids else (str(at.begin), str(at.begin + n - 1))
    return f"examples {first!r} to {last!r}, {sizes}"
