"""Stores compared with the network and the examples that they are said to be of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.batches import (
    arguments,
    batch_size,
    mask_of,
    run,
    to_device,
)
from repsim.activations.capture.digests import input_digests
from repsim.activations.capture.functions import Allowed, largest_difference, rounding
from repsim.activations.capture.hooks import Capture
from repsim.activations.harvesting.rows import HarvestRows
from repsim.activations.store.reader import ActivationStore
from repsim.errors import StoreError


def batch_digests(model: nn.Module, batch: Any) -> np.ndarray:
    """The digest of the inputs of each example of a batch, before the network can change them."""
    return input_digests(arguments(model, batch), batch_size(batch))


class _Held:
    """Rows of layers in memory, in the type in which a store has them."""

    def __init__(self) -> None:
        self.layers: dict[str, Tensor] = {}

    def put(self, layer: str, values: Tensor, dtype: torch.dtype) -> None:
        self.layers[layer] = values.to(dtype, copy=True).cpu()


def check_first_batch(
    store: ActivationStore,
    model: nn.Module,
    first: Any,
    rows: HarvestRows,
    device: torch.device,
    allowed: Allowed,
) -> None:
    """Run the first batch of a finished store again, and compare its inputs and values.

    Values are not compared where the network may be random.

    Args:
        store: whose record is of this harvest.
        model: where it is to run.
        first: the first batch, as the loader gives it.
        rows: of the harvest.
        device: of the network.
        allowed: in the harvest.

    Raises:
        StoreError: the inputs or the values of a layer are others.
    """
    digests = batch_digests(model, first).repeat(rows.plan.rows_each)
    if store.inputs is not None and not np.array_equal(store.inputs[: len(digests)], digests):
        raise _stale(store, "the inputs of the first batch differ")
    if allowed.random:
        return
    moved, held = to_device(first, device), _Held()
    rows.mask = mask_of(moved)
    with Capture(model, list(rows.plan.layers), reduce=rows.into(held)):
        run(model, moved)
    for layer, values in held.layers.items():
        stored = torch.from_numpy(np.ascontiguousarray(store.rows(layer, 0, len(values))))
        if largest_difference(values, stored) > rounding(values):
            raise _stale(store, f"layer {layer!r} gives other values for the first batch")


def _stale(store: ActivationStore, reason: str) -> StoreError:
    return StoreError(
        f"{store.path.absolute()} is of another harvest: {reason}; pass --overwrite to replace it"
    )
