"""Opening stores, and refusing damaged or hostile ones."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from repsim.activations.store.checksums import ALGORITHM
from repsim.activations.store.format import (
    BINARY,
    CHUNK_BYTES,
    CLASS,
    FORMAT,
    FORMAT_VERSION,
    address_of,
    key_of,
    part_path,
    text_of,
    unfit_name,
)
from repsim.activations.store.hdf5_files import open_hdf5
from repsim.data.targets import LABEL
from repsim.errors import StoreError
from repsim.reading import Damaged, damage, parse_json
from repsim.space import check_memory, check_stored
from repsim.visible import shown

#: The beginning of a global heap of HDF5, and the bytes in which ``_check_heaps`` looks for some.
_HEAP = b"GCOL\1\0\0\0"
_LOOKED_AT = 1 << 20

#: Endings of files of arrays, which are imported before they are read as stores.
_IMPORTED = (".npy", ".npz", ".pt", ".pth", ".safetensors")

#: Ids that are read together.
_IDS = 1 << 16

#: The largest chunk, in bytes, beyond the size of its data set: HDF5 makes room for whole chunks.
_CHUNK = 1 << 26


def open_file(path: Path) -> h5py.File:
    if not path.is_file():
        hint = "; its harvest is not finished, continue it with --resume"
        raise StoreError(
            f"there is no activation store {path}{hint if part_path(path).is_file() else ''}"
        )
    try:
        _check_heaps(path)
        file = open_hdf5(path, "r")
    except PermissionError as error:
        raise StoreError(f"{path} may not be read: {error.strerror}") from None
    except OSError as error:
        if path.suffix in _IMPORTED:
            raise StoreError(
                f"{path} is no activation store; make one of it with: repsim import {path} "
                "--name NAME"
            ) from None
        raise StoreError(f"{path} is not an HDF5 file, or cut short ({error})") from error
    try:
        with damage(path):
            found, version = file.attrs.get("format"), file.attrs.get("format_version", 0)
        if found not in (FORMAT, FORMAT.encode()):
            raise StoreError(f"{path} is an HDF5 file, but not an activation store of repsim")
        if not isinstance(version, (int, np.integer)) or not 1 <= version <= FORMAT_VERSION:
            raise StoreError(
                f"{path} has format version {version}; this repsim reads 1 to {FORMAT_VERSION}"
            )
    except StoreError:
        file.close()
        raise
    return file


def _check_heaps(path: Path) -> None:
    """Raise ``StoreError`` where texts lie in a heap on which HDF5 would loop without end.

    It steps from one object of a global heap to the next, in place if the size of one is zero or
    wraps around. Only the beginning of the file is looked at: all of a small one, of which heaps
    are a large share.
    """
    with open(path, "rb") as stream:
        data = stream.read(_LOOKED_AT)
    start, steps = data.find(_HEAP), 0
    while start >= 0:
        end = start + int.from_bytes(data[start + 8 : start + 16], "little")
        at = start + 16
        while at + 16 <= min(end, len(data)):
            index, size = struct.unpack_from("<H6xQ", data, at)
            step = 16 + -(-size // 8) * 8 if index else size
            steps += 1
            # Heaps do not overlap: together their objects are no more than fit into the file.
            if not 0 < step <= end - at or steps > len(data) // 16:
                raise StoreError(f"{path} is damaged: its attributes cannot be read")
            at += step
        start = data.find(_HEAP, start + len(_HEAP))


def read_ids(file: h5py.File) -> np.ndarray:
    """(n,) bytes, all of them UTF-8."""
    dataset = _honest(file, "example_ids", "S")
    if dataset.ndim != 1 or not len(dataset):
        raise Damaged(f"the example ids have shape {dataset.shape}; expected (n,)")
    seen: set[bytes] = set()
    pieces = []
    for start in range(0, len(dataset), _IDS):  # so that many alike are refused by the first
        pieces.append(dataset[start : start + _IDS])
        listed = pieces[-1].tolist()
        b"\0".join(listed).decode()
        if not all(listed):
            raise Damaged(f"the id of example {start + listed.index(b'')} is empty")
        before = len(seen)
        seen.update(listed)
        if len(seen) < before + len(listed):
            raise Damaged("an example id comes twice")
    return np.concatenate(pieces)


def is_whole(file: h5py.File) -> bool:
    """True if a file says that all of its rows are written."""
    found = file.attrs.get("complete", False)
    return isinstance(found, (bool, int, np.bool_, np.integer)) and found == 1


def check_progress(file: h5py.File, n: int) -> None:
    """Raise ``Damaged`` unless the rows that are written are all of them."""
    written = _honest(file, "progress", "iu", ())[()]
    if written != n:
        raise Damaged(f"its progress is {written} of {n} examples")


def find_layers(file: h5py.File, n: int) -> dict[str, h5py.Dataset]:
    """The data sets of the layers by address, in order of execution."""
    group = _group(file, "layers")
    found = {}
    for key in group:
        dataset = _honest(group, key, "fiu")
        if dataset.ndim < 2 or len(dataset) != n:
            raise Damaged(f"layer {key!r} has shape {dataset.shape}; expected ({n}, ...)")
        axes = text_of(dataset, "axes").split(",")
        if len(axes) != dataset.ndim or not all(axes):
            raise Damaged(f"layer {key!r} does not name each of its {dataset.ndim} axes")
        if axes[0] != "example":
            raise Damaged(f"the first axis of layer {key!r} is {shown(axes[0])}, not example")
        text_of(dataset, "module")
        found[address_of(key, dataset)] = _for_reading(group, key)
    if not found:
        raise Damaged("it has no layers")
    if (unfit := unfit_name(found)) is not None:
        raise Damaged(f"a layer is called {unfit!r}")
    return dict(sorted(found.items(), key=lambda item: _order(item[1])))


def _order(dataset: h5py.Dataset) -> int:
    order = dataset.attrs["order"]
    if not isinstance(order, (int, np.integer)) or not 0 <= order < 1 << 31:
        raise Damaged(f"the order of {dataset.name} is {order!r}; expected an integer from 0")
    return int(order)


def find_heads(file: h5py.File, layers: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Group]:
    """The groups of the linear heads by address."""
    if "heads" not in file:
        return {}
    heads, found = _group(file, "heads"), {}
    for key in heads:
        head = _group(heads, key)
        weight = _small(head, "weight", "fiu")
        if weight.ndim != 2:
            raise Damaged(f"the weight of head {key!r} has shape {weight.shape}; expected (out, d)")
        if "bias" in head:
            _small(head, "bias", "fiu", weight.shape[:1])
        if text_of(head, "input") not in layers:
            raise Damaged(f"head {key!r} reads {text_of(head, 'input')!r}, which is no layer")
        found[address_of(key, head)] = head
    return found


def find_checksums(file: h5py.File, layers: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
    """The checksums of each layer's blocks, (blocks,) uint64; none in version 1."""
    if int(file.attrs["format_version"]) == 1 and "checksums" not in file:
        return {}
    group = _group(_group(file, "checksums"), "layers")
    _check_algorithm(file["checksums"])
    found = {}
    for layer, dataset in layers.items():
        key = key_of(layer)
        rows = int(group[key].attrs["rows"])
        if rows < 1:
            raise Damaged(f"checksums of layer {layer!r} are of {rows} rows each")
        found[layer] = _honest(group, key, "u", (-(-len(dataset) // rows),))
        if found[layer].dtype.itemsize != 8:
            raise Damaged(f"checksums of layer {layer!r} are {found[layer].dtype}; expected uint64")
    return found


def find_targets(file: h5py.File, n: int) -> tuple[dict[str, h5py.Dataset], str]:
    """The data sets of the targets by name, in order, and the name of the one that is the labels.

    Targets of a kind that is not known are left out. Before version 3 there was one, ``/labels``.
    """
    if int(file.attrs["format_version"]) < 3:
        labelled = "labels" in file
        found = {LABEL: _honest(file, "labels", "iu", (n,))} if labelled else {}
        return found, LABEL if labelled else ""
    if "targets" not in file:
        return {}, ""
    group, found = _group(file, "targets"), {}
    for key in group:
        if not _is_known(group, key):
            continue
        target = _small(group, key, "iu")
        kind = text_of(target, "kind")
        if len(target.shape) != (1 if kind == CLASS else 2) or len(target) != n:
            raise Damaged(f"target {key!r} of kind {kind} has shape {target.shape}; n is {n}")
        names = parse_json(text_of(target, "classes"))
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise Damaged(f"target {key!r} does not name its classes")
        if kind == BINARY and names and len(names) != target.shape[1]:
            raise Damaged(f"target {key!r} has {target.shape[1]} columns and {len(names)} names")
        found[address_of(key, target)] = target
    found = dict(sorted(found.items(), key=lambda item: _order(item[1])))
    labels = text_of(group, "labels") if found else ""
    if found and labels not in found:
        if key_of(labels) not in group:  # else it is of a kind that is not known
            raise Damaged(f"its labels are {shown(labels)}, which is no target")
        labels = next(iter(found))
    return found, labels


def _is_known(group: h5py.Group, key: str) -> bool:
    """Tell if a target is of a known kind, or of none that can be read safely."""
    hard = isinstance(group.get(key, getlink=True), h5py.HardLink)
    return not hard or text_of(group[key], "kind") in (CLASS, BINARY)


def find_inputs(file: h5py.File, n: int) -> h5py.Dataset | None:
    """The digests of the inputs, uint64; None where they are not there."""
    if int(file.attrs["format_version"]) < 3 or "inputs" not in file:
        return None
    digests = _honest(file, "inputs", "u", (n,))
    if digests.dtype.itemsize != 8:
        raise Damaged(f"'inputs' is {digests.dtype}; expected uint64")
    _check_algorithm(digests)
    return digests


def find_order(file: h5py.File, n: int) -> h5py.Dataset | None:
    """The places in the data set of the loader; None where they are not there."""
    if int(file.attrs["format_version"]) < 3 or "order" not in file:
        return None
    return _honest(file, "order", "iu", (n,))


def _check_algorithm(item: h5py.HLObject) -> None:
    """Raise ``Damaged`` where checksums or digests are of a function that is not known."""
    found = text_of(item, "algorithm")
    if found != ALGORITHM:
        raise Damaged(f"{item.name} is of the algorithm {shown(found)}; expected {ALGORITHM}")


def _for_reading(group: h5py.Group, name: str) -> h5py.Dataset:
    """A data set with a cache of chunks where they are compressed: one may be read in parts."""
    if not group[name].id.get_create_plist().get_nfilters():
        return group[name]
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(521, 4 * CHUNK_BYTES, 1.0)
    return h5py.Dataset(h5py.h5d.open(group.id, name.encode(), access))


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group that lies in this file: links may lead into others."""
    group = parent[name] if isinstance(parent.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(group, h5py.Group):
        raise Damaged(f"{name!r} is no group of this file")
    return group


def _honest(
    parent: h5py.Group, name: str, kinds: str, shape: tuple[int, ...] | None = None
) -> h5py.Dataset:
    """A data set of kinds of ``numpy.dtype.kind``, if reading it is safe.

    A store of somebody else's must not make us read other files, or fill the memory.
    """
    hard = isinstance(parent.get(name, getlink=True), h5py.HardLink)
    dataset = parent[name] if hard else None
    if not isinstance(dataset, h5py.Dataset):
        raise Damaged(f"{name!r} is no data set of this file")
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or creation.get_external_count():
        raise Damaged(f"{name!r} lies in other files; expected its numbers in this one")
    if dataset.shape is None or dataset.dtype.kind not in kinds or dataset.dtype.subdtype:
        raise Damaged(f"{name!r} is {dataset.dtype} of shape {dataset.shape}")
    if shape is not None and dataset.shape != shape:
        raise Damaged(f"{name!r} has shape {dataset.shape}; expected {shape}")
    item = dataset.id.get_type().get_size()
    stored = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    what, packed = f"{name!r} of shape {dataset.shape}", bool(creation.get_nfilters())
    check_stored(what, dataset.size * item, stored, compressed=packed)
    if math.prod(dataset.chunks or ()) * item > max(_CHUNK, dataset.size * item):
        raise Damaged(f"{what} has chunks of {dataset.chunks}, which are larger than it")
    return dataset


def _small(
    parent: h5py.Group, name: str, kinds: str, shape: tuple[int, ...] | None = None
) -> h5py.Dataset:
    """A data set that is safe to read whole."""
    dataset = _honest(parent, name, kinds, shape)
    check_memory(f"{name!r} of shape {dataset.shape}", dataset.size * dataset.dtype.itemsize)
    return dataset
