"""Layers that a network would give for a batch: their addresses, shapes and types."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.batches import batch_size, head
from repsim.activations.capture.faults import running
from repsim.activations.capture.hooks import Capture, listed
from repsim.activations.capture.modules import Choice, Layers, unwrap
from repsim.activations.capture.stacks import with_short_names
from repsim.activations.capture.unchanged import same_random_numbers
from repsim.errors import CaptureError, RepsimWarning
from repsim.layers import Address


class Traced(NamedTuple):
    """A layer that would be recorded under an address.

    Attributes:
        module: name of the module's class.
        shape: with the batch's examples, usually first.
        dtype: a floating-point type.
        address: of a layer that is called by a short name; otherwise empty.
    """

    module: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    address: str = ""


def trace(
    model: nn.Module, batch: Any, layers: Layers = None, *, grad: bool = False
) -> dict[str, Traced]:
    """The layers that ``Capture`` would record as a network sees a batch, in order of execution.

    Nothing is kept but shapes, and the random number generators are left as they were.
    ``Capture(unwrap(model), addresses_of(traced))`` records the same, under these names from the
    start.

    Args:
        model: any module.
        batch: as for ``repsim.activations.capture.arguments.run``, where the network lies.
        layers: as for ``Capture``; or short names in transformers, see ``with_short_names``.
        grad: as for ``Capture``.

    Raises:
        UsageError: a layer that is not there, a batch that does not fit.
        CaptureError: as from ``Capture.take``.
    """
    return _trace(model, batch, layers, grad)[0]


def addresses_of(traced: Mapping[str, Traced]) -> dict[str, str]:
    """The addresses of layers by their names, as ``Capture`` takes them."""
    return {name: each.address or name for name, each in traced.items()}


def trace_rows(
    model: nn.Module, batch: Any, layers: Layers = None, *, grad: bool = False
) -> dict[str, Traced]:
    """``trace``, of those values that have a row for each example.

    Looks at three and at two examples of the batch, for a dimension that is 2 may be two layers of
    a recurrent network; at the whole batch where the network does not run on three.

    Raises:
        CaptureError: a layer that was named has no such value, or the network does not run on the
            batch.

    Warns:
        RepsimWarning: of values without, that matched a pattern or come with others that have.
    """
    if batch_size(batch) > 3:
        with suppress(Exception):  # the whole batch will tell, or fail in the same way
            return _trace_rows(model, head(batch, 3), layers, grad)
    with running(model, batch, grad=grad):
        return _trace_rows(model, batch, layers, grad)


def _trace_rows(model: nn.Module, batch: Any, layers: Layers, grad: bool) -> dict[str, Traced]:
    n = batch_size(batch)
    traced, groups = _trace(model, batch, layers, grad)
    odd = {name for name, each in traced.items() if each.shape[:1] != (n,)}
    if n in (2, 3):
        with suppress(Exception):
            fewer = trace(model, head(batch, n - 1), addresses_of(traced), grad=grad)
            odd |= {name for name, each in fewer.items() if each.shape[:1] != (n - 1,)}
    lost = [names for choice, names in groups if choice.exact and odd.issuperset(names)]
    if lost or len(odd) == len(traced):
        raise CaptureError(f"{_rowless(lost[0] if lost else traced, traced, n)}; choose others")
    if odd:
        left = [name for name in traced if name in odd]
        warnings.warn(f"left out: {_rowless(left, traced, n)}", RepsimWarning, stacklevel=3)
    return {name: each for name, each in traced.items() if name not in odd}


def _trace(
    model: nn.Module, batch: Any, layers: Layers, grad: bool
) -> tuple[dict[str, Traced], list[tuple[Choice, list[str]]]]:
    """The layers that would be recorded, in all and for each choice."""
    model = unwrap(model)
    with same_random_numbers(model):
        meant = with_short_names(model, batch, layers, grad=grad)
        capture = Capture(model, meant, reduce=lambda _, x: (tuple(x.shape), x.dtype), grad=grad)
        with capture:
            with _forwards() as forwarded:
                run(model, batch)
            capture.forwarded(forwarded)
            groups = [(choice, capture.given(choice)) for choice in capture.choices]
            taken = capture.take()
    named = {choice.name: str(choice.address) for choice in capture.choices if choice.name}
    traced = {}
    for name, (shape, dtype) in taken.items():
        address = named.get(name, "")
        module = capture.modules[Address.parse(address or name, capture.modules).module]
        traced[name] = Traced(type(module).__name__, shape, dtype, address)
    return traced, groups


@contextmanager
def _forwards() -> Iterator[set[nn.Module]]:
    """The modules whose forward runs in a block, by a call of the module or without one.

    None are known while a profiler of the user's runs, which is left alone.
    """
    found: set[nn.Module] = set()
    if sys.getprofile() is not None:
        yield found
        return

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name == "forward":
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module):
                found.add(module)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


def _rowless(names: Iterable[str], traced: Mapping[str, Traced], n: int) -> str:
    shapes = [f"{name!r} {traced[name].shape}" for name in names]
    return f"no row for each of {n} examples in {listed(shapes)}"
