"""Advice about errors of a network or a loader, by their kind."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from repsim.activations.capture.batches import LABELS
from repsim.foreign import Cause, Step


@dataclass(frozen=True)
class Fault:
    """An error that a network or a loader raised.

    Attributes:
        error: as it arrived.
        cause: its kind, text and place.
        number: of the batch, from 1.
        model: the network, not wrapped; None for a loader.
        layer: address of the module that ran; empty for the network itself.
        given: keys of the batch; empty where it is one tensor.
        grad: the network was let compute gradients.
        alone: the batch holds one example, and others before it more.
    """

    error: Exception
    cause: Cause
    number: int
    model: nn.Module | None = None
    layer: str = ""
    given: tuple[str, ...] = ()
    grad: bool = False
    alone: bool = False

    def says(self, *patterns: str) -> bool:
        """True if a pattern occurs in the text, in capitals or not."""
        return any(re.search(each, self.cause.text, re.IGNORECASE) for each in patterns)

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments of the network's forward."""
        if self.model is None:
            return []
        return [str(each) for each in inspect.signature(self.model.forward).parameters]

    @property
    def gives(self) -> str:
        """The entries of a batch, in words."""
        if self.given:
            return f"the batch gives {', '.join(self.given)}"
        return "the batch gives one tensor, for a tuple is (inputs, labels, ids)"


def advice(fault: Fault) -> str:
    """A remedy for an error; empty where there is none beside its own text."""
    rules = _OF_LOADERS if fault.model is None else _OF_NETWORKS
    return next(filter(None, (rule(fault) for rule in rules)), "")


# --- networks


def _memory(fault: Fault) -> str:
    if isinstance(fault.error, (MemoryError, torch.OutOfMemoryError)) or fault.says(
        "out of memory", "allocate memory"
    ):
        return "take a smaller batch"
    return ""


def _gradients(fault: Fault) -> str:
    if not fault.says("not require grad", "n't require grad", "grad_fn", "inference tensor"):
        return ""
    if fault.grad:
        return "gradients are computed, so that tensor is detached, or no leaf that requires them"
    return "if its forward needs gradients, pass --allow-grad (allow_grad=True)"


def _no_forward(fault: Fault) -> str:
    if isinstance(fault.error, NotImplementedError) and fault.says("missing the required"):
        return "call a part that has a forward, or wrap them in a module with one"
    return ""


def _missing(fault: Fault) -> str:
    if not (isinstance(fault.error, TypeError) and fault.says(r"missing \d+ required")):
        return ""
    if fault.layer or not fault.says(r"forward\(\)"):
        return _mend_the_call(fault)
    return (
        f"forward takes {', '.join(fault.arguments)}, and {fault.gives}; give a dictionary of "
        "tensors by these names"
    )


def _unexpected(fault: Fault) -> str:
    found = re.search(r"unexpected keyword argument '(\w+)'", fault.cause.text)
    if not found:
        return ""
    if found[1] in fault.given:
        return f"{fault.gives}; leave {found[1]!r} out of it"
    return _mend_the_call(fault)


def _mend_the_call(fault: Fault) -> str:
    """Advice about a call within the network."""
    return "the network calls it so: mend that call" if fault.cause.mine else ""


def _modality(fault: Fault) -> str:
    """Advice where an argument that the batch does not give is None, as one tower's of two is."""
    absent, inner = _absent(fault), _absent_within(fault)
    part = fault.layer.partition(".")[0]
    named = _among(absent, fault.cause.text)
    ends = tuple(_among(inner, fault.cause.text) or inner)
    missing = (
        [name for name in absent if part and part in name and name.endswith(ends)]
        or named
        or [name for name in absent if name in inner]
        or _among(absent, "" if (step := _forward(fault)) is None else step.code)
        or absent
    )
    if not missing or not (named or fault.says(r"\bNone", "specify", "provide")):
        return ""
    tower = f", or harvest a part that does without {part!r}" if part else ""
    what = f"{missing[0]} is" if len(missing) == 1 else f"{', '.join(missing)} are"
    return f"{what} None, and {fault.gives}; give {'it' if len(missing) == 1 else 'one'} too{tower}"


def _among(names: Sequence[str], text: str) -> list[str]:
    """The names that occur in a text."""
    return [name for name in names if re.search(rf"\b{name}\b", text)]


def _absent_within(fault: Fault) -> list[str]:
    """The arguments that are None of the innermost forward that ran."""
    for step in reversed(fault.cause.steps):
        if step.name == "forward" and (found := _none_among(step, step.arguments)):
            return found
    return []


def _absent(fault: Fault) -> list[str]:
    """The arguments of the network's forward that are None and that no batch gives."""
    step = _forward(fault)
    if step is None:
        return []
    return _none_among(step, [name for name in fault.arguments if name not in fault.given])


def _none_among(step: Step, names: Sequence[str]) -> list[str]:
    """The variables that are None in a frame."""
    return [name for name in names if step.variables.get(name, 0) is None]


def _forward(fault: Fault) -> Step | None:
    """The frame of the network's own forward."""
    for step in fault.cause.steps:
        if step.name == "forward" and step.variables.get("self") is fault.model:
            return step
    return None


def _key(fault: Fault) -> str:
    if isinstance(fault.error, KeyError) and fault.given:
        return f"{fault.gives}; rename or add what it looks for"
    return ""


def _structure(fault: Fault) -> str:
    """Advice where a forward reads an object or a dictionary where it is given a tensor."""
    by_name = re.search(r"\[[\"']", fault.cause.code) and not isinstance(fault.error, KeyError)
    if fault.given or not (by_name or fault.says("'Tensor' object has no attribute")):
        return ""
    return (
        "it is given a tensor and reads something else; wrap it in a module whose forward makes "
        "that of tensors"
    )


def _device(fault: Fault) -> str:
    if fault.says("same device"):
        return "a tensor that is no parameter stays where it is: make it a buffer (register_buffer)"
    return ""


def _range(fault: Fault) -> str:
    if fault.says("argument #1 'indices'"):
        return "an embedding takes whole numbers"
    if isinstance(fault.error, IndexError) and fault.says("index out of range in self"):
        return "an embedding has fewer rows than the largest number it is given"
    return ""


def _type(fault: Fault) -> str:
    if fault.says(
        "dtype", "scalar type", "not implemented for '", "same type", "type.*be the same"
    ):
        kinds = {str(each.dtype) for each in fault.model.parameters()} if fault.model else set()
        has = f"; its parameters are {', '.join(sorted(kinds))}" if kinds else ""
        return f"check the number type that it takes{has}"
    return ""


_SIZES = (
    r"\bshapes?\b",
    r"\bsizes?\b",
    r"channels?",
    r"dimension",
    "expected.*input",
    "broadcast",
    "einsum",
)


def _labels(fault: Fault) -> str:
    """Advice where labels made a network fail that computes a loss of its own."""
    passed = [name for name in LABELS if name in fault.given]
    likely = isinstance(fault.error, (RuntimeError, ValueError, IndexError))
    if not passed or not likely:
        return ""
    return f"it was given {passed[0]!r}, and labels of rows alone are to come as (inputs, labels)"


def _sizes(fault: Fault) -> str:
    likely = isinstance(fault.error, (RuntimeError, ValueError, IndexError, AssertionError))
    if likely and fault.number == 1 and fault.says(*_SIZES):
        return "check the size, channels and number type that it takes"
    return ""


def _single(fault: Fault) -> str:
    if not fault.alone or not isinstance(fault.error, (RuntimeError, ValueError, IndexError)):
        return ""
    return (
        "the batch holds one example, whose axis squeeze() in forward would drop; choose a batch "
        "size that leaves no example alone, such as one that divides their number (batch_size of "
        "the loader, --batch-size), or name the axis in forward, as in squeeze(-1)"
    )


def _later(fault: Fault) -> str:
    if fault.number > 1:
        return "the batches before it passed: look for what is other about these examples"
    return ""


_OF_NETWORKS: tuple[Callable[[Fault], str], ...] = (
    _memory,
    _gradients,
    _no_forward,
    _missing,
    _unexpected,
    _modality,
    _key,
    _structure,
    _device,
    _range,
    _single,
    _labels,
    _type,
    _sizes,
    _later,
)


# --- loaders


def _collate(fault: Fault) -> str:
    if fault.says("stack expects each tensor to be equal size"):
        return "its examples differ in size: bring them to one, or pad them in collate_fn"
    if fault.says("default_collate"):
        return "pass a collate_fn that makes tensors of its examples"
    return ""


def _worker(fault: Fault) -> str:
    if fault.says("exited unexpectedly", "killed by signal"):
        return "try fewer workers or a smaller batch; num_workers=0 shows an error of the data set"
    if fault.says("pickle"):
        return "workers need a data set that can be pickled; try num_workers=0"
    return ""


_OF_LOADERS: tuple[Callable[[Fault], str], ...] = (_memory, _collate, _worker, _later)
