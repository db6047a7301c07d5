"""Tokens of a layer, chosen by their number among the tokens that a mask leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from repsim.activations.capture.batches import dictionary_of
from repsim.activations.capture.faults import At
from repsim.dense import as_dense
from repsim.errors import ShapeError, UsageError


def token_at(x: Tensor, number: int, mask: Tensor | None, layer: str) -> Tensor:
    """One token of each example, (n, d).

    Args:
        x: (n, tokens, d).
        number: counted from 0 among the tokens of the mask; from their end if negative.
        mask: (n, tokens), 0 where a token does not count; by default all do.
        layer: its address, for the error.

    Raises:
        ShapeError: an example has fewer tokens.
    """
    if mask is None:
        mask = torch.ones(x.shape[:2], device=x.device)
    marked = mask != 0
    counts = marked.sum(1)
    wanted = counts + number if number < 0 else torch.full_like(counts, number)
    # On the device "meta" there are shapes alone.
    if not x.is_meta and bool(((wanted < 0) | (wanted >= counts)).any()):
        raise _too_few(number, counts, layer)
    place = (marked & (marked.cumsum(1) == wanted.unsqueeze(1) + 1)).int().argmax(1)
    return x[torch.arange(len(x), device=x.device), place]


def check_some(mask: Tensor, layer: str) -> None:
    """Raise ``ShapeError`` where a mask (n, tokens) leaves an example no token to average."""
    if mask.is_meta or bool((mask != 0).any(1).all()):
        return
    example = int((mask != 0).any(1).int().argmin())
    raise ShapeError(
        f"layer {layer!r}: all tokens of example {example} of a batch are padding, and nothing is "
        "left to average; leave such examples out"
    )


def _too_few(number: int, counts: Tensor, layer: str) -> ShapeError:
    short = int(counts.min())
    example = int(counts.argmin())
    return ShapeError(
        f"layer {layer!r}: example {example} of a batch has {short} token{'s' * (short != 1)} that "
        f"count{'s' * (short == 1)}, and so no token {number}; leave such examples out, or choose "
        "another token"
    )


def named_masks(batch: Any, names: Collection[str], at: At) -> dict[str, Tensor]:
    """The entries of a batch that say which tokens are meant, by name.

    Args:
        batch: a dictionary, alone or first.
        names: of the entries.
        at: the place of the batch, for errors.

    Raises:
        UsageError: one is not there, or is no array of zeros and ones (n, tokens).
    """
    entries = dictionary_of(batch)
    return {name: _zeros_and_ones(name, entries, at) for name in names}


def _zeros_and_ones(name: str, entries: Mapping[Any, Any], at: At) -> Tensor:
    if name not in entries:
        known = ", ".join(map(str, entries)) or "no names: it is no dictionary"
        raise UsageError(
            f"pooling mask:{name} needs an entry {name!r} in each batch; {at.name} has {known}"
        )
    mask = torch.as_tensor(as_dense(entries[name], f"a batch, {name!r}"))
    if mask.ndim != 2 or not bool(((mask == 0) | (mask == 1)).all()):
        raise UsageError(
            f"pooling mask:{name} needs zeros and ones (n, tokens); {at.name} has {mask.dtype} of "
            f"shape {tuple(mask.shape)}"
        )
    return mask != 0


def narrowed(mask: Tensor | None, name: str, named: Tensor, x: Tensor, layer: str) -> Tensor:
    """The tokens that are both in a mask and in one that a step of pooling names.

    Args:
        mask: (n, tokens), or None for all.
        name: of the other mask.
        named: (n, tokens) too.
        x: the layer (n, tokens, d).
        layer: its address, for errors.

    Raises:
        ShapeError: the named mask is of other tokens, or leaves none of an example.
    """
    if x.ndim == 3 and named.shape != x.shape[:2]:
        raise ShapeError(
            f"layer {layer!r} has {x.shape[1]} tokens, the mask {name!r} {named.shape[1]}; give "
            "the layer a pooling of its own"
        )
    kept = named if mask is None else named & (mask != 0)
    if not bool(kept.any(1).all()):
        example = int(kept.any(1).int().argmin())
        raise ShapeError(
            f"the mask {name!r} leaves no token of example {example} of a batch, but padding; "
            "leave such examples out"
        )
    return kept
