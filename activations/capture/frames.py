"""Masks of frames, by the rule of a network of transformers that makes frames of samples."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn


def mask_of_frames(
    modules: Mapping[str, nn.Module], address: str, lengths: Sequence[int], mask: Tensor
) -> Tensor | None:
    """The frames that are no padding, True in (n, frames); None where no rule makes so many.

    Args:
        modules: of the network, by address.
        address: of the module that gives the frames; the modules that it lies in may have a rule.
        lengths: the numbers of frames that may be meant.
        mask: (n, samples), 1 where a sample is no padding.
    """
    for above in _above(address):
        rule = getattr(modules.get(above), "_get_feature_vector_attention_mask", None)
        for length in lengths if callable(rule) else ():
            kept = _frames(rule, length, mask)
            if kept is not None:
                return kept.to(mask.device)
    return None


def _above(address: str) -> list[str]:
    """An address, then the addresses of the modules around it, the network's own last."""
    parts = address.split(".") if address else []
    return [".".join(parts[:k]) for k in range(len(parts), -1, -1)]


def _frames(rule: Any, length: int, mask: Tensor) -> Tensor | None:
    """The frames of a mask of samples, if a rule makes so many of samples without padding."""
    mask = mask.cpu().long()  # a place beyond the end would stop another device
    flags: list[dict[str, bool]] = [{}]
    if "add_adapter" in inspect.signature(rule).parameters:
        flags = [{"add_adapter": False}, {"add_adapter": True}]
    for flag in flags:
        with suppress(Exception):
            if int(rule(length + 1, torch.ones_like(mask[:1]), **flag).sum()) == length:
                return rule(length, mask, **flag).bool()
    return None
