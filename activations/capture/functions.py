"""The check that a network is a function of the example, not random and blind to its batch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments, run
from repsim.activations.capture.batch_axis import EXAMPLES_FIRST, INPUT, BatchAxis
from repsim.activations.capture.batches import (
    ABOUT,
    as_type,
    batch_size,
    dictionary_of,
    few,
    inputs_of,
    pick,
    sparse_of,
)
from repsim.activations.capture.differences import differing, rounding, strict, thinned
from repsim.activations.capture.faults import running
from repsim.activations.capture.hooks import Capture, listed
from repsim.activations.capture.modules import Layers, device_of
from repsim.activations.capture.other_axis import check_examples_first
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.devices import default_memory
from repsim.errors import CaptureError

#: A difference beyond this share is no rounding in any type.
_PLAIN = 0.25

#: A network that is about to be refused is shown the same so often, before it is not called random.
_DRAWS = 10

#: At most so many examples of a batch are shown alone.
_ALONE = 32

_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64}


@dataclass(frozen=True)
class Allowed:
    """The ways in which activations may depend on more than their example.

    Attributes:
        random: on random numbers.
        batch: on the other examples of the batch, or on batches before it.
        grad: on gradients, which the network computes in its forward.
    """

    random: bool = False
    batch: bool = False
    grad: bool = False

    @property
    def any(self) -> bool:
        """True if activations may depend on more than their example."""
        return self.random or self.batch

    def record(self) -> dict[str, bool]:
        """As provenance has it."""
        found = {"randomness": self.random, "batch": self.batch}
        return {**found, "grad": True} if self.grad else found


#: A network that is to be a function of the example.
NOTHING = Allowed()


@dataclass(frozen=True)
class _Found:
    """The first layer that is no function of the example.

    Attributes:
        kind: ``random``, ``state`` or ``batch``; ``layers`` where it runs for some batches, or
            ``rows`` where it has a row for each example of some.
        layer: its address; empty where the network runs other layers each time.
        share: the difference as a share of the layer's spread.
    """

    kind: str
    layer: str
    share: float


@dataclass(frozen=True)
class _Shown:
    """Examples of a batch, and some of them once more among others.

    Attributes:
        examples: three, or the whole batch.
        places: of examples in ``examples``, for each further batch.
        look: the part that is compared of the values of a layer.
        fresh: each batch meets the network as it was before the first; otherwise as the batches
            before have left it, so that a state shows which other examples change.
    """

    examples: Any
    places: Sequence[Sequence[int]]
    look: Callable[[Tensor], Tensor] = torch.clone
    fresh: bool = True


@dataclass(frozen=True)
class _Network:
    """A network that is shown examples.

    Attributes:
        model: not wrapped, where it is to run.
        layers: addresses, or addresses by name.
        allowed: what is no reason to refuse.
        kept: the state of the network, to which it is brought back.
        axes: the axis of examples of each layer; the first of others.
    """

    model: nn.Module
    layers: Layers
    allowed: Allowed
    kept: Unchanged
    axes: Mapping[str, int]

    def see(self, batch: Any, look: Callable[[Tensor], Tensor] = torch.clone) -> dict[str, Tensor]:
        """The values of the layers that run on a batch, or a part of them, as they run.

        The examples come first, from the axis where each layer has them.
        """
        found: dict[str, Tensor] = {}

        def keep(layer: str, values: Tensor) -> None:
            found[layer] = look(values.movedim(self.axes.get(layer, 0), 0))

        capture = Capture(self.model, self.layers, reduce=keep, grad=self.allowed.grad)
        with self.kept.watching(), capture:
            run(self.model, batch)
        return found


def check_function(
    model: nn.Module,
    batch: Any,
    layers: Layers,
    allowed: Allowed,
    kept: Unchanged,
    axes: Mapping[str, int] | None = None,
    batch_axis: BatchAxis = EXAMPLES_FIRST,
) -> None:
    """Check that the layers of a network are functions of the example.

    The network sees three examples of the batch twice, then two of them in other places, then the
    third alone; after that the whole batch, up to 32 of its examples each alone, and halves of it,
    so many that each two examples are once apart.
    Values that differ by more than rounding are a refusal, which names the first module of the
    network where they do. Where the type of the numbers leaves room for doubt, a copy of the
    network in a wider one decides.

    Args:
        model: not wrapped, where it is to run.
        batch: where the network lies.
        layers: addresses, or addresses by name.
        allowed: what is no reason to refuse.
        kept: the state of the network, to which it is brought back.
        axes: the axis that holds the examples of a layer, where it is not the first.
        batch_axis: of the inputs, as it was said or found.

    Raises:
        CaptureError: a layer is random, keeps a state between calls or depends on its batch, and
            that is not allowed; the network does not run twice; or some module takes another axis
            for the one that holds the examples.
    """
    if not allowed.batch:
        _check_unconnected(model, batch)
    if not (allowed.random and allowed.batch):
        _check_dependence(model, batch, layers, allowed, kept, axes or {}, batch_axis)
    check_examples_first(model, batch, kept, batch_axis, grad=allowed.grad)


def _check_unconnected(model: nn.Module, batch: Any) -> None:
    """Raise ``CaptureError`` for a sparse entry that connects the examples of a batch."""
    n, given = batch_size(batch), arguments(model, batch)
    for name, value in sparse_of(batch).items():
        if name in given and tuple(value.shape) == (n, n):
            raise CaptureError(
                f"{name!r} is sparse and connects the {n} examples of a batch, such as the nodes "
                "of a graph, on which each then depends; pass --allow-batch (allow_batch=True) to "
                "take the nodes as examples"
            )


def _check_dependence(
    model: nn.Module,
    batch: Any,
    layers: Layers,
    allowed: Allowed,
    kept: Unchanged,
    axes: Mapping[str, int],
    batch_axis: BatchAxis,
) -> None:
    """Raise ``CaptureError`` for a layer that is random, keeps a state or depends on its batch."""
    with same_random_numbers(model), running(model, batch, grad=allowed.grad):
        try:
            network = _Network(model, layers, allowed, kept, axes)
            for shown in (_few(network, batch), *_all(batch, allowed)):
                found = _judged(network, shown, strict)
                if found is not None and not _certain(found):
                    found = _judged_in_wider(network, shown)
                if found is not None:
                    raise _refusal(_culprit(network, shown, found), batch, batch_axis)
        finally:
            kept.restore()


# --- examples that are shown


def _few(network: _Network, batch: Any) -> _Shown:
    """Three examples or some more; the whole batch of a network that does not run on so few."""
    n, k = batch_size(batch), few(batch)
    if n > k:
        shown = pick(batch, (*range(k - 2), n // 2, n - 1))
        with suppress(Exception):  # the whole batch will tell
            network.see(shown)
            return _among(shown, k)
    return _among(batch, n)


def _among(examples: Any, n: int) -> _Shown:
    """Examples, and batches of some: each example comes without each of the others.

    The largest of a batch, for instance, decides the scale of numbers that are rounded to bytes.
    """
    if n == 1:
        return _Shown(examples, ())
    if n == 3:  # no mirror image of each other: a network may turn the order of rows round
        return _Shown(examples, ((2, 0, 0), (1, 1)))
    return _Shown(examples, ((n - 1, *(0,) * (n - 1)), (n // 2,) * n))


def _all(batch: Any, allowed: Allowed) -> Iterator[_Shown]:
    """The whole batch, halves of it, and examples alone.

    What three examples do not show: an expert that is full, a network that stops when all of a
    batch is sure, a cut to the longest text, statistics that only larger batches are given, or one
    example that another changes.
    """
    n = batch_size(batch)
    if n > 3 and not allowed.batch:
        alone = (range(k, k + 1) for k in range(0, n, -(-n // _ALONE)))
        yield _Shown(batch, (*_halves(n), *alone), thinned, fresh=False)


def _halves(n: int) -> Iterator[Sequence[int]]:
    """The examples whose numbers have a bit, and the others.

    Of the first bit where each is shown alone; otherwise of every bit, so that each two examples
    are once apart, at the cost of as many passes over the batch as its size has digits.
    """
    for bit in range((n - 1).bit_length() if n > _ALONE else 1):
        yield [k for k in range(n) if not k >> bit & 1]
        yield [k for k in range(n) if k >> bit & 1]


# --- passes


def _judged(
    network: _Network, shown: _Shown, tolerance: Callable[[Tensor], float]
) -> _Found | None:
    """The first layer that is no function of the example, and is not allowed to be none."""
    network.kept.restore()
    first = network.see(shown.examples, shown.look)
    again = differing(first, network.see(shown.examples, shown.look), tolerance)
    network.kept.restore()
    if again is not None:
        found: _Found | None = _Found("state", *again)
    elif network.allowed.batch:
        found = None
    else:
        found = _among_others(network, shown, first, tolerance)
    if found is not None and (drawn := _drawn(network, shown, first, tolerance)) is not None:
        return None if network.allowed.random else drawn
    return None if network.allowed.batch else found


def _drawn(
    network: _Network,
    shown: _Shown,
    first: Mapping[str, Tensor],
    tolerance: Callable[[Tensor], float],
) -> _Found | None:
    """The first layer that differs from one pass to the next, each from the same state.

    A few draws may be alike, as of the place of a mask that is drawn from seven.
    """
    for _ in range(_DRAWS):
        network.kept.restore()
        now = network.see(shown.examples, shown.look)
        if (other := differing(first, now, tolerance)) is not None:
            network.kept.restore()
            return _Found("random", *other)
    network.kept.restore()
    return None


def _among_others(
    network: _Network,
    shown: _Shown,
    first: Mapping[str, Tensor],
    tolerance: Callable[[Tensor], float],
) -> _Found | None:
    """The first layer that depends on the other examples of a batch, or of those before it."""

    def look(places: Sequence[int]) -> _Found | None:
        others = _seen_or_none(network, pick(shown.examples, places), shown.look)
        n = batch_size(shown.examples)
        return None if others is None else _depends(first, others, places, n, tolerance)

    for places in shown.places:
        found = look(places)
        if found or shown.fresh:
            network.kept.restore()
        if found and found.kind == "batch" and not shown.fresh:
            return look(places) or replace(found, kind="state")
        if found:
            return found
    return None


def _seen_or_none(
    network: _Network, batch: Any, look: Callable[[Tensor], Tensor]
) -> dict[str, Tensor] | None:
    """The values of a batch; None where the network does not run on so few examples."""
    try:
        return network.see(batch, look)
    except Exception:
        return None


def _depends(
    first: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    places: Sequence[int],
    n: int,
    tolerance: Callable[[Tensor], float],
) -> _Found | None:
    """The first layer that gives examples other values among others."""
    before = {name: each[list(places)] for name, each in first.items() if each.shape[:1] == (n,)}
    seen = {name: _with_rows(each, first.get(name), len(places)) for name, each in others.items()}
    now = {name: each for name, each in seen.items() if each.shape[:1] == (len(places),)}
    if lost := sorted(before.keys() & (others.keys() - now.keys())):
        return _Found("rows", lost[0], float("inf"))
    if odd := sorted(before.keys() ^ now.keys()):
        return _Found("layers", odd[0], float("inf"))
    found = differing(before, now, tolerance, first)
    return None if found is None else _Found("batch", *found)


def _with_rows(values: Tensor, like: Tensor | None, n: int) -> Tensor:
    """The values of a single example with their first axis, where ``squeeze()`` took it away."""
    squeezed = n == 1 and like is not None and values.shape == like.shape[1:]
    return values.unsqueeze(0) if squeezed else values


# --- a wider type


def _certain(found: _Found) -> bool:
    """True for a difference that no rounding explains."""
    return _PLAIN < found.share < float("inf") or not found.layer or found.kind in _UNLIKE


def _judged_in_wider(network: _Network, shown: _Shown) -> _Found | None:
    """The judgement of a copy of the network in a wider number type, else by a bound."""
    with suppress(Exception):  # one that cannot be copied, or that names its type within
        wider = _WIDER[_type_of(network.model)]
        copied = _copy(network.model, wider)
        wide = replace(shown, examples=as_type(shown.examples, wider))
        with Unchanged(copied) as state:
            return _judged(replace(network, model=copied, kept=state), wide, strict)
    return _judged(network, shown, rounding)


def _type_of(model: nn.Module) -> torch.dtype:
    """The narrowest floating-point type of a network's parameters; float32 without any."""
    kinds = {each.dtype for each in model.parameters() if each.is_floating_point()}
    return min(kinds, key=lambda kind: torch.finfo(kind).bits) if kinds else torch.float32


def _copy(model: nn.Module, kind: torch.dtype) -> nn.Module:
    """A copy of a network in another number type.

    Raises:
        MemoryError: there is no room for it.
    """
    numbers = sum(each.numel() for each in (*model.parameters(), *model.buffers()))
    if numbers * kind.itemsize > default_memory(device_of(model)):
        raise MemoryError
    return copy.deepcopy(model).to(kind)


# --- refusals


def _culprit(network: _Network, shown: _Shown, found: _Found) -> _Found:
    """The first of all modules of the network with the same fault as a chosen layer."""
    if found.kind in _UNLIKE:
        return found
    allowed = Allowed(random=found.kind == "batch", grad=network.allowed.grad)
    every = replace(network, layers=["type:Module"], allowed=allowed)
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules without a tensor are of no interest here
        first = _judged(every, shown, rounding)
        if first is not None and first.kind == found.kind and first.layer:
            return first
    return found


_REASONS = {
    "random": (
        "gives other values when the same examples are shown again: it is random in evaluation "
        "mode, as dropout by a function or outside of the network's modules is",
        "draws once and keeps that",
        "random",
    ),
    "state": (
        "gives other values when the same examples are shown again: the network keeps a state from "
        "one batch to the next",
        "takes the batches as they come",
        "batch",
    ),
    "batch": (
        "gives an example other values in another batch: it depends on the other examples, as "
        "normalisation by the statistics of a batch does",
        "takes the batches as they come",
        "batch",
    ),
    "layers": (  # as one of pieces of a batch, or of the examples that are sent to an expert
        "does not run as often for a part of a batch as for all of it",
        "takes the batches as they come",
        "batch",
    ),
    "rows": (
        "gives no row for each example of a part of the batch, and does for all of it",
        "takes the batches as they come",
        "batch",
    ),
}

#: Kinds of layers that have nothing to compare for some batches.
_UNLIKE = ("layers", "rows")


def _other_axis(batch: Any, batch_axis: BatchAxis) -> str:
    """A remedy for inputs of three dimensions: their second may hold the examples.

    That of some alone where their first does not, as of the states of recurrent layers.
    """
    n, inputs = batch_size(batch), inputs_of(batch)
    named = inputs if isinstance(inputs, Mapping) else {"": inputs}
    threes = {name: tuple(each.shape) for name, each in named.items() if each.ndim == 3}
    other = [name for name, shape in threes.items() if shape[0] != n == shape[1]]
    if not threes:
        return ""
    if other and not batch_axis:
        said = BatchAxis({f"{INPUT}:{name}": 1 for name in other})
        return (
            f" where axis 1 of {listed([*map(repr, other)])} holds the examples, say {said.option},"
        )
    return f" {batch_axis.elsewhere(1)},"


def _of_all(batch: Any) -> str:
    """A remedy for an entry of as many elements as there are examples: it may be of the batch."""
    n = batch_size(batch)
    found = [
        repr(name)
        for name, value in dictionary_of(batch).items()
        if name not in ABOUT
        and (isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1)
        and len(value) == n
    ]
    if not found:
        return ""
    whole = f"where {listed(found)} belongs to the whole batch"
    return f" or {whole}, give batches of another size than {n},"


def _refusal(found: _Found, batch: Any, batch_axis: BatchAxis) -> CaptureError:
    reason, meaning, flag = _REASONS[found.kind]
    depends = found.kind == "batch"
    axis = _other_axis(batch, batch_axis) + _of_all(batch) if depends else ""
    way = "choose others" if found.kind in _UNLIKE else "change that"
    layer = f"layer {found.layer!r}" if found.layer else "the network runs other layers and"
    return CaptureError(
        f"{layer} {reason}; {way},{axis} or pass --allow-{flag} (allow_{flag}=True), which "
        f"{meaning}"
    )
