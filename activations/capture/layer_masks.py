"""The mask of each layer: told by a pattern, or found from the positions that make the layer."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments, named_entries
from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.batches import ABOUT, array_of, batch_size, dictionary_of
from repsim.activations.capture.faults import FIRST_BATCH, At
from repsim.activations.capture.frames import mask_of_frames
from repsim.activations.capture.fronts import Inputs, padded_in_front
from repsim.activations.capture.functions import NOTHING, Allowed
from repsim.activations.capture.lengths import PaddedLengths
from repsim.activations.capture.lookups import lookups
from repsim.activations.capture.mask_refusals import beyond, in_front, self_made, unclear, unfit
from repsim.activations.capture.mask_rules import MaskRules
from repsim.activations.capture.masks import (
    Mask,
    hints_in,
    is_doubtful,
    is_telling,
    masks_in,
)
from repsim.activations.capture.modules import modules_of
from repsim.activations.capture.own_positions import OwnPositions
from repsim.activations.capture.padding_effects import PaddingEffects
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.positions import Followers, followers
from repsim.activations.capture.tracing import shapes_of_one
from repsim.activations.capture.unsaid import UnsaidPadding
from repsim.errors import RepsimWarning, UsageError
from repsim.layers import Address


class LayerMasks:
    """The masks of the layers of a network, for one batch after the other.

    Masks are known by the names of their entries, and belong to the layers that are made of their
    positions, see ``followers``. No mask is applied to another tower or to another length.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        batch: the first, where the network lies.
        layers: addresses by name.
        rules: masks that are told.
        axes: of the layers, as they are reduced.
        allowed: dependences of the layers that are no reason to warn.

    Raises:
        UsageError: a pattern of no layer, or a mask that the batch does not have.

    Warns:
        RepsimWarning: rows depend on the padding of their batch.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Any,
        layers: Mapping[str, str],
        rules: MaskRules,
        axes: Mapping[str, LayerAxes] = MappingProxyType({}),
        allowed: Allowed = NOTHING,
    ) -> None:
        rules.check(layers)
        self.batch, self._at = named_entries(model, batch), FIRST_BATCH
        self._model, self._rules, self._grad, self._layers = (
            model,
            rules,
            allowed.grad,
            dict(layers),
        )
        self._modules = modules_of(model)
        self._known: list[tuple[Mask, Followers]] = []
        self._hints: list[tuple[Mask, Followers]] = []
        self._axes = {name: each.batch for name, each in axes.items() if each.batch}
        self._channels = {name: each.channels or () for name, each in axes.items()}
        untold = {name: each for name, each in layers.items() if rules.of(name) is None}
        self._names = {mask.name for mask in masks_in(self.batch)}
        asking = untold or rules.counts
        self._lookups = lookups(model, self.batch, layers, grad=allowed.grad) if asking else {}
        if untold:
            self._find(untold)
        self._unsaid = UnsaidPadding(model, [*self._known, *self._hints], self._lookups)
        unsaid = bool(untold) and self._unsaid.see(self.batch)
        self._own = OwnPositions(model, self.batch, self._axes, grad=allowed.grad)
        if self._own.lists:
            self._find_own(untold)
        self._shapes = self._traced() if self._may_have_masks() or unsaid else {}
        self._lengths = PaddedLengths() if untold and self._says_nothing() else None
        self._told_axes: dict[str, int] = {}
        self._inputs: dict[Mask, Inputs] = {mask: found.inputs for mask, found in self._known}
        self._fronts: dict[Mask, str] = {}
        self._effects = PaddingEffects(model, self._axes, grad=allowed.grad)
        if not allowed.batch:
            self._find_effects(untold)
        self._find_told(effects=not allowed.batch)
        self._effects.show(self.batch)

    def show(self, batch: Any, at: At) -> None:
        """Take the masks of the batch that the network sees, and its place.

        Raises:
            UsageError: inputs are padded to the longest of a batch, and nothing says where.

        Warns:
            RepsimWarning: nothing says if texts have padding, or rows depend on the padding.
        """
        self.batch, self._at, self._fronts = named_entries(self._model, batch), at, {}
        if self._lengths is not None and not self._shows_tokens():
            self._lengths.check(self.batch)
        self._unsaid.show(self.batch)
        self._effects.show(self.batch)

    def _may_have_masks(self) -> bool:
        """True if an entry of the batch is, or may be, a mask of a layer."""
        return bool(self._known or self._hints or self._rules.names)

    def _says_nothing(self) -> bool:
        """True if no entry of the batch may be a mask."""
        others = [mask for mask, _ in self._hints if mask.kind != "pad"]
        return not (self._names or self._known or others or self._rules.names)

    def _shows_tokens(self) -> bool:
        """True if texts of the batch have tokens of padding."""
        return any(mask.shows_padding(self.batch) for mask, _ in self._hints)

    @property
    def used(self) -> set[str]:
        """Entries of the batch that are masks of layers."""
        return {mask.name for mask, _ in self._known} | self._rules.names

    def of(self, layer: str, values: Tensor) -> Tensor | None:
        """The tokens of each example in a layer, True in (n, positions); None without padding.

        Args:
            layer: its address.
            values: (n, ...) that it gives for the batch that was shown.

        Raises:
            UsageError: padding may be among its positions, and nothing says where.
        """
        if values.ndim < 3:
            return None
        if new := {mask.name for mask in masks_in(self.batch)} - self._names:
            raise UsageError(
                f"{self._at.name} has {', '.join(sorted(new))}, which the first does not have; "
                "expected the same masks in all"
            )
        told = self._rules.of(layer)
        if told is not None:
            return None if told[0] is None else self._told(told[0], layer, values)
        if self._is_exact(layer):
            return self._exact(layer, values)
        found = self._loose(layer, values)
        if found is None and self._own.may_be_padded(layer, self.batch):
            raise self_made(layer, values, self._own.lists, self._at)
        return found

    def source(self, layer: str) -> Mask | None:
        """The mask whose positions a layer has, one for one; None where there is none."""
        told = self._rules.of(layer)
        if told is not None:
            return told[0]
        known = [mask for mask, found in self._known if layer in found.exact]
        return min(known, key=lambda mask: mask.kind == "lengths", default=None)

    def unread(self, layers: Collection[str], pooling: PoolingRules) -> dict[str, str]:
        """The names of the masks of layers that are kept with their padding, by layer."""
        whole = (layer for layer in layers if not pooling.of(layer).asks_for_mask)
        found = {layer: self.source(layer) for layer in whole}
        return {layer: mask.name for layer, mask in found.items() if mask is not None}

    def check(self, layers: Collection[str], pooling: PoolingRules) -> None:
        """Look for the masks of layers that pooling asks for, in the first batch, as ``of`` does.

        Warns:
            RepsimWarning: nothing says if there is padding in texts.
        """
        n = batch_size(self.batch)
        asking = [layer for layer in layers if pooling.of(layer).asks_for_mask]
        if not self._own.lists:
            self._find_own([layer for layer in asking if self._rules.of(layer) is None])
        if self._own.any and not self._shapes:
            self._shapes = self._traced()
        known = [layer for layer in asking if layer in self._shapes]
        for layer in known:
            self.of(layer, torch.empty((n, *self._shapes[layer]), device="meta"))
        untold = [layer for layer in known if self._rules.of(layer) is None]
        self._unsaid.watch(
            {layer: self._shapes[layer] for layer in untold if not pooling.of(layer).masks}
        )

    def shows_padding(self, layer: str, values: Tensor) -> bool:
        """True if some position of a layer is padding, or may be."""
        try:
            mask = self.of(layer, values)
        except UsageError:
            return True
        return mask is not None and not bool(mask.all())

    # --- where masks belong

    def _find(self, layers: Mapping[str, str]) -> None:
        for mask in masks_in(self.batch):
            if is_doubtful(mask, self.batch):  # of another length than an input's, as of a fish
                asked = replace(mask, kind="counts")
                self._hints.append((asked, Followers({}, frozenset(layers))))
                continue
            if self._is_of_another(mask):
                continue
            if mask.name not in self.batch:  # within another entry
                self._known.append((mask, Followers({}, frozenset(layers))))
                continue
            same = [each for _, each in self._known if mask.name in each.inputs]
            found = same[0] if same else self._followers(mask, layers)
            self._known.append((mask if same else _as_it_works(mask, found), found))
        for mask in self._hinting():
            if all(self._is_exact(layer) for layer in layers):
                break
            if self._is_of_another(mask):
                continue
            # No layer gets shorter with counts, or with what is within another entry.
            unseen = mask.kind == "counts" or mask.name not in self.batch
            found = Followers({}, frozenset(layers)) if unseen else self._followers(mask, layers)
            known = bool(found.kind)
            (self._known if known else self._hints).append(
                (replace(mask, kind=found.kind) if known else mask, found)
            )

    def _is_of_another(self, mask: Mask) -> bool:
        """True for a mask of an entry that the network does not take, as of a caption's text."""
        given, value = arguments(self._model, self.batch), mask.value(self.batch)
        if mask.name.partition(".")[0] in given or value is None or not value.numel():
            return False
        counts = value.ndim == 1

        def has(entry: Any, most: int) -> bool:
            array = array_of(entry)
            if array is None or not 1 < array.ndim < most:
                return False
            sizes = {*array.shape[1:]}
            return max(sizes) >= int(value.max()) if counts else value.shape[1] in sizes

        others = {name: each for name, each in self.batch.items() if name not in {*given, *ABOUT}}
        beside = any(not is_telling(name) and has(each, 4) for name, each in others.items())
        return beside and not any(has(each, 4) for each in given.values())

    def _find_effects(self, untold: Mapping[str, str]) -> None:
        """Look for layers that depend on the padding of a known mask."""
        for mask, found in self._known:
            self._effects.find(self.batch, mask, found, untold)

    def _find_told(self, *, effects: bool) -> None:
        """Look for the axes of lengths that are told, and for effects of their padding."""
        for mask, layers in self._rules.by_mask(self._layers).items():
            if mask.name not in self.batch or not (effects or mask.kind == "lengths"):
                continue
            found = self._followers(mask, layers)
            self._inputs[mask] = found.inputs
            if mask.kind == "lengths":
                axes = {**found.exact, **found.maps}
                self._told_axes |= {name: max(1, axis) for name, axis in axes.items()}
            if effects:
                self._effects.find(self.batch, mask, found, layers)

    def _find_own(self, layers: Collection[str]) -> None:
        """Look for positions that the network makes itself, in layers that have no mask."""
        self._own.find({name: self._layers[name] for name in layers if not self._is_exact(name)})

    def _hinting(self) -> list[Mask]:
        """Entries that tell of padding otherwise; of inputs, those that the network takes."""
        passed = arguments(self._model, self.batch)
        beside = {*self.batch} - ABOUT
        return [
            mask
            for mask in hints_in(self.batch, self._model, self._lookups)
            if (name := mask.name.partition(".")[0]) in passed
            or (name in beside and not mask.is_input)
        ]

    def _traced(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the layers for one example, among all of the batch, the longest too."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return shapes_of_one(self._model, self.batch, self._layers, self._axes, grad=self._grad)

    def _followers(self, mask: Mask, layers: Mapping[str, str]) -> Followers:
        """The layers of the positions of a mask; of other layers it may mark the channels.

        Keys are channels of the weights of attention, whose queries may have a mask of their own.
        """
        found = followers(self._model, self.batch, mask, layers, grad=self._grad)
        across = found.across(self._channels)
        exact = {name: axis for name, axis in found.exact.items() if name not in across}
        unclear = {name for name in across if not self._are_weights(name)}
        return replace(found, exact=exact, other=found.other | unclear)

    def _are_weights(self, layer: str) -> bool:
        """True for the weights that a module of attention returns beside its output."""
        address = Address.parse(self._layers[layer], self._modules)
        kind = type(self._modules.get(address.module))
        return kind is nn.MultiheadAttention and address.path == "1" and not address.input

    def _is_exact(self, layer: str) -> bool:
        return any(layer in found.exact for _, found in self._known)

    # --- masks of a batch

    def _told(self, mask: Mask, layer: str, values: Tensor) -> Tensor:
        value = mask.value(self.batch)
        if value is None:
            raise UsageError(
                f"{self._at.name} has no mask {mask.name!r} for layer {layer!r}; it has "
                f"{', '.join(map(str, dictionary_of(self.batch))) or 'no names'}"
            )
        if entry := self._padded_in_front(mask):
            raise in_front(layer, values, entry, mask, self._at)
        axis = self._told_axes.get(layer)
        axes = (axis or 1,) if mask.kind == "lengths" else (1, 2)
        kept = self._fitted(mask, layer, values, axes)
        if kept is None and (place := self._only_positions(layer, values.ndim)) is not None:
            kept = mask.kept(self.batch, values.shape[place])
        if kept is None:
            kept = mask.kept_of_map(self.batch, values.shape, axis)
        if kept is None:
            raise unfit(mask, value, layer, values, misread=mask.is_misread(self.batch))
        return kept

    def _only_positions(self, layer: str, ndim: int) -> int | None:
        """The axis of positions of a layer whose other axes are channels, such as heads."""
        channels = self._channels.get(layer, ())
        places = [k for k in range(1, ndim) if k not in channels]
        return places[0] if channels and len(places) == 1 else None

    def _exact(self, layer: str, values: Tensor) -> Tensor:
        """The mask of a layer that has its positions, one for one."""
        axes = {mask: found.exact[layer] for mask, found in self._known if layer in found.exact}
        first = [mask for mask, axis in axes.items() if axis == min(axes.values())]
        given = self._sound([m for m in first if m.value(self.batch) is not None], layer, values)
        kept = [self._fitting(mask, layer, values, (max(1, axes[mask]),)) for mask in given]
        if not kept:
            raise UsageError(
                f"{self._at.name} is without {first[0].name}, which the first has for layer "
                f"{layer!r}; "
                "expected the same masks in all"
            )
        if any(not torch.equal(each, kept[0]) for each in kept):
            raise unclear(layer, values, given, self.batch, self._at)
        return kept[0]

    def _sound(self, masks: list[Mask], layer: str, values: Tensor) -> list[Mask]:
        """The masks of a layer without lengths that its inputs contradict, where others tell."""
        entries = [self._padded_in_front(mask) for mask in masks]
        sound = [mask for mask, entry in zip(masks, entries, strict=True) if not entry]
        if masks and not sound:
            raise in_front(layer, values, entries[0], masks[0], self._at)
        return sound

    def _padded_in_front(self, mask: Mask) -> str:
        """An input of the batch that is padded in front, against its lengths; empty without one."""
        if mask not in self._fronts:
            inputs = self._inputs.get(mask, {})
            self._fronts[mask] = padded_in_front(self.batch, mask, inputs, self._lookups)
        return self._fronts[mask]

    def _loose(self, layer: str, values: Tensor) -> Tensor | None:
        """The mask of a layer that is made of positions of masks in another way."""
        sources = [mask for mask, found in self._known if layer in found.other]
        hints = [m for m, f in self._hints if layer in f.other or layer in f.exact]
        sources += [mask for mask in hints if self._may_be_of(mask, values)]
        shape = (*values.shape[1:],)
        showing = [mask for mask in sources if mask.shows_padding(self.batch, shape)]
        if not showing:
            return None
        kept = [self._by_rule(mask, layer, values) for mask in showing]
        first = kept[0]
        if first is None or any(each is None or not torch.equal(each, first) for each in kept):
            raise unclear(layer, values, showing, self.batch, self._at)
        return first

    def _may_be_of(self, mask: Mask, values: Tensor) -> bool:
        """False for an array within another entry that has other positions than a layer."""
        value = None if mask.name in self.batch else mask.value(self.batch)
        return value is None or value.ndim == 1 or value.shape[1] in values.shape[1:]

    def _fitting(self, mask: Mask, layer: str, values: Tensor, axes: Sequence[int]) -> Tensor:
        """``_fitted``, or a refusal."""
        kept = self._fitted(mask, layer, values, axes)
        if kept is not None:
            return kept
        value = mask.value(self.batch)
        if mask.kind == "lengths" and value is not None:
            raise beyond(mask, value, layer, values)
        raise unclear(layer, values, [mask], self.batch, self._at)

    def _fitted(self, mask: Mask, layer: str, values: Tensor, axes: Sequence[int]) -> Tensor | None:
        """The tokens of a mask along one of the axes of a layer, by a rule of the network else."""
        for axis in axes:
            kept = mask.kept(self.batch, values.shape[axis]) if values.ndim == 3 else None
            if kept is not None:
                return kept
        return self._by_rule(mask, layer, values)

    def _by_rule(self, mask: Mask, layer: str, values: Tensor) -> Tensor | None:
        """The mask of frames, by the rule of a network of transformers; None where it has none."""
        value = mask.value(self.batch)
        if mask.kind != "tokens" or value is None or value.ndim != 2 or values.ndim != 3:
            return None
        address = Address.parse(self._layers[layer], self._modules).module
        return mask_of_frames(self._modules, address, values.shape[1:], value)


def _as_it_works(mask: Mask, found: Followers) -> Mask:
    """The mask as the network uses it.

    Warns:
        RepsimWarning: against its name.
    """
    if found.kind in ("", mask.kind):
        return mask
    warnings.warn(
        f"the network takes {mask.name!r} the other way: 1 marks "
        f"{'padding' if found.kind == 'padding' else 'tokens'}, and so it is read; "
        f"masks={{'*': '{mask.name}:{mask.kind}'}} would read it as it is called",
        RepsimWarning,
        stacklevel=2,
    )
    return replace(mask, kind=found.kind)
