"""Inputs by whose numbers a network looks up rows of tables: seen as it runs on a few examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.batches import LABELS, few, head
from repsim.activations.capture.calls import Call
from repsim.activations.capture.fillers import are_whole
from repsim.activations.capture.following import Following
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.looked_up import LookedUp
from repsim.activations.capture.masks import NO_TOKENS, arrays_by_example
from repsim.activations.capture.unchanged import Unchanged

#: So many columns of an input are compared at most.
_COLUMNS = 64


class _Index(NamedTuple):
    """The numbers of rows that were looked up.

    Attributes:
        values: of any shape.
        pad: the row that stands for padding alone.
        signed: numbers below 0 count from the end.
    """

    values: Tensor
    pad: int | None = None
    signed: bool = False


def lookups(
    model: nn.Module, batch: Any, layers: Mapping[str, str], *, grad: bool = False
) -> dict[str, list[LookedUp]]:
    """The inputs by whose numbers a network looks up rows of tables, by name.

    By an embedding, a module or a function, by ``table[numbers]`` or by ``one_hot``: numbers of the
    input, whole, of any number of dimensions beyond one and of any type, or a column of it; with
    the examples first or second, and shifted by one number or not.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        batch: a dictionary, where the network lies.
        layers: addresses by name.
        grad: as for ``Capture``.
    """
    shown = head(batch, few(batch))
    given = {name: value.detach().cpu() for name, value in _may_be_numbers(shown)}
    found: dict[str, list[LookedUp]] = {}
    for index in _indices(model, shown, layers, grad=grad) if given else ():
        for name, value in given.items():
            one = _of(index, name, value)
            if one is not None and one not in found.setdefault(name, []):
                found[name].append(one)
    return {name: each for name, each in found.items() if each}


def _may_be_numbers(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """The inputs of a batch that are whole numbers, or have a column of them."""
    for name, value in arrays_by_example(batch):
        others = name in LABELS or name.endswith(NO_TOKENS)
        if others or value.ndim < 2 or value.is_complex() or not value.numel():
            continue
        if _are_whole(value) or any(_are_whole(part) for _, part in _columns(value)):
            yield name, value


def _are_whole(value: Tensor) -> bool:
    return value.dtype != torch.bool and are_whole(value)


def _columns(value: Tensor) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """The columns (n, positions, ...) of an input, along its last axis or the one of channels."""
    for axis in (value.ndim - 1, 1) if value.ndim > 2 else ():
        for place in range(min(value.shape[axis], _COLUMNS)):
            yield (axis, place), value.select(axis, place)


# --- the network as it runs


def _indices(
    model: nn.Module, batch: Any, layers: Mapping[str, str], *, grad: bool
) -> list[_Index]:
    """The numbers of rows that a network looks up, as far as it can be followed."""
    looking = _Looking(model)
    with suppress(Exception), warnings.catch_warnings(), Unchanged(model) as kept, kept.watching():
        warnings.simplefilter("ignore")
        capture = Capture(model, layers, reduce=lambda *_: torch.empty(0), grad=grad)
        with capture, looking:
            run(model, batch)
    return looking.found


class _Looking(Following):
    """A block that notes the numbers by which rows of tables are looked up."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.found: list[_Index] = []

    def _follow(self, call: Call, results: list[Tensor]) -> None:
        with suppress(Exception):  # a call that is not understood is no error
            index = _index_of(call)
            if index is not None and self._is_given(index.values) and index.values.ndim:
                values = index.values.detach().cpu().clone()
                self.found.append(index._replace(values=values))
        super()._follow(call, results)


def _index_of(call: Call) -> _Index | None:
    """The numbers of the rows that a function looks up; None for any other function."""
    if call.name == "embedding":
        return _embedded(call)
    if call.name == "one_hot":
        return _Index(call.first)
    if call.name == "index_select" and call.get(1, "dim") == 0:
        return _of_table(call, call.get(2, "index"))
    if call.name == "__getitem__":
        index = call.args[1]
        first = index[0] if isinstance(index, tuple) and index else index
        return _of_table(call, first)
    return None


def _embedded(call: Call) -> _Index:
    """The numbers of an embedding: of its function, or of the one that lies below."""
    if call.function is torch.embedding:
        pad = call.get(2, "padding_idx", -1)
        return _Index(call.get(1, "indices"), pad if pad >= 0 else None)
    pad, rows = call.get(2, "padding_idx"), len(call.get(1, "weight"))
    return _Index(call.get(0, "input"), None if pad is None else pad % rows)


def _of_table(call: Call, index: Any) -> _Index | None:
    """The numbers of rows of a table, which no input makes."""
    table = call.args[0] if call.args else call.kwargs["input"]
    whole = isinstance(index, Tensor) and index.dtype in (torch.int32, torch.int64)
    is_table = table.ndim == 2 and table.is_floating_point() and not call.is_given(table)
    return _Index(index, signed=True) if whole and is_table else None


# --- the inputs that they come from


def _of(index: _Index, name: str, value: Tensor) -> LookedUp | None:
    """The numbers of an input that were looked up; None where they come from elsewhere.

    A column beside others that are no whole numbers may be a time, a type or a place; it counts
    where a number of it stands for padding.
    """
    whole = _are_whole(value)
    parts = [(None, value)] if whole else []
    for column, part in (*parts, *_columns(value)):
        shift = _shift(index.values, part) if _are_whole(part) else None
        if shift is not None:
            pad = None if index.pad is None else index.pad - shift
            one = LookedUp(name, pad, shift, index.signed, column)
            return one if whole or pad is not None else None
    return None


def _shift(index: Tensor, numbers: Tensor) -> int | None:
    """The number that was added to those of an input; None where they are others.

    Numbers below 0 may have become any.
    """
    if index.numel() != numbers.numel():
        return None
    for way in (numbers, numbers.transpose(0, 1)):
        flat = way.flatten().double()
        counted, found = flat[flat >= 0], index.flatten().double()[flat >= 0]
        if not len(counted) or bool((counted == counted[0]).all()):
            continue
        shifts = found - counted
        if bool((shifts == shifts[0]).all()):
            return int(shifts[0])
    return None
