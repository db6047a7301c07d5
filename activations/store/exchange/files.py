"""Layers in files of other programs, and in folders that ``export_layers`` wrote."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsim.activations.store.exchange.examples import lines_of
from repsim.activations.store.exchange.incoming import Found, Incoming, dtype_name, from_array
from repsim.activations.store.exchange.libraries import library
from repsim.data.targets import LABEL
from repsim.dense import as_numbers
from repsim.errors import StoreError, UsageError, choices
from repsim.npy import member_names, open_npy, read_header
from repsim.pickled import load_pickled
from repsim.reading import DAMAGE, read_json, reason_of
from repsim.space import check_claim, check_memory, check_stored

#: Names of arrays beside layers in a file of several, and how those of targets begin.
_ABOUT = ("ids", "labels")
_TARGET = "target_"

#: The file by which a folder is known as an export.
RECORD = "provenance.json"


def gather(sources: Any, opened: ExitStack) -> Found:
    """The content of all sources; ``opened`` closes the files that are read later."""
    if isinstance(sources, Mapping):
        return Found({str(k): _one(v, str(k), opened) for k, v in sources.items()})
    paths = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    found = Found({})
    for path in map(Path, paths):
        part = _read_file(path, opened)
        for layer in part.layers:
            if layer in found.layers:
                raise UsageError(
                    f"{path} has a layer {layer!r}, which was there before; give each file's array "
                    "a name of its own, as in LAYER=FILE"
                )
        found.layers |= part.layers
        found.ids = part.ids if found.ids is None else found.ids
        found.targets = {**part.targets, **found.targets}
        found.classes = {**part.classes, **found.classes}
        found.inputs = part.inputs if found.inputs is None else found.inputs
        found.order = part.order if found.order is None else found.order
        found.labels = found.labels or part.labels
        found.provenance = part.provenance if found.provenance is None else found.provenance
    return found


def _one(value: Any, layer: str, opened: ExitStack) -> Incoming:
    """A layer from an array, a tensor, or a file of one array."""
    if not isinstance(value, (str, os.PathLike)):
        return from_array(value, layer)
    found = _read_file(Path(value), opened).layers
    if len(found) != 1:
        raise UsageError(f"{value} has {len(found)} layers; expected one, to be called {layer!r}")
    return next(iter(found.values()))


def _read_file(path: Path, opened: ExitStack) -> Found:
    if path.is_dir():
        return _read_folder(path, opened)
    readers = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".pt": _read_pt,
        ".pth": _read_pt,
        ".safetensors": _read_safetensors,
    }
    if path.suffix not in readers:
        raise UsageError(
            f"{path}: unknown kind of file; {choices(path.suffix, readers)}: save an array "
            "(n, ...) with numpy.save, or several by name with numpy.savez"
        )
    try:
        return readers[path.suffix](path, opened)
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None
    except pickle.UnpicklingError:
        raise StoreError(
            f"{path} holds more than tensors, which could run code; save a tensor, or a dict of "
            "them, with torch.save"
        ) from None
    except DAMAGE as error:
        raise StoreError(f"{path} cannot be read: {reason_of(error)}") from error


def _read_npy(path: Path, opened: ExitStack) -> Found:
    return Found({path.stem: from_array(open_npy(path), path.stem)})


def _read_npz(path: Path, opened: ExitStack) -> Found:
    archive = opened.enter_context(zipfile.ZipFile(path))
    _check_sizes(archive)
    names = member_names(archive)
    with np.load(path) as arrays:
        extra = {name: arrays[name] for name in names if _is_about(name)}
    layers = {
        name: _from_member(archive, f"{name}.npy", name, opened)
        for name in names
        if not _is_about(name)
    }
    return _with_examples(layers, extra)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Check what the members claim; only those about the examples are read whole."""
    size = Path(str(archive.filename)).stat().st_size
    for info in archive.infolist():
        packed = info.compress_type != zipfile.ZIP_STORED
        about = _is_about(info.filename.removesuffix(".npy"))
        check = check_claim if about else check_stored
        check(
            f"member {info.filename!r}",
            info.file_size,
            min(info.compress_size, size),
            compressed=packed,
        )


def _from_member(archive: zipfile.ZipFile, member: str, layer: str, opened: ExitStack) -> Incoming:
    """An array of an archive, unpacked as it is read: it may be larger than memory."""
    stream = opened.enter_context(archive.open(member))
    shape, fortran, dtype = read_header(stream)
    as_numbers(np.empty(0, dtype), layer)
    if fortran:
        check_memory(f"layer {layer!r}, in Fortran order,", math.prod(shape) * dtype.itemsize)
        return from_array(np.load(archive.open(member)), layer)

    def read(start: int, stop: int) -> np.ndarray:
        count = (stop - start) * int(np.prod(shape[1:], dtype=np.int64))
        data = stream.read(count * dtype.itemsize)
        return np.frombuffer(data, dtype, count).reshape(stop - start, *shape[1:])

    return Incoming(shape, dtype_name(dtype), read)


def _read_pt(path: Path, opened: ExitStack) -> Found:
    loaded = load_pickled(path, mapped=zipfile.is_zipfile(path))
    if isinstance(loaded, torch.Tensor):
        loaded = {path.stem: loaded}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}; expected a tensor or a dict of them")
    arrays = {str(k): v for k, v in loaded.items()}
    if len(arrays) < len(loaded):
        raise ValueError("two of its keys are one name, such as 1 and '1'")
    extra = {name: arrays.pop(name) for name in list(arrays) if _is_about(name)}
    layers = {layer: from_array(value, layer) for layer, value in arrays.items()}
    return _with_examples(layers, extra)


def _read_safetensors(path: Path, opened: ExitStack) -> Found:
    safetensors = library("safetensors", f"reading {path}")
    try:
        file = opened.enter_context(safetensors.safe_open(path, framework="pt"))
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    names = list(file.keys())
    extra = {name: file.get_tensor(name) for name in names if _is_about(name)}
    layers = {name: _from_slice(file, name) for name in names if not _is_about(name)}
    return _with_examples(layers, extra)


def _from_slice(file: Any, layer: str) -> Incoming:
    rows = file.get_slice(layer)
    shape = tuple(rows.get_shape())
    few = rows[:1] if len(shape) else file.get_tensor(layer)
    as_numbers(few, layer)
    return Incoming(shape, dtype_name(few.dtype), lambda start, stop: rows[start:stop])


def _read_folder(folder: Path, opened: ExitStack) -> Found:
    """Read the files that ``export_layers`` wrote."""
    try:
        record = read_json(folder / RECORD)
        layers = {}
        for each in record["layers"]:
            incoming = from_array(open_npy(_inside(folder, each["file"])), each["layer"])
            layers[each["layer"]] = Incoming(
                incoming.shape, incoming.dtype, incoming.read, str(each["module"])
            )
        listed, labels = record.get("targets"), folder / "labels.npy"
        if listed is None:  # of a release with one target
            listed = [{"name": LABEL, "file": labels.name}] if labels.is_file() else []
        return Found(
            layers,
            lines_of(_inside(folder, "ids.txt")),
            {each["name"]: open_npy(_inside(folder, each["file"])) for each in listed},
            {each["name"]: tuple(each.get("classes", ())) for each in listed},
            _numbers(folder, "inputs.npy"),
            _numbers(folder, "order.npy"),
            record["provenance"],
            str(record.get("labels", "")),
        )
    except (*DAMAGE, UsageError) as error:
        reason = error if isinstance(error, UsageError) else reason_of(error)
        raise StoreError(
            f"{folder} is no folder that repsim export wrote ({reason}); name its files instead"
        ) from error


def _is_about(name: str) -> bool:
    """Tell if an array of a file is about the examples, and no layer."""
    return name in _ABOUT or name.startswith(_TARGET)


def _with_examples(layers: dict[str, Incoming], about: Mapping[str, Any]) -> Found:
    """Layers with the ids, labels and targets of their file."""
    targets = {LABEL: about["labels"]} if "labels" in about else {}
    targets |= {
        name.removeprefix(_TARGET): value
        for name, value in about.items()
        if name.startswith(_TARGET)
    }
    return Found(layers, about.get("ids"), targets)


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder that came from elsewhere, which may not name others of this machine.

    Raises:
        ValueError: a path or a link that leads out of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} lies outside of it")
    return path


def _numbers(folder: Path, name: str) -> np.ndarray | None:
    """The array in a file of a folder; None where there is no such file."""
    path = _inside(folder, name)
    return open_npy(path) if path.is_file() else None
