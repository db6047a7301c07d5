"""Runs of a network on a few examples whose inputs are cut, or changed where a mask has padding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments, run
from repsim.activations.capture.batches import (
    ABOUT,
    LABELS,
    array_of,
    batch_size,
    dictionary_of,
    head,
    in_form,
    is_by_example,
)
from repsim.activations.capture.fillers import goes_on, one_each
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.masks import Mask, kind_of, masks_in
from repsim.activations.capture.modules import has_modules
from repsim.dense import is_sparse

Shape = tuple[int, ...]
Axes = tuple[int, ...]

#: Prefix of the addresses of modules that are not asked for.
_MODULE = "module "

#: Numbers of a layer that are looked at; features of each position.
_SAMPLE, _FEATURES = 1 << 16, 16

#: So many runs for a mask at most.
_RUNS = 256


class Trials:
    """A network on a few examples of a batch that are all tokens.

    Args:
        model: the network.
        batch: a dictionary.
        mask: that is looked at.
        layers: addresses by name.
        restore: brings the network back after a run.
        grad: as for ``Capture``.
        length: the positions that the mask is about.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Any,
        mask: Mask,
        layers: Mapping[str, str],
        restore: Callable[[], None],
        *,
        grad: bool,
        length: int,
    ) -> None:
        self.mask, self.layers, self.length = mask, layers, length
        self.half = max(2, self.length // 2)
        entries = dict(dictionary_of(head(batch, 3 if self.length != 3 else 2)))
        known = {each.name: each for each in (*masks_in(entries), mask) if each.is_known}
        full = {
            name: in_form(entries[name], each.full(entries[name], self.length))
            for name, each in known.items()
            if name in entries
        }
        self._entries = {**entries, **full}
        self._model, self._restore, self._left, self._grad = model, restore, _RUNS, grad

    @property
    def is_by_convention(self) -> bool:
        """True for a known mask of a network of transformers, which keeps to its names."""
        library = type(self._model).__module__.partition(".")[0]
        return self.mask.is_known and library == "transformers"

    def sequences(self) -> dict[str, Tensor]:
        """The inputs of the network that have more than one number an example, but the mask."""
        given = arguments(self._model, self._entries)
        return {
            name: value
            for name, value in given.items()
            if isinstance(value, Tensor)
            and value.ndim > 1
            and name != self.mask.name
            and not is_sparse(value)
        }

    def partners(self) -> dict[str, list[Axes]]:
        """The inputs that have as many positions, and the axes along which they can be cut."""
        n = batch_size(self._entries)
        found: dict[str, list[Axes]] = {}
        for name, value in arguments(self._model, self._entries).items():
            is_lengths = kind_of(name) == "lengths" and is_by_example(name, value, n)
            if name == self.mask.name or not (isinstance(value, Tensor) or is_lengths):
                continue
            if is_sparse(value):
                continue
            if not self._is_beside(name):
                continue
            if is_lengths:
                found[name] = [()]
                continue
            axes = [k for k, size in enumerate(value.shape) if size == self.length]
            ways = [way for r in range(1, len(axes) + 1) for way in combinations(axes, r)]
            if ways:
                found[name] = ways if is_by_example(name, value, n) else ways[-1:]
        return found

    def _is_beside(self, name: str) -> bool:
        """False for an input of the encoder and a mask of the decoder, or the other way round.

        By the names of transformers, where both have a mask: ``decoder_attention_mask``, and
        labels, which become inputs of the decoder.
        """
        config: Any = getattr(self._model, "config", None)
        sides = {_is_of_decoder(each.name) for each in masks_in(self._entries)}
        if getattr(config, "is_encoder_decoder", None) is not True or len(sides) < 2:
            return True
        return _is_of_decoder(name) == _is_of_decoder(self.mask.name)

    def shapes(self, cuts: Mapping[str, Axes]) -> dict[str, Shape] | None:
        """The shapes of layers with some inputs cut in half; None if the network does not run."""
        if self.length < 3 or _may_reach_beyond(self._entries, cuts, self.half):
            return None
        short = {name: self.cut(name, axes) for name, axes in cuts.items()}
        return self._seen(short, lambda _, values: tuple(values.shape)) or None

    @property
    def marks(self) -> Tensor:
        """The values of the mask, by which all positions are tokens."""
        return self.value(self.mask.name)

    def value(self, name: str) -> Tensor:
        """An input of the examples, by which all positions are tokens."""
        return _array(self._entries[name])

    def sampled(self, changes: Mapping[str, Any], exact: Mapping[str, int]) -> dict[str, Tensor]:
        """Some values of each layer, as the network sees the examples with other inputs.

        Args:
            changes: the inputs that are others.
            exact: layers with the positions of the mask, and their axis: they give values of all
                positions, (n, positions, ...).
        """

        def look(name: str, values: Tensor) -> Tensor:
            if name not in exact:
                return values.flatten()[:: -(-values.numel() // _SAMPLE) or 1].clone()
            values = values.movedim(exact[name], 1)
            return values[..., :: -(-values.shape[-1] // _FEATURES)].clone()

        return self._seen(changes, look)

    def _seen(
        self, changes: Mapping[str, Any], look: Callable[[str, Tensor], Any]
    ) -> dict[str, Any]:
        """The layers, and all modules, with some inputs changed; none if it does not run so."""
        if self._left == 0:
            return {}
        self._left -= 1
        shown = {
            name: in_form(self._entries.get(name), each) if isinstance(each, Tensor) else each
            for name, each in changes.items()
        }
        found: dict[str, Any] = {}

        def layer(name: str, values: Tensor) -> None:
            found[name] = look(name, values)

        def module(address: str, values: Tensor) -> None:
            name = f"{_MODULE}{address}"
            found[name] = look(name, values)

        chosen = Capture(self._model, self.layers, reduce=layer, grad=self._grad)
        inside = "type:Module" if has_modules(self._model) else self.layers
        every = Capture(self._model, inside, reduce=module, grad=self._grad)
        try:
            with chosen, every:
                run(self._model, {**self._entries, **shown})
        except Exception:  # of any kind: the network is not made for it
            return {}
        finally:
            self._restore()
        return found

    def changed(self, sequence: Mapping[str, Axes], padded: slice) -> dict[str, Tensor]:
        """Inputs with the contents of another example, reversed, in some positions."""
        found = {}
        for name, axes in sequence.items():
            if "mask" in name or name.endswith("position_ids") or len(axes) != 1:
                continue
            value = self.value(name).clone()
            part = value.narrow(axes[0], padded.start, padded.stop - padded.start)
            part.copy_(part.roll(1, 0).flip(axes[0]).clone())
            found[name] = value
        return found

    def cut(self, name: str, axes: Axes) -> Any:
        """An input with half of its positions; lengths are no longer than that."""
        if name == self.mask.name and self.mask.kind != "lengths":
            axes = (1,)
        return cut_to(self._entries[name], axes, self.half)


def _is_of_decoder(name: str) -> bool:
    return name.startswith("decoder") or name in LABELS


def cut_to(before: Any, axes: Axes, length: int) -> Any:
    """An input with its first positions along some axes; without any, lengths up to that."""
    value = _array(before)
    if not axes:
        return in_form(before, value.clamp(max=length))
    for axis in axes:
        value = value.narrow(axis, 0, length).contiguous()
    return in_form(before, value)


def _array(value: Any) -> Tensor:
    found = array_of(value)
    return torch.as_tensor(value) if found is None else found


def positions_of(
    mask: Mask, entries: Mapping[str, Any], inputs: Mapping[str, Axes] = MappingProxyType({})
) -> int:
    """The positions that a mask is about.

    Args:
        mask: of the entries.
        entries: of a batch.
        inputs: those that have the positions, and their axes, where they are known.
    """
    if mask.kind == "lengths":
        for name, axes in inputs.items():
            if axes and name in entries:
                return _array(entries[name]).shape[axes[0]]
    return next(iter(possible_positions(mask, entries)), 0)


def possible_positions(mask: Mask, entries: Mapping[str, Any]) -> list[int]:
    """The positions that a mask may be about, the likeliest first.

    Lengths may be those along any axis of an input that is as long as the longest, or longer, as
    inputs (n, channels, length) are that are padded to one length for all batches; along those
    alone that hold padding behind them, where some do.
    """
    value = _array(entries[mask.name])
    if mask.kind != "lengths":
        return [value.shape[1]]
    most = int(value.max()) if value.numel() else 0
    shapes = [each.shape for each in entries.values() if isinstance(each, (Tensor, np.ndarray))]
    sizes = [size for shape in shapes for size in shape[1:]]
    first = next((shape[1] for shape in shapes if len(shape) > 1), 0)
    longer = (size for size in sizes if size > most)
    possible = list(dict.fromkeys([most if most in sizes else first, *longer]))
    padded = _padded_sizes(value, entries)
    return [size for size in possible if size in padded] or possible


def _padded_sizes(counts: Tensor, entries: Mapping[str, Any]) -> set[int]:
    """The sizes of axes along which inputs hold one value behind so many positions."""
    counts = one_each(counts)
    found = (array_of(value) for value in entries.values() if counts.ndim == 1)
    arrays = [each for each in found if each is not None and each.shape[:1] == counts.shape]
    return {
        value.shape[axis]
        for value in arrays
        for axis in range(1, value.ndim)
        if goes_on(value.movedim(axis, 1), counts.to(value.device)) is False
    }


def _may_reach_beyond(entries: Mapping[str, Any], cut: Collection[str], length: int) -> bool:
    """True for a number of each example that may be a place, on a device that such errors stop."""
    numbers = [
        value
        for name, value in entries.items()
        if isinstance(value, Tensor) and value.ndim == 1 and name not in cut and name not in ABOUT
    ]
    return any(
        each.is_cuda and not each.is_floating_point() and int(each.max()) >= length
        for each in numbers
    )
