"""A store that was imported before, compared with what would be imported now."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from repsim.activations.store.changes import changed_keys, differing
from repsim.activations.store.exchange.blocks import blocks
from repsim.activations.store.exchange.incoming import Incoming, as_stored
from repsim.activations.store.format import ExampleRows, LayerSpec
from repsim.activations.store.reader import ActivationStore, closed_by_errors
from repsim.errors import UsageError

#: The version that wrote a store makes no other store of it.
_OF_WRITER = {"repsim"}


def kept(
    path: str | os.PathLike[str],
    layers: Mapping[str, Incoming],
    specs: Mapping[str, LayerSpec],
    examples: ExampleRows,
    recorded: Mapping[str, Any],
) -> ActivationStore:
    """The store at ``path``, if it is the one that the layers and examples would make.

    Raises:
        UsageError: it is another one; what differs is named.
    """
    store = ActivationStore(path)
    with closed_by_errors(store):
        before, now = store.provenance(), json.loads(json.dumps(recorded))
        changed = changed_keys(before, now, now.keys() - _OF_WRITER)
        changed += _of_layers(store, specs) or _of_examples(store, examples)
        changed = changed or [*_of_rows(store, layers, specs)]
        if changed:
            raise UsageError(
                f"{path} exists already, of another import: {differing(changed, before, now)}; "
                "choose another name or pass --overwrite"
            )
    return store


def _of_layers(store: ActivationStore, specs: Mapping[str, LayerSpec]) -> list[str]:
    stored = {
        each["layer"]: (*each["shape"][1:], each["dtype"], each["module"])
        for each in store.describe()
    }
    wanted = {layer: (*spec.shape, spec.dtype, spec.module) for layer, spec in specs.items()}
    return [] if list(stored.items()) == list(wanted.items()) else ["layers"]


def _of_examples(store: ActivationStore, examples: ExampleRows) -> list[str]:
    """The columns beside the layers that differ."""
    if store.n != len(examples.ids):
        return ["example ids"]
    stored = store.examples(0, store.n)
    same = {
        "example ids": list(stored.ids) == list(examples.ids),
        "targets": stored.targets.keys() == examples.targets.keys()
        and all(np.array_equal(stored.targets[k], v) for k, v in examples.targets.items()),
        "inputs": _equal(stored.inputs, examples.inputs),
        "order": _equal(stored.order, examples.order),
    }
    return [name for name, is_same in same.items() if not is_same]


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))


def _of_rows(
    store: ActivationStore, layers: Mapping[str, Incoming], specs: Mapping[str, LayerSpec]
) -> Iterator[str]:
    """The layers whose values differ."""
    for layer, incoming in layers.items():
        for start, stop in blocks(store.n, specs[layer].row_bytes):
            rows = as_stored(incoming, start, stop, layer)
            stored = store[layer][start:stop]
            if stored.dtype != rows.dtype:  # bfloat16 is read as float32
                rows = (rows.astype(np.uint32) << 16).view(np.float32)
            if not np.array_equal(stored, rows.reshape(stored.shape)):
                yield f"values of layer {layer!r}"
                break
