"""Reading activation stores, and refusing damaged or hostile ones."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repsim.activations.store.blocks import StoredLayer, is_bfloat16, raw_rows
from repsim.activations.store.format import (
    CHUNK_BYTES,
    DAMAGE,
    FORMAT,
    FORMAT_VERSION,
    Damaged,
    address_of,
    header_checksum,
    key_of,
    part_path,
    rows_checksum,
    text_of,
    unfit_name,
)
from repsim.errors import StoreError, UsageError, choices
from repsim.progress import Progress, silent

#: How a global heap of HDF5 begins, and the bytes in which ``_check_heaps`` looks for some.
_HEAP = b"GCOL\1\0\0\0"
_LOOKED_AT = 1 << 20

#: What compression can reach at best (deflate); a file that claims more is not honest.
_LARGEST_RATIO = 1100


class ActivationStore:
    """A harvested file, open for reading; an ``ActivationSource`` that closes with its block.

    ``store["stem"][100:200]`` reads rows of a layer as a NumPy array.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            with _damage(self.path):
                self._read_all_but_rows()
            self._name = str(name or self.provenance().get("network") or self.path.stem)
        except StoreError:
            self._file.close()
            raise

    def _read_all_but_rows(self) -> None:
        if not self._file.attrs.get("complete", False):
            raise StoreError(f"{self.path} is not whole: its harvest did not end, or it is damaged")
        self._ids = _example_ids(self._file)
        self._layers = _layers(self._file, len(self._ids))
        self._heads = _heads(self._file, self._layers)
        self._sums = _checksums(self._file, self._layers)
        if "labels" in self._file:
            _honest(self._file, "labels", "iu", (self.n,))
        if not isinstance(self.provenance(), dict):
            raise Damaged("its provenance is no JSON object")

    @property
    def name(self) -> str:
        return self._name

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._layers)

    @property
    def n(self) -> int:
        return len(self._ids)

    @property
    def example_ids(self) -> np.ndarray:
        return self._ids

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) int64 class of each example, or None."""
        with _damage(self.path):
            return self._file["labels"][:] if "labels" in self._file else None

    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """Linear heads by address: ``weight``, ``bias`` (or None) and ``input``, the layer fed."""
        with _damage(self.path):
            return {
                address: {
                    "weight": group["weight"][:],
                    "bias": group["bias"][:] if "bias" in group else None,
                    "input": text_of(group, "input"),
                }
                for address, group in self._heads.items()
            }

    @property
    def blocks(self) -> int:
        """Blocks of rows that have a checksum; 0 in a store of version 1."""
        return sum(len(sums) for sums in self._sums.values())

    def __getitem__(self, layer: str) -> StoredLayer:
        if layer not in self._layers:
            raise UsageError(f"{self.name} has no layer {layer!r}; {choices(layer, self._layers)}")
        return StoredLayer([self._layers[layer]], f"{self.path}, layer {layer!r}")

    def rows(self, layer: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` of a layer, (stop - start, ...), bfloat16 as float32."""
        return self[layer][start:stop]

    def provenance(self) -> dict[str, Any]:
        """Where the activations come from; JSON values."""
        return json.loads(text_of(self._file, "provenance"))

    def describe(self) -> list[dict[str, Any]]:
        """A record a layer: address, module, shape, axes, dtype, bytes."""
        return [
            {
                "layer": layer,
                "module": text_of(dataset, "module"),
                "shape": tuple(int(size) for size in dataset.shape),
                "axes": text_of(dataset, "axes"),
                "dtype": "bfloat16" if is_bfloat16(dataset) else dataset.dtype.name,
                "bytes": dataset.size * dataset.id.get_type().get_size(),
            }
            for layer, dataset in self._layers.items()
        ]

    def verify(self, progress: Progress = silent) -> list[str]:
        """What does not have the checksum that was written with it, in words; [] if all is well.

        Args:
            progress: told the blocks read.

        Raises:
            StoreError: a store of version 1, which has no checksums.
        """
        if not self.blocks:
            raise StoreError(
                f"{self.path} has no checksums: it is of format version 1; harvest it again for "
                "one that can be verified"
            )
        faults = []
        try:
            if int(self._file["checksums"].attrs["header"]) != header_checksum(self._file):
                faults.append("header: the provenance, ids, labels, heads or attributes differ")
        except DAMAGE as error:
            faults.append(f"header: it cannot be read ({error})")
        done = 0
        for layer, dataset in self._layers.items():
            for fault in _verify(layer, dataset, self._sums[layer]):
                done += 1
                progress(done, self.blocks, layer)
                faults += [fault] if fault else []
        return faults

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def __enter__(self) -> ActivationStore:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ActivationStore({str(self.path)!r}, n={self.n}, layers={len(self._layers)})"


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever a damaged file raises in the block, as a ``StoreError``."""
    try:
        yield
    except DAMAGE as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        hint = "; its harvest is not finished, continue it with --resume"
        raise StoreError(
            f"there is no activation store {path}{hint if part_path(path).is_file() else ''}"
        )
    _check_heaps(path)
    try:
        # Rows are read once and in order: HDF5's cache of chunks would only copy them.
        file = h5py.File(path, "r", rdcc_nbytes=0)
    except OSError as error:
        raise StoreError(f"{path} is not an HDF5 file, or cut short ({error})") from error
    try:
        with _damage(path):
            found, version = str(file.attrs.get("format")), file.attrs.get("format_version", 0)
        if found != FORMAT:
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
    start = data.find(_HEAP)
    while start >= 0:
        end = start + int.from_bytes(data[start + 8 : start + 16], "little")
        at = start + 16
        while at + 16 <= min(end, len(data)):
            index, size = struct.unpack_from("<H6xQ", data, at)
            step = 16 + -(-size // 8) * 8 if index else size
            if not 0 < step <= end - at:
                raise StoreError(f"{path} is damaged: its attributes cannot be read")
            at += step
        start = data.find(_HEAP, start + len(_HEAP))


def _example_ids(file: h5py.File) -> np.ndarray:
    """(n,) bytes, all of them UTF-8."""
    ids = _honest(file, "example_ids", "S")[:]
    if ids.ndim != 1 or not len(ids):
        raise Damaged(f"the example ids have shape {ids.shape}; expected (n,)")
    b"\0".join(ids.tolist()).decode()
    return ids


def _layers(file: h5py.File, n: int) -> dict[str, h5py.Dataset]:
    """The data sets of the layers by address, in order of execution."""
    group = _group(file, "layers")
    found = {}
    for key in group:
        dataset = _honest(group, key, "fiu")
        if dataset.ndim < 2 or len(dataset) != n:
            raise Damaged(f"layer {key!r} has shape {dataset.shape}; expected ({n}, ...)")
        if len(text_of(dataset, "axes").split(",")) != dataset.ndim:
            raise Damaged(f"layer {key!r} does not name each of its {dataset.ndim} axes")
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


def _heads(file: h5py.File, layers: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Group]:
    """The groups of the linear heads by address."""
    if "heads" not in file:
        return {}
    heads, found = _group(file, "heads"), {}
    for key in heads:
        head = _group(heads, key)
        weight = _honest(head, "weight", "fiu")
        if weight.ndim != 2:
            raise Damaged(f"the weight of head {key!r} has shape {weight.shape}; expected (out, d)")
        if "bias" in head:
            _honest(head, "bias", "fiu", weight.shape[:1])
        if text_of(head, "input") not in layers:
            raise Damaged(f"head {key!r} reads {text_of(head, 'input')!r}, which is no layer")
        found[address_of(key, head)] = head
    return found


def _checksums(file: h5py.File, layers: Mapping[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
    """The checksums of each layer's blocks, (blocks,) uint64; none in version 1."""
    if int(file.attrs["format_version"]) == 1 and "checksums" not in file:
        return {}
    group = _group(_group(file, "checksums"), "layers")
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
    size = dataset.size * dataset.id.get_type().get_size()
    stored = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    if size > stored * (_LARGEST_RATIO if creation.get_nfilters() else 1):
        raise Damaged(f"{name!r} of shape {dataset.shape} needs {size} bytes, {stored} are stored")
    return dataset


def _verify(layer: str, dataset: h5py.Dataset, sums: h5py.Dataset) -> Iterator[str | None]:
    """For each block of a layer what is wrong with it, or None."""
    block = int(sums.attrs["rows"])
    for k in range(len(sums)):
        start, stop = k * block, min((k + 1) * block, len(dataset))
        where = f"layer {layer!r}, rows {start} to {stop}"
        try:
            found = rows_checksum(raw_rows(dataset, start, stop))
            yield None if found == int(sums[k]) else f"{where}: not what was written"
        except DAMAGE as error:
            yield f"{where}: cannot be read ({error})"
