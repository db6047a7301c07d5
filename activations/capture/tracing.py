"""Layers that a network would give for a batch: their addresses, shapes and types."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import nn

from repsim.activations.capture.arguments import arguments, run
from repsim.activations.capture.batches import LABELS, batch_size, head, inputs_of
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


def trace(model: nn.Module, batch: Any, layers: Layers = None) -> dict[str, Traced]:
    """The layers that ``Capture`` would record as a network sees a batch, in order of execution.

    Nothing is kept but shapes, and the random number generators are left as they were.
    ``Capture(unwrap(model), addresses_of(traced))`` records the same, under these names from the
    start.

    Args:
        model: any module.
        batch: as for ``repsim.activations.capture.arguments.run``, where the network lies.
        layers: as for ``Capture``; or short names in transformers, see ``with_short_names``.

    Raises:
        UsageError: a layer that is not there, a batch that does not fit.
        CaptureError: as from ``Capture.take``.
    """
    return _trace(model, batch, layers)[0]


def addresses_of(traced: Mapping[str, Traced]) -> dict[str, str]:
    """The addresses of layers by their names, as ``Capture`` takes them."""
    return {name: each.address or name for name, each in traced.items()}


def trace_rows(model: nn.Module, batch: Any, layers: Layers = None) -> dict[str, Traced]:
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
            return _trace_rows(model, head(batch, 3), layers)
    try:
        return _trace_rows(model, batch, layers)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        inputs = inputs_of(batch)
        shown = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
        raise CaptureError(
            f"the network does not run on "
            f"{', '.join(f'{k} {tuple(v.shape)} {v.dtype}' for k, v in shown.items())}: "
            f"{(str(error) or type(error).__name__).splitlines()[0]}; check the size, channels and "
            f"number type that it takes{_about_labels(model, batch)}"
        ) from error


def _about_labels(model: nn.Module, batch: Any) -> str:
    """The remedy where labels of rows made a network fail that computes a loss of its own."""
    passed = [name for name in LABELS if name in arguments(model, batch)]
    if not passed:
        return ""
    return f"; it was given {passed[0]!r}, and labels of rows alone are to come as (inputs, labels)"


def _trace_rows(model: nn.Module, batch: Any, layers: Layers) -> dict[str, Traced]:
    n = batch_size(batch)
    traced, groups = _trace(model, batch, layers)
    odd = {name for name, each in traced.items() if each.shape[:1] != (n,)}
    if n in (2, 3):
        with suppress(Exception):
            fewer = trace(model, head(batch, n - 1), addresses_of(traced))
            odd |= {name for name, each in fewer.items() if each.shape[:1] != (n - 1,)}
    lost = [names for choice, names in groups if choice.exact and odd.issuperset(names)]
    if lost or len(odd) == len(traced):
        raise CaptureError(f"{_rowless(lost[0] if lost else traced, traced, n)}; choose others")
    if odd:
        left = [name for name in traced if name in odd]
        warnings.warn(f"left out: {_rowless(left, traced, n)}", RepsimWarning, stacklevel=3)
    return {name: each for name, each in traced.items() if name not in odd}


def _trace(
    model: nn.Module, batch: Any, layers: Layers
) -> tuple[dict[str, Traced], list[tuple[Choice, list[str]]]]:
    """The layers that would be recorded, in all and for each choice."""
    model = unwrap(model)
    with same_random_numbers(model):
        meant = with_short_names(model, batch, layers)
        capture = Capture(model, meant, reduce=lambda _, x: (tuple(x.shape), x.dtype))
        with capture:
            run(model, batch)
            groups = [(choice, capture.given(choice)) for choice in capture.choices]
            taken = capture.take()
    named = {choice.name: str(choice.address) for choice in capture.choices if choice.name}
    traced = {}
    for name, (shape, dtype) in taken.items():
        address = named.get(name, "")
        module = capture.modules[Address.parse(address or name, capture.modules).module]
        traced[name] = Traced(type(module).__name__, shape, dtype, address)
    return traced, groups


def _rowless(names: Iterable[str], traced: Mapping[str, Traced], n: int) -> str:
    shapes = [f"{name!r} {traced[name].shape}" for name in names]
    return f"no row for each of {n} examples in {listed(shapes)}"
