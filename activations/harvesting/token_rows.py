"""Tokens that become rows of their own, as many for each text as it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repsim.activations.capture.faults import FIRST_BATCH, At
from repsim.activations.capture.layer_masks import LayerMasks
from repsim.activations.capture.masks import Mask
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.tokens import named_masks
from repsim.errors import ShapeError, UsageError


@dataclass(frozen=True)
class TokenRows:
    """The tokens of each example that become rows.

    Attributes:
        padding: the mask that says which are padding, and do not; None for none.
        masks: names of entries of a batch that say which of the others do.
    """

    padding: Mask | None
    masks: tuple[str, ...]

    def numbers(self, batch: Any, at: At = FIRST_BATCH) -> list[list[int]]:
        """The numbers of the tokens with a row, for each example; padding has no number.

        Raises:
            UsageError: the batch, whose place errors name, has no such mask.
            ShapeError: an example has no token, and so no row.
        """
        named = [each.cpu() for each in named_masks(batch, self.masks, at).values()]
        padding = self.padding
        real = torch.ones_like(named[0]) if padding is None else _tokens(padding, batch, at)
        kept = real.clone()
        for each in named:
            kept &= each
        _check_some(kept, at)
        number = real.cumsum(1) - 1
        return [row[chosen].tolist() for row, chosen in zip(number, kept, strict=True)]

    def count(self, loader: Iterable[Any]) -> int:
        """The rows of all batches.

        Raises:
            UsageError: a loader that can be read only once.
        """
        if isinstance(loader, Iterator):
            raise UsageError(
                "positions of texts are counted before they are stored, and the loader can be read "
                "only once; pass a list of batches, or one that can be read again"
            )
        found = (self.numbers(batch, At(k)) for k, batch in enumerate(loader, start=1))
        return sum(len(row) for rows in found for row in rows)


def _check_some(kept: Tensor, at: At) -> None:
    """Raise ``ShapeError`` for an example without rows: it would be left out unseen."""
    some = kept.any(1)
    if bool(some.all()):
        return
    raise ShapeError(
        f"example {int(some.int().argmin())} of {at.name} has no token that counts, and so no row; "
        "leave such examples out"
    )


def _tokens(mask: Mask, batch: Any, at: At) -> Tensor:
    """The tokens of each example of a batch, True in (n, tokens)."""
    value = mask.value(batch)
    if value is None:
        raise UsageError(f"{at.name} is without {mask.name!r}, which says which tokens are padding")
    length = int(value.max()) if mask.kind == "lengths" else value.shape[-1]
    kept = mask.kept(batch, length)
    if kept is None:
        raise UsageError(
            f"{mask.name!r} of shape {tuple(value.shape)} does not tell tokens from padding; it is "
            f"taken as {mask.kind}"
        )
    return kept.cpu()


def token_rows(layers: Iterable[str], pooling: PoolingRules, masks: LayerMasks) -> TokenRows | None:
    """The tokens that become rows of every layer; None where all positions do, or none.

    Raises:
        ShapeError: others for one layer than for another.
    """
    found = {name: _of_layer(name, pooling, masks) for name in layers}
    (first, tokens), *others = found.items()
    for other, each in others:
        if each != tokens:
            raise ShapeError(
                f"layers {first!r} and {other!r} would give other tokens as rows; choose layers of "
                "one sequence, and one pooling for them"
            )
    return tokens


def _of_layer(name: str, pooling: PoolingRules, masks: LayerMasks) -> TokenRows | None:
    steps, padding = pooling.of(name), masks.source(name)
    if not steps.splits or (padding is None and not steps.masks):
        return None
    return TokenRows(padding, tuple(steps.masks))
