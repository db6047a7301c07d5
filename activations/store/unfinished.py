"""Unfinished stores: the file of before, if it is of the same harvest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from repsim.activations.store.changes import INCIDENTAL
from repsim.activations.store.format import (
    FORMAT_VERSION,
    ExampleSpec,
    LayerSpec,
    TargetSpec,
    address_of,
    part_path,
    text_of,
)
from repsim.activations.store.hdf5_files import open_hdf5
from repsim.errors import StoreError
from repsim.reading import DAMAGE, parse_json


def open_part(part: Path) -> h5py.File | None:
    """The unfinished file, open for writing; None where there is none that can be read.

    Raises:
        StoreError: another process writes it.
    """
    if not part.is_file():
        return None
    try:
        return open_hdf5(part, "r+")
    except PermissionError as error:
        raise StoreError(f"{part} may not be written: {error.strerror}") from None
    except OSError:
        return None  # killed while it was laid out: no row was written yet


def provenance_of(path: Path) -> dict[str, Any]:
    """The provenance of a store, finished or not; empty where there is none that can be read."""
    for each in (path, part_path(path)):
        try:
            with open_hdf5(each, "r") as file:
                return dict(parse_json(text_of(file, "provenance")))
        except (*DAMAGE, StoreError):
            continue
    return {}


def continues(
    file: h5py.File,
    n: int,
    layers: Mapping[str, LayerSpec],
    examples: ExampleSpec,
    provenance: Mapping[str, Any],
) -> bool:
    """Check an unfinished file against this harvest; False if it was never laid out.

    Raises:
        StoreError: it is of another harvest; the file is closed.
    """
    try:
        before = dict(parse_json(text_of(file, "provenance")))
        int(file["progress"][()])
        version = int(file.attrs["format_version"])
    except DAMAGE:
        return False
    if version != FORMAT_VERSION:
        raise _other(
            file,
            f"in format version {version}, this repsim writes {FORMAT_VERSION}",
            "finish it with the release that began it, or ",
        )
    now = json.loads(json.dumps(provenance))
    keys = (before.keys() | now.keys()) - INCIDENTAL
    changed = sorted(key for key in keys if before.get(key) != now.get(key))
    if changed:
        key = changed[0]
        raise _other(file, f"with {key} = {before.get(key)!r}, now it is {now.get(key)!r}")
    first = examples.targets[0].name if examples.targets else ""
    if _examples_of(file) != replace(examples, labels=examples.labels or first):
        raise _other(file, "with other targets, or with a loader of another kind")
    begun = {address_of(key, each): each.shape for key, each in file["layers"].items()}
    if begun != {address: (n, *spec.shape) for address, spec in layers.items()}:
        raise _other(file, f"with other layers: {', '.join(begun)}")
    return True


def _other(file: h5py.File, how: str, instead: str = "") -> StoreError:
    """The error of a file of another harvest, which is closed."""
    name = file.filename
    file.close()
    return StoreError(f"{name} was begun {how}", f"{instead}pass --overwrite to begin anew")


def _examples_of(file: h5py.File) -> ExampleSpec:
    """The record that an unfinished file keeps of its examples."""
    group = file.get("targets", {})
    found = {
        int(each.attrs["order"]): TargetSpec(
            address_of(key, each),
            each.shape[1] if each.ndim == 2 else None,
            tuple(parse_json(text_of(each, "classes"))),
        )
        for key, each in group.items()
    }
    targets = tuple(found[order] for order in sorted(found))
    labels = text_of(group, "labels") if targets else ""
    return ExampleSpec(targets, labels, "inputs" in file, "order" in file)
