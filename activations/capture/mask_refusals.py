"""Errors of masks that do not fit the positions of a layer, with the ways to say another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from repsim.activations.capture.batches import dictionary_of
from repsim.activations.capture.faults import At
from repsim.activations.capture.mask_rules import NONE
from repsim.activations.capture.masks import KINDS, Mask, is_telling
from repsim.errors import UsageError

#: The values that masks hold.
_MARKS = "a mark for each of its positions"
_EXPECTED = {"lengths": "one length of each example"}


def unclear(layer: str, values: Tensor, masks: Sequence[Mask], batch: Any, at: At) -> UsageError:
    """The error of a layer made of inputs with padding, where no mask is known to fit it."""
    shape, names = tuple(values.shape), ", ".join(mask.name for mask in masks)
    where = f" in {at.name}" if at.number > 1 else ""
    flags = len(masks) == 1 and masks[0].kind == "unknown" and not masks[0].is_within
    if flags and not is_telling(names):
        return UsageError(
            f"layer {layer!r} gives {shape} of inputs with flags ({names}){where}, and nothing "
            f"says which of them mark padding; pass --masks '{layer}={NONE}' (masks={{{layer!r}: "
            f"{NONE!r}}}) if none do, '{layer}={names}:padding' if 1 marks padding, or "
            f"'{layer}={names}:tokens' if 0 does"
        )
    offer, why = "NAME", "with a mask of its positions in the batch"
    if flags and Mask(names, "tokens").kept(batch, shape[1]) is not None:
        offer = f"{names}:tokens"
        why = f"if 1 marks a token, '{layer}={names}:padding' if 1 marks padding"
    labels = [mask.name for mask in masks if mask.kind == "labels"]
    if labels and Mask(labels[0], "negative").kept(batch, shape[1]) is not None:
        offer, why = labels[0], "to leave out positions whose label is below 0"
    fitting = [m.name for m in masks if m.kept(batch, shape[1]) is not None]
    if len(masks) > 1 and fitting:
        offer, why = fitting[0], "if that is its mask"
    mine = _mine(masks[0], values, batch) if len(masks) == 1 else ""
    if mine:
        counted = masks[0].kind == "lengths"
        said = "counts the positions" if counted else "marks the tokens of this layer by 1"
        offer, why = mine, f"if it {said}"
    counts = [m.name for m in masks if m.kind == "counts" and _may_be_lengths(m, batch)]
    if counts:
        offer, why = f"{counts[0]}:lengths", "if it counts the positions that are no padding"
    where += ", which have one length" if len(masks) > 1 else ""
    return UsageError(
        f"layer {layer!r} gives {shape} of inputs with padding ({names}){where}, and nothing "
        f"says which of its positions that is; pass --masks '{layer}={offer}' "
        f"(masks={{{layer!r}: {offer!r}}}) {why}, or '{layer}={NONE}' to take all"
    )


def _mine(mask: Mask, values: Tensor, batch: Any) -> str:
    """A way to tell a mask that fits a layer: of a map, or within another entry of the batch."""
    read = mask if mask.is_known else Mask(mask.name, "tokens")
    fits = values.ndim > 3 and mask.kind == "lengths"  # along an axis that is looked for when told
    fits = fits or read.kept_of_map(batch, values.shape) is not None
    within = mask.name not in dictionary_of(batch) and mask.kind in ("unknown", *KINDS)
    fits = fits or (within and read.kept(batch, values.shape[1]) is not None)
    return f"{mask.name}:{read.kind}" if fits else ""


def self_made(layer: str, values: Tensor, lists: Sequence[str], at: At) -> UsageError:
    """The error of a layer whose positions the network makes itself, with padding among them."""
    shape, source = tuple(values.shape), ", ".join(lists) or "the contents of its inputs"
    where = f" in {at.name}" if at.number > 1 else ""
    return UsageError(
        f"layer {layer!r} gives {shape}{where}: as many positions as the network makes of {source} "
        "for the longest example of a batch, and nothing says which are padding; give batches of "
        f"one example, or a mask of these positions in the batch and --masks '{layer}=NAME' "
        f"(masks={{{layer!r}: 'NAME'}}), or '{layer}={NONE}' to take all"
    )


def _may_be_lengths(mask: Mask, batch: Any) -> bool:
    """False for shares of the longest, and for several numbers of each example."""
    value = mask.value(batch)
    if value is None or value.ndim > 1:
        return False
    return not value.is_floating_point() or not bool((value <= 1).all())


def in_front(layer: str, values: Tensor, entry: str, mask: Mask, at: At) -> UsageError:
    """The error of lengths of an input that is padded in front."""
    where = f" in {at.name}" if at.number > 1 else ""
    return UsageError(
        f"layer {layer!r} gives {tuple(values.shape)} of inputs with padding in front: {entry!r}"
        f"{where} begins with it and goes on behind {mask.name!r}, which counts from the first "
        "position; give its mask in the batch as attention_mask (1 marks a token), or pad behind, "
        f"or pass --masks '{layer}={NONE}' (masks={{{layer!r}: {NONE!r}}}) to take all"
    )


def unfit(mask: Mask, value: Tensor, layer: str, values: Tensor, *, misread: bool) -> UsageError:
    """The error of a mask that was told for a layer, and is none of its positions."""
    all_of_it = f"or '{layer}={NONE}' to take all"
    if mask.kind == "lengths" and value.ndim == 1:
        return beyond(mask, value, layer, values)
    if misread and mask.kind != "lengths":
        low, high = value.min().item(), value.max().item()
        below = f"say {mask.name}:negative where numbers below 0 mark padding, " if low < 0 else ""
        return UsageError(
            f"mask {mask.name!r} holds numbers from {low} to {high}; expected zeros and ones, as "
            f"{mask.name}:{mask.kind} says: {below}give a mask of tokens in the batch, {all_of_it}"
        )
    return UsageError(
        f"mask {mask.name!r} is {tuple(value.shape)}, and layer {layer!r} gives "
        f"{tuple(values.shape)}; expected {_EXPECTED.get(mask.kind, _MARKS)}: give such a mask in "
        f"the batch, {all_of_it}"
    )


def beyond(mask: Mask, value: Tensor, layer: str, values: Tensor) -> UsageError:
    """The error of lengths that a layer does not have."""
    low, high = int(value.min()), int(value.max())
    along = " along one axis, which alone gets shorter with them" if values.ndim > 3 else ""
    return UsageError(
        f"mask {mask.name!r} holds lengths from {low} to {high}, and layer {layer!r} gives "
        f"{tuple(values.shape)}; expected from 0 to its positions{along}: give lengths of this "
        f"layer or a mask of its positions in the batch, or '{layer}={NONE}' to take all"
    )
