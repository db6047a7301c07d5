"""Layers that a network would give for a batch: their addresses, shapes and types."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.axes import LayerAxes, layer_axes
from repsim.activations.capture.batch_axis import EXAMPLES_FIRST, BatchAxis
from repsim.activations.capture.batches import batch_size, few, head, inputs_of
from repsim.activations.capture.dimensions import Axes, Role, examples_in, fresh, role_of
from repsim.activations.capture.faults import running
from repsim.activations.capture.following import Following
from repsim.activations.capture.hooks import LISTED, Capture, listed
from repsim.activations.capture.modules import Choice, Layers, unwrap
from repsim.activations.capture.stacks import with_short_names
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.errors import CaptureError, RepsimWarning
from repsim.layers import Address

Looked = TypeVar("Looked")


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


class _Given(NamedTuple):
    """The layers that a choice gives, and how often its module runs."""

    choice: Choice
    names: list[str]
    calls: int


class TracedRows(NamedTuple):
    """A layer that has a row for each example.

    Attributes:
        module: name of the module's class.
        shape: as the layer gives it.
        dtype: a floating-point type.
        address: of a layer that is called by a short name; otherwise empty.
        calls: of the module; None where one of its calls was asked for.
        axes: of its output.
    """

    module: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    address: str
    calls: int | None
    axes: LayerAxes


def trace(
    model: nn.Module, batch: Any, layers: Layers = None, *, grad: bool = False
) -> dict[str, Traced]:
    """The layers that ``Capture`` would record as a network sees a batch, in order of execution.

    Nothing is kept but shapes; the network and the random number generators are left as they were.
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
    with Unchanged(unwrap(model)) as kept, kept.watching():
        return _trace(model, batch, layers, grad)[0]


def shapes_of_one(
    model: nn.Module,
    batch: Any,
    layers: Mapping[str, str],
    axes: Mapping[str, int],
    *,
    grad: bool = False,
) -> dict[str, tuple[int, ...]]:
    """The shapes of layers for one of the examples of a batch, by name.

    Args:
        model: as for ``trace``, and so on.
        batch: the same.
        layers: addresses by name.
        axes: the axis that holds the examples of a layer, where it is not the first.
        grad: as for ``Capture``.

    Raises:
        UsageError: as from ``trace``.
        CaptureError: the same.
    """
    found = {name: each.shape for name, each in trace(model, batch, layers, grad=grad).items()}
    places = {name: axes.get(name, 0) for name in found}
    return {name: (*x[: places[name]], *x[places[name] + 1 :]) for name, x in found.items()}


def addresses_of(traced: Mapping[str, Traced] | Mapping[str, TracedRows]) -> dict[str, str]:
    """The addresses of layers by their names, as ``Capture`` takes them."""
    return {name: each.address or name for name, each in traced.items()}


def calls_of(traced: Mapping[str, TracedRows]) -> dict[str, int]:
    """The calls of the modules that were chosen with all their calls, as ``Capture`` takes them."""
    return {name: each.calls for name, each in traced.items() if each.calls is not None}


def trace_rows(
    model: nn.Module,
    batch: Any,
    layers: Layers = None,
    batch_axis: BatchAxis = EXAMPLES_FIRST,
    *,
    grad: bool = False,
    every: bool = False,
) -> dict[str, TracedRows]:
    """``trace``, of the values that have a row for each example, with the axes of each.

    Looks at three examples of the batch, or some more, and at one less: the axis that grows with
    them holds them. It looks at the whole batch where the network does not run on so few.

    Args:
        model: any module.
        batch: with the examples first, where the network lies.
        layers: as for ``trace``.
        batch_axis: of layers, where it was said.
        grad: as for ``Capture``.
        every: refuse a value without rows, in place of leaving it out.

    Raises:
        CaptureError: a layer that was named has no such value, or the network does not run on the
            batch.

    Warns:
        RepsimWarning: of values without, that matched a pattern or come with others that have.
    """
    if batch_size(batch) > few(batch):
        with suppress(Exception):  # the whole batch will tell, or fail in the same way
            return _trace_rows(model, head(batch, few(batch)), layers, batch_axis, grad, every)
    with running(model, batch, grad=grad):
        return _trace_rows(model, batch, layers, batch_axis, grad, every)


def _trace_rows(
    model: nn.Module,
    batch: Any,
    layers: Layers,
    batch_axis: BatchAxis,
    grad: bool,
    every: bool,
) -> dict[str, TracedRows]:
    n = batch_size(batch)
    traced, groups, followed = _followed(model, batch, layers, grad)
    fewer = _fewer(model, head(batch, n - 1), layers, grad) if n > 1 else None
    growing = {name: _growing(name, each, fewer, n) for name, each in traced.items()}
    found = {
        name: _axis_of_examples(axes, followed[name], batch_axis, name)
        for name, axes in growing.items()
    }
    odd = {name for name, axis in found.items() if axis is None}
    lost = [each.names for each in groups if each.choice.exact and odd.issuperset(each.names)]
    if lost or len(odd) == len(traced) or (odd and every):
        names = lost[0] if lost else [name for name in traced if name in odd]
        proposal = _other_axis([traced[name].shape for name in names], batch, batch_axis)
        others = "choose other layers or another network" if every else "choose others"
        reason = _rowless(names, traced, n, growing, batch_axis)
        single = "" if proposal or n == 1 else _single(batch, fewer)
        raise CaptureError(f"{reason}; {others}{proposal}{single}")
    if odd:
        left = [name for name in traced if name in odd]
        reason = _rowless(left, traced, n, growing, batch_axis)
        warnings.warn(f"left out: {reason}", RepsimWarning, stacklevel=3)
    calls = {
        name: each.calls
        for each in groups
        if each.choice.address.call is None
        for name in each.names
    }
    return {
        name: TracedRows(
            *traced[name],
            calls.get(name),
            layer_axes(followed[name], traced[name].module, axis, batch_axis.of_input("")),
        )
        for name, axis in found.items()
        if axis is not None
    }


def _single(batch: Any, fewer: Mapping[str, Traced] | None) -> str:
    """The remedy for a batch that may be an example: it has one dimension, or can be no shorter."""
    shape = tuple(getattr(inputs_of(batch), "shape", ()))
    if not shape or (len(shape) > 1 and fewer is not None):
        return ""
    return (
        f", or where {shape} is one example, give batches of them, as DataLoader(..., "
        "batch_size=32) makes"
    )


def _fewer(model: nn.Module, batch: Any, layers: Layers, grad: bool) -> dict[str, Traced] | None:
    """The layers with one example less; None where the network does not run on so few."""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return trace(model, batch, layers, grad=grad)
    return None


def _growing(name: str, traced: Traced, fewer: Mapping[str, Traced] | None, n: int) -> list[int]:
    """The axes as long as there are examples, and one shorter with one less.

    None of a module that runs once for each example.
    """
    axes = [k for k, size in enumerate(traced.shape) if size == n]
    if fewer is None:
        return axes
    shape = fewer[name].shape if name in fewer else ()
    return [k for k in axes if shape[k : k + 1] == (n - 1,)]


def _axis_of_examples(
    growing: Sequence[int], followed: Axes, batch_axis: BatchAxis, layer: str
) -> int | None:
    """The axis that holds the examples of a layer; None where it has no row for each."""
    said = batch_axis.of_layer(layer)
    if said is not None:
        return said if said in growing else None
    seen = [k for k in examples_in(followed) if k in growing]
    if seen or 0 in growing:
        return seen[0] if seen else 0
    others = batch_axis.of_others
    unclear = Role.UNCLEAR in map(role_of, followed)  # such as the layers of a recurrent state
    return others if others in growing and not unclear else None


def _followed(
    model: nn.Module, batch: Any, layers: Layers, grad: bool
) -> tuple[dict[str, Traced], list[_Given], dict[str, Axes]]:
    """The layers that would be recorded, in all and for each choice, and their dimensions."""
    following = Following(unwrap(model))
    try:
        with following.fed(unwrap(model), batch_size(batch)):
            return _look(model, batch, layers, grad, following.axes)
    except Exception:  # one that minds to be followed runs without, or fails in the same way
        return _look(model, batch, layers, grad, lambda x: fresh(x.shape))


def _trace(
    model: nn.Module, batch: Any, layers: Layers, grad: bool
) -> tuple[dict[str, Traced], list[_Given]]:
    """The layers that would be recorded, in all and for each choice."""
    traced, groups, _ = _look(model, batch, layers, grad, lambda x: None)
    return traced, groups


def _look(
    model: nn.Module,
    batch: Any,
    layers: Layers,
    grad: bool,
    look: Callable[[Tensor], Looked],
) -> tuple[dict[str, Traced], list[_Given], dict[str, Looked]]:
    """``_trace``, with the values of ``look`` for each layer as it comes."""
    model = unwrap(model)
    with same_random_numbers(model):
        meant = with_short_names(model, batch, layers, grad=grad)
        capture = Capture(
            model, meant, reduce=lambda _, x: (tuple(x.shape), x.dtype, look(x)), grad=grad
        )
        with capture:
            with _forwards() as forwarded:
                run(model, batch)
            capture.forwarded(forwarded)
            groups = [
                _Given(choice, capture.given(choice), capture.calls(choice))
                for choice in capture.choices
            ]
            taken = capture.take()
    named = {choice.name: str(choice.address) for choice in capture.choices if choice.name}
    traced = {}
    for name, (shape, dtype, _) in taken.items():
        address = named.get(name, "")
        module = capture.modules[Address.parse(address or name, capture.modules).module]
        traced[name] = Traced(type(module).__name__, shape, dtype, address)
    return traced, groups, {name: looked for name, (*_, looked) in taken.items()}


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


def _rowless(
    names: Iterable[str],
    traced: Mapping[str, Traced],
    n: int,
    growing: Mapping[str, Sequence[int]],
    batch_axis: BatchAxis,
) -> str:
    """The reason why some layers have no rows, and the axes that may hold the examples."""
    names = list(names)
    shapes = [f"{name!r} {traced[name].shape}" for name in names]
    reason = f"no row for each of {n} examples in {listed(shapes)}"
    told = {name: growing[name][0] for name in names if len(growing[name]) == 1}
    if not told:
        return reason
    told = dict(list(told.items())[:LISTED])
    where = " and ".join(f"axis {axis} of {name!r}" for name, axis in told.items())
    hold = "hold" if len(told) > 1 else "holds"
    return f"{reason}; where {where} {hold} them, say {batch_axis.with_layers(told).option}"


def _other_axis(shapes: Sequence[Sequence[int]], batch: Any, batch_axis: BatchAxis) -> str:
    """The proposal of an axis of the inputs along which there are as many as layers have rows."""
    sizes = getattr(inputs_of(batch), "shape", ())
    rows = {tuple(shape[:1]) for shape in shapes}
    for axis, size in enumerate(sizes):
        if axis and rows == {(size,)}:
            return f", or {batch_axis.elsewhere(axis)}"
    return ""
