"""The check that layers have a row for each example, for those that take no other axis."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from torch import nn

from repsim.activations.capture.batches import batch_size, head
from repsim.activations.capture.tracing import Traced, trace
from repsim.activations.capture.unchanged import Unchanged
from repsim.errors import CaptureError


def check_examples_first(
    network: nn.Module,
    batch: Any,
    layers: Sequence[str],
    kept: Unchanged,
    *,
    grad: bool = False,
) -> None:
    """Check that layers have one row less where there is one example less.

    As many rows as examples are not enough: a network that reads sequences first, given as many
    positions as examples, has them too.

    Args:
        network: not wrapped, where it is to run.
        batch: the first, where the network lies.
        layers: addresses; those that do not run are passed over.
        kept: the state of the network, to which it is brought back.
        grad: as for ``Capture``.

    Raises:
        CaptureError: a layer has other rows.
    """
    n = min(3, batch_size(batch))
    traced: list[dict[str, Traced]] = []
    with kept.watching(), suppress(Exception):  # a network of one batch size cannot be asked
        traced = [trace(network, head(batch, k), layers, grad=grad) for k in (n, n - 1) if k]
    kept.restore()
    for name in set.intersection(*map(set, traced)) if len(traced) == 2 else ():
        more, fewer = (each[name].shape for each in traced)
        if (*more[:1], *fewer[:1]) != (n, n - 1):
            raise CaptureError(
                f"layer {name!r} gives {more} for {n} examples and {fewer} for {n - 1}; expected a "
                "row for each: choose other layers, or wrap a network that reads sequences first "
                "in a module whose forward turns its inputs, as x.transpose(0, 1) does"
            )
