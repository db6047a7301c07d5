"""Activations from elsewhere, written as a store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from repsim._version import __version__
from repsim.activations.store.exchange.blocks import blocks
from repsim.activations.store.exchange.examples import (
    examples_of,
    labels_in,
    lines_of,
    specification_of,
)
from repsim.activations.store.exchange.files import gather
from repsim.activations.store.exchange.incoming import Incoming, as_stored
from repsim.activations.store.exchange.same import kept
from repsim.activations.store.format import LayerSpec, part_path
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.writer import write_store
from repsim.errors import ShapeError, UsageError
from repsim.files import refuse_existing
from repsim.layers import select_layers
from repsim.progress import Progress, notebook_bar


def import_activations(
    sources: Any,
    path: str | os.PathLike[str],
    *,
    ids: Any = None,
    labels: Any = None,
    layers: str | Sequence[str] | None = None,
    name: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    keep: bool = False,
    progress: Progress = notebook_bar,
) -> ActivationStore:
    """Write activations from elsewhere as a store, block by block.

    Args:
        sources: a file, a folder that ``export_layers`` wrote, a list of them, or a mapping of
            layer name to array (n, ...), tensor or file of one array. A ``.npy`` file is a layer
            called as the file; every array of an ``.npz``, ``.pt`` or ``.safetensors`` file is
            one, save ``ids``, ``labels`` and the targets ``target_NAME``, classes (n,) or zeros
            and ones (n, k).
        path: of the store.
        ids: (n,) names of the examples, or a text file with one a line; by default those of the
            sources, else 0, 1, 2, ...
        labels: (n,) classes, integers from 0, or a ``.npy`` or text file of them, which become the
            target ``label``; by default those of the sources, if any. Names of classes are
            refused, as in a harvest: number them.
        layers: which to take, as for ``harvest``; by default all, in the order given.
        name: of the network; by default the store's file name.
        provenance: what to record about the network and the data; JSON values.
        overwrite: replace an existing store.
        keep: leave a store of the same layers and examples as it is; all rows are compared.
        progress: told the rows done, over all layers.

    Raises:
        UsageError: the store exists, or one of other layers or examples where it is to be kept; no
            numbers, a file of another kind, a layer or an id that comes twice.
        ShapeError: layers of different n, or ids or labels of another n.
        NonFiniteError: NaN or infinity.
        StoreError: a source that cannot be read, or no room.
    """
    with ExitStack() as opened:
        found = gather(sources, opened)
        chosen = select_layers(found.layers, layers, of="what was given")
        taken = {layer: found.layers[layer] for layer in chosen}
        n = _check_shapes(taken)
        # Only what the caller gave may be the path of a file, never what a file holds.
        if ids is not None:
            found.ids = lines_of(Path(ids)) if _is_path(ids) else ids
        if labels is not None:
            found.take_labels(labels_in(Path(labels)) if _is_path(labels) else labels)
        examples = examples_of(found, n)
        there = keep and not overwrite and Path(path).is_file()
        if not there:
            refuse_existing(path, overwrite)
        if part_path(path).is_file() and not overwrite:
            raise UsageError(
                f"{path} has an unfinished harvest; choose another name or --overwrite"
            )
        specs = {k: LayerSpec(v.module, v.shape[1:], v.dtype) for k, v in taken.items()}
        recorded = {
            **(found.provenance or {}),
            "repsim": __version__,
            "imported": _origin(sources),
            "n": n,
            **({"network": name} if name else {}),
            **(provenance or {}),
        }
        if there:
            return kept(path, taken, specs, examples, recorded)
        opened.callback(part_path(path).unlink, missing_ok=True)  # an import is not resumed
        with write_store(
            path,
            n=n,
            layers=specs,
            examples=specification_of(found, examples),
            heads={},
            provenance=recorded,
            resume=False,
        ) as writer:
            for k, (layer, incoming) in enumerate(taken.items()):
                for start, stop in blocks(n, specs[layer].row_bytes):
                    writer.write(layer, as_stored(incoming, start, stop, layer))
                    progress(k * n + stop, n * len(taken), layer)
            writer.commit(examples)
    return ActivationStore(path)


def _check_shapes(layers: Mapping[str, Incoming]) -> int:
    if not layers:
        raise UsageError("no layer arrived; expected at least one array (n, ...)")
    first, one = next(iter(layers.items()))
    for layer, each in layers.items():
        if len(each.shape) < 2 or 0 in each.shape:
            raise ShapeError(f"layer {layer!r} has shape {each.shape}; expected (n, p) or more")
        if each.shape[0] != one.shape[0]:
            raise ShapeError(
                f"layer {layer!r} has {each.shape[0]} rows, {first!r} has {one.shape[0]}; "
                "were both taken from the same examples?"
            )
    return one.shape[0]


def _origin(sources: Any) -> list[str]:
    """Names of the files, or of the layers that came in memory."""
    if _is_path(sources):
        sources = [sources]
    values = sources.values() if isinstance(sources, Mapping) else sources
    return [Path(v).name if _is_path(v) else "memory" for v in values]


def _is_path(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike))
