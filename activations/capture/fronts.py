"""Inputs that evidently begin with their padding, where lengths say that it comes behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from repsim.activations.capture.batches import ABOUT
from repsim.activations.capture.fillers import begins_filled
from repsim.activations.capture.looked_up import LookedUp
from repsim.activations.capture.masks import (
    NO_TOKENS,
    Lookups,
    Mask,
    arrays_by_example,
    is_telling,
)

#: Inputs of a mask, and the axes of its positions.
Inputs = Mapping[str, Collection[int]]


def padded_in_front(batch: Any, mask: Mask, inputs: Inputs, lookups: Lookups) -> str:
    """The name of an input that contradicts lengths: it is padded in front; empty without one.

    Examples begin with the token of padding, or one row fills all shorter ones up, in front too,
    and other values lie behind their lengths.

    Args:
        batch: a dictionary.
        mask: of it.
        inputs: those that have its positions; all that may have, where there is none.
        lookups: the numbers of entries that are tokens, as far as they are known.
    """
    counts = mask.value(batch) if mask.kind == "lengths" else None
    if counts is None or counts.ndim != 1 or not counts.numel():
        return ""
    for name, value in arrays_by_example(batch):
        others = name in ABOUT or name.endswith(NO_TOKENS) or is_telling(name)
        if others or name == mask.name or (inputs and name not in inputs):
            continue
        at = counts.to(value.device)
        tokens = any(_begins_padded(each, value, at) for each in lookups.get(name, ()))
        along = _along(value, int(counts.max()), inputs.get(name, ()))
        if tokens or any(begins_filled(each, at) for each in along):
            return name
    return ""


def _along(value: Tensor, most: int, axes: Collection[int]) -> Iterator[Tensor]:
    """An input with each of its axes second that may have the positions of lengths."""
    for axis in [each for each in axes if each > 0] or range(1, value.ndim):
        if value.shape[axis] >= most:
            yield value.movedim(axis, 1)


def _begins_padded(looked_up: LookedUp, value: Tensor, counts: Tensor) -> bool:
    """True if some example has padding before its length, and a token behind."""
    is_pad = looked_up.is_padding(value)
    is_pad = is_pad.unsqueeze(-1).flatten(2).all(2)
    behind = torch.arange(is_pad.shape[1], device=is_pad.device) >= counts.unsqueeze(1)
    return bool(((is_pad & ~behind).any(1) & (~is_pad & behind).any(1)).any())
