"""Rows that depend on the padding behind them, where a network runs over it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.batches import array_of, batch_size, in_form, pick
from repsim.activations.capture.differences import largest_difference, rounding, spread
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.masks import Mask, padding_token
from repsim.activations.capture.positions import Followers
from repsim.activations.capture.trials import Axes, cut_to, positions_of
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.errors import RepsimWarning

#: A share of a layer's spread beyond which padding has an effect.
_SOME = 1e-3

#: Places of the longer and of the shorter example of a pair, in the order that packing asks for.
_LONGER, _SHORTER = 0, 1


class PaddingEffects:
    """A warning, given once, of the first layer whose rows depend on the padding behind them.

    Padding to one length for all batches makes rows of one kind, and is not warned of.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        axes: the axis that holds the examples of a layer, where it is not the first.
        grad: as for ``Capture``.
    """

    def __init__(self, model: nn.Module, axes: Mapping[str, int], *, grad: bool) -> None:
        self._model, self._axes, self._grad = model, axes, grad
        self._affected: dict[Mask, str] = {}
        self._inputs: dict[Mask, Mapping[str, Axes]] = {}
        self._lengths: dict[Mask, int] = {}

    def find(self, batch: Any, mask: Mask, found: Followers, layers: Mapping[str, str]) -> None:
        """Look for a layer that an example's padding changes, with the first batch.

        The shortest example that ends in padding is shown with the longest, and alone without its
        padding. An example of a batch without padding is given some.

        Args:
            batch: a dictionary.
            mask: that is known.
            found: the inputs and layers of its positions.
            layers: addresses by name.
        """
        pair = _pair(self._model, batch, mask, found)
        if pair is None:
            return
        try:
            beside, alone = self._values(pair.both, layers), self._values(pair.alone, layers)
        except Exception:  # of any kind: the network is not made for it
            return
        for layer in beside.keys() & alone.keys():
            axis = found.exact.get(layer)
            before = _tokens(beside[layer][_SHORTER], axis, pair.tokens)
            after = _tokens(alone[layer][0], axis, pair.tokens)
            if before.shape == after.shape and _differs(before, after, beside[layer]):
                self._affected.setdefault(mask, layer)
                self._inputs[mask] = found.inputs

    def show(self, batch: Any) -> None:
        """Look at the padding of a batch, of one that is to come or of the first.

        Warns:
            RepsimWarning: it is as long as the longest example asks for, and changes a layer.
        """
        for mask, layer in self._affected.items():
            if self._varies(mask, batch):
                self._affected = {}
                _warn(mask, layer)
                return

    def _varies(self, mask: Mask, batch: Any) -> bool:
        """True for padding that other examples of the batch, or batches, would make longer."""
        if mask.value(batch) is None:
            return False
        length = positions_of(mask, batch, self._inputs[mask])
        before = self._lengths.setdefault(mask, length)
        kept = mask.kept(batch, length)
        if kept is None:
            return False
        padded = bool((kept[:, 0] & ~kept[:, -1]).any())
        return padded and (length != before or bool(kept.all(1).any()))

    def _values(self, batch: Any, layers: Mapping[str, str]) -> dict[str, Tensor]:
        """The layers for a batch, with the examples first."""
        found: dict[str, Tensor] = {}

        def keep(name: str, values: Tensor) -> None:
            found[name] = values.movedim(self._axes.get(name, 0), 0).clone()

        capture = Capture(self._model, layers, reduce=keep, grad=self._grad)
        with (
            warnings.catch_warnings(),
            same_random_numbers(self._model),
            Unchanged(self._model) as kept,
        ):
            warnings.simplefilter("ignore")
            with kept.watching(), capture:
                run(self._model, batch)
        return found


@dataclass(frozen=True)
class _Pair:
    """An example beside a longer one, and alone without padding.

    Attributes:
        both: a batch of two, the longer first.
        alone: a batch of the shorter.
        tokens: of the shorter.
    """

    both: Any
    alone: Any
    tokens: int


def _pair(model: nn.Module, batch: Any, mask: Mask, found: Followers) -> _Pair | None:
    """The examples to compare; None where none has padding behind its tokens, and some in front."""
    if not found.inputs:
        return None
    length = positions_of(mask, batch, found.inputs)
    kept = mask.kept(batch, length)
    if kept is None or length < 2:
        return None
    counts = kept.sum(1)
    behind = (kept == (torch.arange(length, device=kept.device) < counts[:, None])).all(1)
    ends = behind & (counts > 0) & (counts < length)
    if bool(ends.any()):
        shortest = int(counts.masked_fill(~ends, length).argmin())
        both, tokens = pick(batch, [int(counts.argmax()), shortest]), int(counts[shortest])
    elif bool(kept.all()):
        tokens = length // 2
        both = _with_padding(model, batch, mask, found, slice(tokens, length))
    else:
        return None
    axes = {**found.inputs, mask.name: () if mask.kind == "lengths" else (1,)}
    alone = pick(both, [_SHORTER])
    short = {name: cut_to(alone[name], each, tokens) for name, each in axes.items()}
    return _Pair(both, {**alone, **short}, tokens)


def _with_padding(
    model: nn.Module, batch: Any, mask: Mask, found: Followers, padded: slice
) -> dict[str, Any]:
    """Two examples of a batch, the second with padding."""
    both = dict(pick(batch, [0, batch_size(batch) - 1]))
    for name, axes in found.inputs.items():
        value = _copy(both[name])
        if not axes:
            value[_SHORTER] = padded.start
        whole = value.is_floating_point() or value.dtype == torch.bool
        for axis in axes:
            end = value[_SHORTER].narrow(axis - 1, padded.start, padded.stop - padded.start)
            end.fill_(0 if whole else padding_token(model) or 0)
        both[name] = in_form(both[name], value)
    value = _copy(both[mask.name])
    marks = padded.start if mask.kind == "lengths" else mask.marked(value, padded)[_SHORTER]
    value[_SHORTER] = marks
    both[mask.name] = in_form(both[mask.name], value)
    return both


def _copy(value: Any) -> Tensor:
    found = array_of(value)
    return (torch.as_tensor(value) if found is None else found).clone()


def _tokens(values: Tensor, axis: int | None, tokens: int) -> Tensor:
    """The values of an example, of its tokens alone where a layer has the positions of the mask."""
    return values if axis is None else values.narrow(max(1, axis) - 1, 0, tokens)


def _differs(before: Tensor, after: Tensor, whole: Tensor) -> bool:
    return largest_difference(before, after) > max(_SOME * spread(whole), rounding(whole))


def _warn(mask: Mask, layer: str) -> None:
    warnings.warn(
        f"layer {layer!r} gives an example other values with padding behind it ({mask.name}): the "
        "network runs over the padding, so that rows depend on the longest example of their batch; "
        "give batches of one example, or of examples of one length, or pass --allow-batch "
        "(allow_batch=True), which takes the batches as they come",
        RepsimWarning,
        stacklevel=4,
    )
