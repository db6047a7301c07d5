"""Runs of a network on a few examples whose inputs are cut, or changed where a mask has padding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments, run
from repsim.activations.capture.batches import (
    ABOUT,
    batch_size,
    dictionary_of,
    head,
    is_by_example,
)
from repsim.activations.capture.differences import ROUNDING, largest_difference, spread
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.masks import Mask, kind_of, masks_in
from repsim.activations.capture.modules import has_modules

Shape = tuple[int, ...]
Axes = tuple[int, ...]

#: What stands before the addresses of modules that are not asked for.
_MODULE = "module "

#: A share of a layer's spread by which a change moves it, and one that only rounding does.
_SOME, _NONE = 1e-3, 1e-6

#: Numbers of a layer that are looked at; features of each position.
_SAMPLE, _FEATURES = 1 << 16, 16

#: So many runs for a mask at most.
_RUNS = 128


class Trials:
    """A network on a few examples of a batch that are all tokens.

    Args:
        model: the network.
        batch: a dictionary.
        mask: that is looked at.
        layers: addresses by name.
        restore: brings the network back after a run.
        grad: as for ``Capture``.
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
    ) -> None:
        self.mask, self.layers = mask, layers
        self.length = _length(mask, dictionary_of(batch))
        self.half = max(2, self.length // 2)
        entries = dict(dictionary_of(head(batch, 3 if self.length != 3 else 2)))
        known = {each.name: each for each in (*masks_in(entries), mask) if each.is_known}
        full = {
            name: _like(entries[name], each.full(entries[name], self.length))
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
            if isinstance(value, Tensor) and value.ndim > 1 and name != self.mask.name
        }

    def partners(self) -> dict[str, list[Axes]]:
        """The inputs that have as many positions, and the axes along which they can be cut."""
        n = batch_size(self._entries)
        found: dict[str, list[Axes]] = {}
        for name, value in arguments(self._model, self._entries).items():
            is_lengths = kind_of(name) == "lengths" and is_by_example(name, value, n)
            if name == self.mask.name or not (isinstance(value, Tensor) or is_lengths):
                continue
            if is_lengths:
                found[name] = [()]
                continue
            axes = [k for k, size in enumerate(value.shape) if size == self.length]
            ways = [way for r in range(1, len(axes) + 1) for way in combinations(axes, r)]
            if ways:
                found[name] = ways if is_by_example(name, value, n) else ways[-1:]
        return found

    def shapes(self, cuts: Mapping[str, Axes]) -> dict[str, Shape] | None:
        """The shapes of layers with some inputs cut in half; None if the network does not run."""
        entries = {**self._entries, **{name: self._cut(name, axes) for name, axes in cuts.items()}}
        if self.length < 3 or self._left == 0 or _may_reach_beyond(entries, cuts, self.half):
            return None
        return self._seen(entries, lambda _, values: tuple(values.shape)) or None

    def evident_kind(self, sequence: Mapping[str, Axes], exact: Mapping[str, int]) -> str:
        """The kind of the mask, if the network shows that it is one of this sequence.

        Positions that the mask marks as padding have no effect on others, which they do have where
        all are tokens. Half of the positions are padding, the first, or else the last. A mask that
        is not known by its name must also do what leaving the positions out does, for there are
        masks of tokens that the network is to guess.

        Args:
            sequence: inputs, and the axis of their positions.
            exact: layers with these positions, and their axis.
        """
        kinds = {
            "tokens": ("tokens", "padding"),
            "padding": ("padding", "tokens"),
            "unknown": ("tokens", "padding"),
        }
        half = self.length - self.half
        for padded in (slice(0, half), slice(self.half, self.length)):
            changed = self._changed(sequence, padded)
            for kind in kinds.get(self.mask.kind, ()):
                mask = Mask(self.mask.name, kind)
                if self._blocks(mask, changed, padded, exact) and (
                    self.mask.is_known or self._leaves_out(mask, sequence, exact)
                ):
                    return kind
        return ""

    def misplaced(self, sequence: Mapping[str, Axes], exact: Mapping[str, int]) -> set[str]:
        """Layers that a change of one position changes, but not in that position."""
        place = slice(self.length // 3, self.length // 3 + 1)
        before = self._sampled(self._entries, exact)
        after = self._sampled({**self._entries, **self._changed(sequence, place)}, exact)
        return {
            name
            for name in set(exact) & set(before) & set(after)
            if _effect(before[name], after[name]) > _SOME
            and _effect(*(each[:, place] for each in (before[name], after[name]))) < _NONE
        }

    def _blocks(
        self, mask: Mask, changed: Mapping[str, Any], padded: slice, exact: Mapping[str, int]
    ) -> bool:
        """True if padding by a mask ends the effect of some positions on the rest of a layer."""
        value = torch.as_tensor(self._entries[mask.name])
        free = self._effects(mask.full(value, self.length), changed, padded, exact)
        if all(effect <= _SOME for effect in free.values()):
            return False
        ended = self._effects(mask.marked(value, padded), changed, padded, exact)
        return any(free[name] > _SOME and ended[name] < _NONE for name in set(free) & set(ended))

    def _leaves_out(
        self, mask: Mask, sequence: Mapping[str, Axes], exact: Mapping[str, int]
    ) -> bool:
        """True if layers are the same whether padding is marked or left out, at the end."""
        value = torch.as_tensor(self._entries[mask.name])
        marked = {mask.name: mask.marked(value, slice(self.half, self.length))}
        whole = {mask.name: mask.full(value, self.length)}
        short = {name: self._cut(name, axes) for name, axes in sequence.items()}
        short[mask.name] = whole[mask.name][:, : self.half]
        seen = [self._sampled({**self._entries, **each}, exact) for each in (whole, marked, short)]
        layers = set(exact).intersection(*seen)
        whole, marked, short = (
            {name: values[name][:, : self.half] for name in layers} for values in seen
        )
        moved = {name for name in layers if _effect(whole[name], short[name]) > _SOME}
        return bool(moved) and all(_effect(marked[name], short[name]) < ROUNDING for name in moved)

    def _effects(
        self, mask: Tensor, changed: Mapping[str, Any], padded: slice, exact: Mapping[str, int]
    ) -> dict[str, float]:
        """Effects on layers, beyond the padding, of other inputs there."""
        entries = {**self._entries, self.mask.name: mask}
        before, after = (self._sampled(each, exact) for each in (entries, {**entries, **changed}))
        kept = [k for k in range(self.length) if not padded.start <= k < padded.stop]
        return {
            name: _effect(before[name][:, kept], after[name][:, kept])
            if name in exact
            else _effect(before[name], after[name])
            for name in set(before) & set(after)
            if name not in exact or before[name].shape[1] == self.length
        }

    def _sampled(self, entries: Mapping[str, Any], exact: Mapping[str, int]) -> dict[str, Tensor]:
        """Some values of each layer; those of all positions, (n, positions, ...), where exact."""

        def look(name: str, values: Tensor) -> Tensor:
            if name not in exact:
                return values.flatten()[:: -(-values.numel() // _SAMPLE) or 1].clone()
            values = values.movedim(exact[name], 1)
            return values[..., :: -(-values.shape[-1] // _FEATURES)].clone()

        return self._seen(entries, look)

    def _seen(
        self, entries: Mapping[str, Any], look: Callable[[str, Tensor], Any]
    ) -> dict[str, Any]:
        """The layers, and all modules, as the network sees a batch; none where it does not run."""
        if self._left == 0:
            return {}
        self._left -= 1
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
                run(self._model, entries)
        except Exception:  # of any kind: the network is not made for it
            return {}
        finally:
            self._restore()
        return found

    def _changed(self, sequence: Mapping[str, Axes], padded: slice) -> dict[str, Tensor]:
        """Inputs that have other contents in some positions: those of another example, reversed."""
        found = {}
        for name, axes in sequence.items():
            if "mask" in name or name.endswith("position_ids") or len(axes) != 1:
                continue
            value = torch.as_tensor(self._entries[name]).clone()
            part = value.narrow(axes[0], padded.start, padded.stop - padded.start)
            part.copy_(part.roll(1, 0).flip(axes[0]).clone())
            found[name] = value
        return found

    def _cut(self, name: str, axes: Axes) -> Any:
        """An input with half of its positions; lengths are no longer than that."""
        value = torch.as_tensor(self._entries[name])
        if name == self.mask.name and self.mask.kind != "lengths":
            axes = (1,)
        if not axes:
            return _like(self._entries[name], value.clamp(max=self.half))
        for axis in axes:
            value = value.narrow(axis, 0, self.half).contiguous()
        return value


def _like(before: Any, value: Tensor) -> Any:
    """A tensor as a list where a list was there before."""
    return value.tolist() if isinstance(before, (list, tuple)) else value


def _effect(before: Tensor, after: Tensor) -> float:
    """The largest difference as a share of the spread."""
    if not before.numel():
        return 0.0
    off, scale = largest_difference(before, after), spread(before)
    return off / scale if scale else off


def _length(mask: Mask, entries: Mapping[str, Any]) -> int:
    """The positions that a mask is about."""
    value = torch.as_tensor(entries[mask.name])
    if mask.kind != "lengths":
        return value.shape[1]
    most = int(value.max()) if value.numel() else 0
    shapes = [each.shape for each in entries.values() if isinstance(each, (Tensor, np.ndarray))]
    if any(most in shape[1:] for shape in shapes):
        return most
    return next((shape[1] for shape in shapes if len(shape) > 1), 0)


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
