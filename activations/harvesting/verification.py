"""Stores compared with the network and the examples that they are said to be of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import FIRST
from repsim.activations.capture.batches import to_device
from repsim.activations.capture.differences import largest_difference, rounding
from repsim.activations.capture.digests import batch_digests, input_digests
from repsim.activations.capture.faults import FIRST_BATCH, running
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.hooks import Capture
from repsim.activations.harvesting.rows import HarvestRows
from repsim.activations.store.reader import ActivationStore
from repsim.errors import StoreError


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
    digests = batch_digests(model, rows.plan.fed(first)).repeat(rows.counts(first))
    if store.inputs is not None and not np.array_equal(store.inputs[: len(digests)], digests):
        raise _stale(store, "the inputs of the first batch differ")
    if allowed.random:
        return
    shown, held = rows.shown(to_device(first, device), FIRST_BATCH), _Held()
    capture = Capture(model, rows.plan.addresses, reduce=rows.into(held), grad=allowed.grad)
    with running(model, shown, grad=allowed.grad), capture:
        capture.run(shown, whole=allowed.any)
    for layer, values in held.layers.items():
        stored = torch.from_numpy(np.ascontiguousarray(store.rows(layer, 0, len(values))))
        if largest_difference(values, stored) > rounding(values):
            raise _stale(store, f"layer {layer!r} gives other values for the first batch")


def check_examples(
    store: ActivationStore, examples: Iterable[Any], source: str, *, strict: bool = False
) -> None:
    """Compare a store with the examples that it is opened for, by ids and digests of inputs.

    Stores of versions 1 and 2 have ids alone, and imported ones may have no digests either.

    Args:
        store: to compare.
        examples: batches (inputs, labels, ids), such as those of an ``ImageLoader``.
        source: the examples in messages: a whole path, or the name of a set, and the split.
        strict: refuse a store without digests.

    Raises:
        StoreError: it was harvested from other examples.
    """
    if strict and store.inputs is None:
        raise StoreError(
            f"{store.path.absolute()} has no digests of its inputs (format version "
            f"{store.version}); harvest it again to verify them"
        )
    ids, digests = _seen(examples)
    each = store.n // len(ids)
    if each * len(ids) != store.n:
        raise other_examples(store, source, f"it has {store.n} rows, and these are {len(ids)}")
    if (stored := _examples_of(store, each)) != ids:
        raise other_examples(store, source, _first_difference(stored, ids))
    if store.inputs is None:
        return
    differ = np.flatnonzero(store.inputs[::each] != digests)
    if differ.size:
        first = ids[int(differ[0])]
        reason = f"{differ.size} of {len(ids)} have other inputs, first {first!r}"
        raise other_examples(store, source, reason)


def _first_difference(stored: list[str], ids: list[str]) -> str:
    """The number of ids that differ, and the first."""
    places = [k for k, pair in enumerate(zip(stored, ids, strict=True)) if pair[0] != pair[1]]
    first = places[0]
    return (
        f"{len(places)} of {len(ids)} example ids differ, first {stored[first]!r} in the store "
        f"against {ids[first]!r}"
    )


def _seen(examples: Iterable[Any]) -> tuple[list[str], np.ndarray]:
    """The ids and the digests of the inputs of batches (inputs, labels, ids)."""
    ids: list[str] = []
    digests = []
    for inputs, _, named in examples:
        ids += map(str, named)
        digests.append(input_digests({FIRST: inputs}, len(inputs)))
    return ids, np.concatenate(digests)


def _examples_of(store: ActivationStore, each: int) -> list[str]:
    """The ids of the examples of a store in which each gives so many rows."""
    ids = [each_id.decode() for each_id in store.example_ids[::each]]
    return ids if each == 1 else [each_id.rpartition("#")[0] for each_id in ids]


def other_examples(store: ActivationStore, source: str, reason: str) -> StoreError:
    """The refusal of a store that was harvested from other examples than those of ``source``."""
    return StoreError(
        f"{store.path.absolute()} was harvested from other examples than those of {source}: "
        f"{reason}",
        "harvest it again with --overwrite",
    )


def _stale(store: ActivationStore, reason: str) -> StoreError:
    return StoreError(
        f"{store.path.absolute()} is of another harvest: {reason}",
        "pass --overwrite to replace it",
    )
