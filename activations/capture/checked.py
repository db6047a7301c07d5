"""The layers of a network, once it has proved to be a function of the example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from repsim.activations.capture.batch_axis import BatchAxis
from repsim.activations.capture.functions import Allowed, check_function
from repsim.activations.capture.modules import Layers
from repsim.activations.capture.tracing import TracedRows, addresses_of, trace_rows
from repsim.activations.capture.unchanged import Unchanged


def checked_rows(
    model: nn.Module,
    batch: Any,
    layers: Layers,
    batch_axis: BatchAxis,
    allowed: Allowed,
    *,
    every: bool = False,
    fits: Callable[[Mapping[str, TracedRows]], None] | None = None,
) -> dict[str, TracedRows]:
    """``trace_rows`` of a network that ``check_function`` accepts. The network is left as it was.

    Args:
        model: not wrapped, where it is to run.
        batch: the first, with the examples first, where the network lies.
        layers: as for ``trace_rows``.
        batch_axis: of the inputs and of layers, as it was said or found.
        allowed: dependences of the layers that are no reason to refuse.
        every: as for ``trace_rows``.
        fits: raises for layers that do not fit the caller, before the network is checked, for a
            wrong axis of examples shows better there.

    Raises:
        UsageError: as from ``trace_rows``.
        CaptureError: as from ``trace_rows`` and ``check_function``.
    """
    # Of its own: one that was entered before the network was fed another way does not see it so.
    with Unchanged(model) as kept:
        with kept.watching():
            found = trace_rows(model, batch, layers, batch_axis, grad=allowed.grad, every=every)
        kept.restore()
        if fits is not None:
            fits(found)
        axes = {name: each.axes.batch for name, each in found.items()}
        check_function(model, batch, addresses_of(found), allowed, kept, axes, batch_axis)
    return found
