"""Writing activation stores.

All space is allocated when the file is made and nothing but rows is written afterwards. A process
killed at any moment therefore leaves a sound file in which ``/progress`` says how many rows hold.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repsim.activations.capture.pooling import axes
from repsim.activations.store.blocks import BFLOAT16, is_bfloat16, raw_rows, write_rows
from repsim.activations.store.direct_io import ALIGNMENT, open_direct
from repsim.activations.store.format import (
    ALGORITHM,
    CHUNK_BYTES,
    DAMAGE,
    FORMAT,
    FORMAT_VERSION,
    ID_BYTES,
    Digest,
    LayerSpec,
    address_of,
    header_checksum,
    key_of,
    part_path,
    text_of,
    unfit_name,
)
from repsim.activations.store.reader import ActivationStore
from repsim.errors import StoreError, UsageError
from repsim.files import exclusive

#: How a store may be compressed: what h5py brings along everywhere.
COMPRESSIONS = ("none", "lzf", "gzip")


@contextmanager
def write_store(
    path: str | os.PathLike[str],
    *,
    n: int,
    layers: Mapping[str, LayerSpec],
    labelled: bool,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    resume: bool,
    compression: str = "none",
) -> Iterator[StoreWriter]:
    """A writer of a new store, or of the rest of an unfinished one with ``resume``.

    The file takes its name when all rows are there; until then it is ``PATH.part``, and stays so
    if the block is left early. Compression comes last, from the whole file to the final one.

    Args:
        path: of the store.
        n: rows, which are examples unless positions were made examples.
        layers: address to what is known of the layer, in order of execution.
        labelled: whether labels will come.
        heads: address to ``weight``, ``bias`` and ``input``.
        provenance: JSON values; a harvest resumes only what has the same.
        resume: continue the unfinished file, if there is one.
        compression: one of ``COMPRESSIONS``.

    Raises:
        StoreError: the disk has no room, a layer's name cannot be, or the unfinished file is of
            another harvest.
    """
    if (unfit := unfit_name(layers)) is not None:
        raise StoreError(f"a layer cannot be called {unfit!r}; give it another name")
    part = part_path(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    with (
        _only_writer(part),
        _unfinished(part, n, layers, labelled, heads, provenance, resume) as file,
    ):
        with closing(StoreWriter(file)) as writer:
            yield writer
        if writer.done != n:
            raise StoreError(f"{path}: {writer.done} of {n} examples arrived; it stays unfinished")
        if not file.attrs["complete"]:
            file["checksums"].attrs["header"] = np.uint64(header_checksum(file))
            file.attrs["complete"] = True
        if compression != "none":
            _compress(file, Path(path), compression)
            part.unlink()
        else:
            os.replace(part, path)


@contextmanager
def _only_writer(part: Path) -> Iterator[None]:
    """Raise ``StoreError`` if another process writes the file, from its first moment on."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(part.with_name(f".{part.name}.lock"), _busy(part)))
        except UsageError as error:
            raise StoreError(str(error)) from None
        yield


def _busy(part: Path) -> str:
    return f"{part} is being written by another process; wait for it or stop it"


def _unfinished(
    part: Path,
    n: int,
    layers: Mapping[str, LayerSpec],
    labelled: bool,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    resume: bool,
) -> h5py.File:
    """The unfinished file, open for writing: that of before, or a new one."""
    file = _open_part(part)
    if file is not None and not (resume and _continues(file, n, layers, provenance)):
        file.close()
        file = None
    if file is None:
        check_space(part, n, layers)
        file = _create(part, n, layers, labelled, heads, provenance)
    return file


def check_space(path: Path, n: int, layers: Mapping[str, LayerSpec]) -> None:
    """Raise ``StoreError`` if the disk of ``path`` cannot hold ``n`` rows of the layers."""
    folder = next(each for each in path.absolute().parents if each.is_dir())
    need = n * sum(ID_BYTES / max(1, len(layers)) + spec.row_bytes for spec in layers.values())
    free = shutil.disk_usage(folder).free
    if need > free:
        raise StoreError(
            f"{folder} has {free / 1e6:,.0f} MB free, the store needs {need / 1e6:,.0f} MB; "
            "choose fewer layers or examples, --pooling avg, or --dtype float16"
        )


class StoreWriter:
    """Appends rows to a store and commits them."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.path = Path(file.filename)
        self._layers = {address_of(key, each): each for key, each in file["layers"].items()}
        #: Rows that are committed, and those that were when the file was opened.
        self.done = self.begun = int(file["progress"][()])
        self._checksums = {
            layer: Checksum(file["checksums/layers"][key_of(layer)], dataset, self.done)
            for layer, dataset in self._layers.items()
        }
        self._direct = open_direct(Path(file.filename))  # last: what fails before leaves none open

    def write(self, layer: str, values: np.ndarray) -> None:
        """Write the next rows of one layer, (rows, ...), in any byte order and memory layout.

        Args:
            layer: address.
            values: (rows, ...) of the layer's type; bfloat16 as its bits in uint16.

        Raises:
            StoreError: more rows than were announced, of another shape, or of another type.
            OSError: the disk is full, or fails.
        """
        dataset, checksum = self._layers[layer], self._checksums[layer]
        values = _as_stored(dataset, values)
        if checksum.row + len(values) > len(dataset):
            raise StoreError(f"more than the {len(dataset)} examples expected")
        for piece in self._write(dataset, checksum.row, values):
            checksum.add(piece)

    def extend(self, store: ActivationStore) -> None:
        """Append all rows of a store, whose layers are those of this one."""
        labels, step = store.labels, max(1, CHUNK_BYTES // (ID_BYTES + 8))
        for start in range(0, store.n, step):
            stop = min(start + step, store.n)
            for layer, written in self._layers.items():
                (dataset,), block = store[layer].parts, written.chunks[0]
                for at in range(start, stop, block):
                    self.write(layer, raw_rows(dataset, at, min(at + block, stop)))
            ids = [each.decode() for each in store.example_ids[start:stop]]
            self.commit(ids, None if labels is None else labels[start:stop])

    def check(self, ids: Sequence[str], start: int) -> None:
        """Raise ``StoreError`` unless the rows from ``start`` on, long written, have these ids."""
        for row, (given, stored) in enumerate(
            zip(ids, self._file["example_ids"][start : start + len(ids)], strict=True), start
        ):
            if given.encode() != stored:
                raise StoreError(
                    f"row {row} was harvested as {stored.decode()!r}, the loader now gives "
                    f"{given!r}; pass --overwrite, or a loader with the order of before"
                )

    def commit(self, ids: Sequence[str], labels: np.ndarray | None) -> None:
        """Make the rows that every layer has got part of the file, with their ids and labels."""
        rows = slice(self.done, self.done + len(ids))
        for layer, checksum in self._checksums.items():
            if checksum.row != rows.stop:
                raise StoreError(
                    f"layer {layer!r} gave {checksum.row - rows.start} rows for {len(ids)} examples"
                )
        self._file["example_ids"][rows] = [_encoded(each) for each in ids]
        if labels is not None:
            self._file["labels"][rows] = labels
        for checksum in self._checksums.values():
            checksum.save()
        self._file.flush()
        self.done = rows.stop
        self._file["progress"][()] = self.done
        self._file.flush()

    def close(self) -> None:
        """Close what was opened beside the file."""
        if self._direct is not None:
            self._direct.close()

    def _write(self, dataset: h5py.Dataset, start: int, values: np.ndarray) -> Iterator[np.ndarray]:
        """Write rows, and give them contiguous, in pieces that a processor's cache holds."""
        if self._direct is not None:
            yield from self._direct.write(dataset, start, values)
            return
        step = max(1, CHUNK_BYTES * len(values) // max(1, values.nbytes))
        for at in range(0, len(values), step):
            piece = np.ascontiguousarray(values[at : at + step])
            write_rows(dataset, start + at, piece)
            yield piece


class Checksum:
    """The checksum of each block of rows of a layer, as the rows come.

    Args:
        sums: (blocks,) uint64 in the file, with attribute ``rows``, the rows of a block.
        dataset: the layer's rows.
        done: how many of them are there already.
    """

    def __init__(self, sums: h5py.Dataset, dataset: h5py.Dataset, done: int) -> None:
        self._sums = sums
        self._n = len(dataset)
        self._block = int(sums.attrs["rows"])
        self.row = done
        self._first = done // self._block
        self._values: list[int] = []
        begun = raw_rows(dataset, self._first * self._block, done)
        self._digest = Digest(np.ascontiguousarray(begun).data)

    def add(self, values: np.ndarray) -> None:
        """Take the next rows, contiguous, as they are stored."""
        at = 0
        while at < len(values):
            stop = min(at + self._block - self.row % self._block, len(values))
            self._digest.update(values[at:stop].data)
            self.row += stop - at
            at = stop
            if self.row % self._block == 0 or self.row == self._n:
                self._values.append(self._digest.intdigest())
                self._digest = Digest()

    def save(self) -> None:
        """Write those that are whole."""
        if self._values:
            values = np.array(self._values, np.uint64)
            self._sums[self._first : self._first + len(values)] = values
            self._first += len(values)
            self._values = []


def _as_stored(dataset: h5py.Dataset, values: np.ndarray) -> np.ndarray:
    """Rows in the byte order of the file.

    Raises:
        StoreError: they are not of the shape or the type of the layer.
    """
    stored = np.dtype(np.uint16) if is_bfloat16(dataset) else dataset.dtype
    if values.shape[1:] != dataset.shape[1:] or values.dtype.newbyteorder("=") != (
        stored.newbyteorder("=")
    ):
        raise StoreError(
            f"rows of {dataset.name} came as {values.dtype} of shape {values.shape[1:]}; expected "
            f"{stored} of shape {dataset.shape[1:]}"
        )
    return values.astype(stored, copy=False)


def _encoded(example_id: str) -> bytes:
    encoded = example_id.encode(errors="surrogateescape")
    try:
        encoded.decode()
    except UnicodeDecodeError:
        raise StoreError(f"example id {example_id!r} is no UTF-8") from None
    if not encoded or encoded.endswith(b"\0"):  # a fixed-length text is padded with zeros
        raise StoreError(f"example id {example_id!r} is empty, or ends with a zero byte")
    if len(encoded) > ID_BYTES:
        raise StoreError(f"example id {example_id!r} is longer than {ID_BYTES} bytes")
    return encoded


def _open_part(part: Path) -> h5py.File | None:
    """The unfinished file, open for writing; None where there is none that can be read.

    Raises:
        StoreError: another process writes it.
    """
    if not part.is_file():
        return None
    try:
        return h5py.File(part, "r+", rdcc_nbytes=0)
    except OSError as error:
        if "unable to lock file" in str(error):
            raise StoreError(_busy(part)) from None
        return None  # killed while it was laid out: no row was written yet


def _continues(
    file: h5py.File, n: int, layers: Mapping[str, LayerSpec], provenance: Mapping[str, Any]
) -> bool:
    """Whether the unfinished file holds rows of this harvest; False if it was never laid out.

    Raises:
        StoreError: it is of another harvest.
    """
    try:
        before = dict(json.loads(text_of(file, "provenance")))
        int(file["progress"][()])
        if int(file.attrs["format_version"]) != FORMAT_VERSION:
            return False
    except DAMAGE:
        return False
    now = json.loads(json.dumps(provenance))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        name = file.filename
        file.close()
        raise StoreError(
            f"{name} was begun with {changed[0]} = {before.get(changed[0])!r}, now it is "
            f"{now.get(changed[0])!r}; pass --overwrite to begin anew"
        )
    begun = {address_of(key, each): each.shape for key, each in file["layers"].items()}
    if begun != {address: (n, *spec.shape) for address, spec in layers.items()}:
        name = file.filename
        file.close()
        raise StoreError(
            f"{name} was begun with other layers: {', '.join(begun)}; pass --overwrite to begin "
            "anew"
        )
    return True


def _create(
    part: Path,
    n: int,
    layers: Mapping[str, LayerSpec],
    labelled: bool,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> h5py.File:
    if part.exists():
        part.unlink()  # _open_part has seen that nobody holds it
    file = h5py.File(
        part,
        "x",
        rdcc_nbytes=0,
        alignment_threshold=CHUNK_BYTES // 2,
        alignment_interval=ALIGNMENT,
    )
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["complete"] = False
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    file.create_dataset("progress", data=np.int64(0))
    _allocate(file, "example_ids", (n,), f"S{ID_BYTES}")
    file["example_ids"].attrs["encoding"] = "utf-8"
    if labelled:
        _allocate(file, "labels", (n,), "int64")
    group, sums = file.create_group("layers"), file.create_group("checksums/layers")
    file["checksums"].attrs["algorithm"] = ALGORITHM
    file["checksums"].attrs["header"] = np.uint64(0)
    for order, (address, spec) in enumerate(layers.items()):
        dataset = _allocate(group, key_of(address), (n, *spec.shape), spec.dtype)
        dataset.attrs["order"] = order
        dataset.attrs["module"] = spec.module
        dataset.attrs["axes"] = axes(1 + len(spec.shape))
        if key_of(address) != address:
            dataset.attrs["address"] = address
        block = dataset.chunks[0]
        held = _allocate(sums, key_of(address), (-(-n // block),), "uint64")
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


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
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


def _compress(file: h5py.File, path: Path, compression: str) -> None:
    """A compressed copy of a whole store at ``path``.

    Raises:
        StoreError: the disk has no room for it; the whole store stays where it was.
    """
    temporary = Path(f"{path}.compressing")  # the same every time: a killed one leaves no litter
    try:
        with h5py.File(temporary, "w", rdcc_nbytes=0) as copy:
            _copy_compressed(file, copy, compression)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be compressed ({error}); {file.filename} is whole: make room beside it "
            "and pass --resume, or leave out the compression"
        ) from error
    os.replace(temporary, path)


def _copy_compressed(file: h5py.File, copy: h5py.File, compression: str) -> None:
    for key, value in file.attrs.items():
        copy.attrs[key] = value
    for name in file:
        if name != "layers":
            file.copy(name, copy)
    group = copy.create_group("layers")
    for name, dataset in file["layers"].items():
        options = dataset.id.get_create_plist()
        options.set_alloc_time(h5py.h5d.ALLOC_TIME_INCR)
        options.set_obj_track_times(False)
        options.set_shuffle()
        if compression == "gzip":
            options.set_deflate(4)
        else:
            options.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL)
        kind, space = dataset.id.get_type(), h5py.h5s.create_simple(dataset.shape)
        h5py.h5d.create(group.id, name.encode(), kind, space, options)
        for key, value in dataset.attrs.items():
            group[name].attrs[key] = value
        for start in range(0, len(dataset), dataset.chunks[0]):
            stop = min(start + dataset.chunks[0], len(dataset))
            write_rows(group[name], start, raw_rows(dataset, start, stop))
