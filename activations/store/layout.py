"""The layout of a new store: its groups, attributes and data sets, before any row comes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repsim.activations.capture.axes import LayerAxes
from repsim.activations.store.blocks import BFLOAT16
from repsim.activations.store.checksums import ALGORITHM
from repsim.activations.store.direct_io import ALIGNMENT
from repsim.activations.store.format import (
    CHUNK_BYTES,
    FORMAT,
    FORMAT_VERSION,
    ID_BYTES,
    ExampleSpec,
    LayerSpec,
    key_of,
)
from repsim.activations.store.hdf5_files import open_hdf5


def create_file(
    part: Path,
    n: int,
    layers: Mapping[str, LayerSpec],
    examples: ExampleSpec,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> h5py.File:
    """A new file with all its space allocated, open for writing; what lies there is removed."""
    part.unlink(missing_ok=True)  # the writer has seen that nobody holds it
    file = open_hdf5(
        part,
        "x",
        alignment_threshold=CHUNK_BYTES // 2,
        alignment_interval=ALIGNMENT,
    )
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["complete"] = False
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    file.create_dataset("progress", data=np.int64(0))
    allocate(file, "example_ids", (n,), f"S{ID_BYTES}")
    file["example_ids"].attrs["encoding"] = "utf-8"
    _create_targets(file, n, examples)
    if examples.inputs:
        allocate(file, "inputs", (n,), "uint64").attrs["algorithm"] = ALGORITHM
    if examples.order:
        allocate(file, "order", (n,), "int64")
    group, sums = file.create_group("layers"), file.create_group("checksums/layers")
    file["checksums"].attrs["algorithm"] = ALGORITHM
    file["checksums"].attrs["header"] = np.uint64(0)
    for order, (address, spec) in enumerate(layers.items()):
        dataset = allocate(group, key_of(address), (n, *spec.shape), spec.dtype)
        dataset.attrs["order"] = order
        dataset.attrs["module"] = spec.module
        dataset.attrs["axes"] = spec.axes or LayerAxes.usual(1 + len(spec.shape)).names()
        if key_of(address) != address:
            dataset.attrs["address"] = address
        block = dataset.chunks[0]
        held = allocate(sums, key_of(address), (-(-n // block),), "uint64")
        held.attrs["rows"] = block
    for address, head in heads.items():
        written = file.create_group(f"heads/{key_of(address)}")
        if key_of(address) != address:
            written.attrs["address"] = address
        written.attrs["input"] = head["input"]
        written["weight"] = head["weight"]
        if head.get("bias") is not None:
            written["bias"] = head["bias"]
    file.flush()
    return file


def _create_targets(file: h5py.File, n: int, examples: ExampleSpec) -> None:
    if not examples.targets:
        return
    group = file.create_group("targets")
    group.attrs["labels"] = examples.labels or examples.targets[0].name
    for order, spec in enumerate(examples.targets):
        shape = (n,) if spec.columns is None else (n, spec.columns)
        target = allocate(group, key_of(spec.name), shape, spec.dtype)
        target.attrs["order"] = order
        target.attrs["kind"] = spec.kind
        target.attrs["classes"] = json.dumps(spec.classes)
        if key_of(spec.name) != spec.name:
            target.attrs["address"] = spec.name


def allocate(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A dataset, chunked by rows, whose chunks all have their place in the file from the start."""
    kind = BFLOAT16 if dtype == "bfloat16" else h5py.h5t.py_create(np.dtype(dtype), logical=True)
    chunk = (chunk_rows(shape[0], math.prod(shape[1:]) * kind.get_size()), *shape[1:])
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(chunk)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(group.id, name.encode(), kind, space, creation)
    return group[name]


def chunk_rows(n: int, row_bytes: int) -> int:
    """Rows of a chunk: as many as aimed at, or a few less so that the last chunk is full too."""
    most = max(1, min(n, CHUNK_BYTES // max(1, row_bytes)))
    return -(-n // -(-n // most))
