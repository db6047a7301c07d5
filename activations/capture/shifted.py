"""Padding in front of texts that moves the positions which a network counts."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn

from repsim.activations.capture.arguments import unnamed
from repsim.activations.capture.batches import dictionary_of, pick, with_inputs
from repsim.activations.capture.differences import largest_difference, rounding
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.masks import Mask
from repsim.activations.capture.modules import Layers
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.errors import RepsimWarning

_ARGUMENT = "position_ids"
_MASK = Mask("attention_mask", "tokens")


def warn_of_shifted_positions(
    model: nn.Module, batch: Any, layers: Layers, kept: Unchanged, *, grad: bool = False
) -> None:
    """Warn where padding in front of a text changes the values that a network gives its tokens.

    Networks that learn a vector for each position count them from the beginning of the padding,
    unless ``position_ids`` say otherwise; networks that know distances alone give the same. So
    a few examples are shown with and without ``position_ids``.

    Args:
        model: not wrapped, where it is to run.
        batch: where the network lies.
        layers: addresses, or addresses by name.
        kept: the state of the network, to which it is brought back.
        grad: let the network compute gradients.

    Warns:
        RepsimWarning: a layer has other values with positions that are counted from the text.
    """
    mask = _MASK.value(batch)
    if mask is None or mask.ndim != 2 or unnamed(model, [_ARGUMENT]):
        return
    padded = (mask[:, 0] == 0).nonzero().flatten().tolist()
    if not padded or _ARGUMENT in dictionary_of(batch):
        return
    shown = pick(batch, padded[:3])
    real = mask[padded[:3]] != 0
    with same_random_numbers(model):
        plain, counted = (
            _tokens(Capture(model, layers, grad=grad), each, real, kept)
            for each in (shown, _with_positions(shown, real))
        )
    for layer, x in plain.items():
        if largest_difference(x, counted[layer]) > rounding(x):
            warnings.warn(
                f"layer {layer!r} gives a text other values where padding stands in front of it: "
                "the network counts positions from the padding; pad behind the texts, or give "
                f"{_ARGUMENT!r}, such as (attention_mask.cumsum(1) - 1).clamp(min=0)",
                RepsimWarning,
                stacklevel=2,
            )
            return


def _with_positions(batch: Any, real: Tensor) -> Any:
    positions = (real.cumsum(1) - 1).clamp(min=0)
    return with_inputs(batch, lambda entries: {**entries, _ARGUMENT: positions})


def _tokens(capture: Capture, batch: Any, real: Tensor, kept: Unchanged) -> dict[str, Tensor]:
    """The values of layers at tokens that are no padding."""
    with kept.watching(), capture:
        capture.run(batch, whole=False)
        found = capture.take()
    kept.restore()  # not within: hooks are a part of the state
    return {name: x[real] for name, x in found.items() if x.shape[:2] == real.shape}
