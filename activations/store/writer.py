"""Writing activation stores.

All space is allocated when the file is made and nothing but rows is written afterwards. A process
killed at any moment therefore leaves a sound file in which ``/progress`` says how many rows hold.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repsim.activations.store.blocks import is_bfloat16, raw_rows, write_rows
from repsim.activations.store.checksums import Checksum, header_checksum
from repsim.activations.store.compression import compress, compressing_path
from repsim.activations.store.direct_io import open_direct
from repsim.activations.store.format import (
    CHUNK_BYTES,
    ID_BYTES,
    IDS_ALONE,
    ExampleRows,
    ExampleSpec,
    LayerSpec,
    address_of,
    key_of,
    part_path,
    unfit_name,
)
from repsim.activations.store.hdf5_files import busy
from repsim.activations.store.layout import create_file
from repsim.activations.store.opening import is_whole
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.unfinished import continues, open_part
from repsim.errors import StoreError, UsageError
from repsim.files import exclusive, publish
from repsim.space import check_size


@contextmanager
def write_store(
    path: str | os.PathLike[str],
    *,
    n: int,
    layers: Mapping[str, LayerSpec],
    examples: ExampleSpec = IDS_ALONE,
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
        examples: what will come with the ids of the examples.
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
    if (unfit := unfit_name(each.name for each in examples.targets)) is not None:
        raise StoreError(f"a target cannot be called {unfit!r}; give it another name")
    part = part_path(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    with (
        _only_writer(part),
        _unfinished(part, n, layers, examples, heads, provenance, resume) as file,
    ):
        with closing(StoreWriter(file)) as writer:
            yield writer
        if writer.done != n:
            raise StoreError(f"{path}: {writer.done} of {n} examples arrived; it stays unfinished")
        if not file.attrs["complete"]:
            file["checksums"].attrs["header"] = np.uint64(header_checksum(file))
            file.attrs["complete"] = True
        if compression != "none":
            compress(file, Path(path), compression)
            part.unlink()
        else:
            file.close()  # what HDF5 holds back is lost with the process
            publish(part, path)


def remove_left(path: Path) -> None:
    """Remove the files that a process left which was killed as it compressed a store."""
    part = part_path(path)
    if part.is_file() or compressing_path(path).is_file():
        with _only_writer(part):
            file = open_part(part)
            whole = file is not None and is_whole(file)
            if file is not None:
                file.close()
            if whole:
                part.unlink()
            compressing_path(path).unlink(missing_ok=True)


@contextmanager
def _only_writer(part: Path) -> Iterator[None]:
    """Raise ``StoreError`` if another process writes the file, from its first moment on."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(part.with_name(f".{part.name}.lock"), busy(part)))
        except UsageError as error:
            raise StoreError(str(error)) from None
        yield


def _unfinished(
    part: Path,
    n: int,
    layers: Mapping[str, LayerSpec],
    examples: ExampleSpec,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    resume: bool,
) -> h5py.File:
    """The unfinished file, open for writing: that of before, or a new one."""
    _check_limit(part, n, layers, heads)
    file = open_part(part)
    if file is not None and not (resume and continues(file, n, layers, examples, provenance)):
        file.close()
        file = None
    if file is None:
        check_space(part, n, layers)
        file = create_file(part, n, layers, examples, heads, provenance)
    return file


#: Ways to a smaller store.
_SMALLER = "choose fewer layers or examples, --pooling avg, or --dtype float16"


def check_space(path: Path, n: int, layers: Mapping[str, LayerSpec]) -> None:
    """Raise ``StoreError`` if the disk of ``path`` cannot hold ``n`` rows of the layers.

    Or if a file may not be as large.
    """
    _check_limit(path, n, layers, {})
    folder = next(each for each in path.absolute().parents if each.is_dir())
    need, free = _rows_bytes(n, layers), shutil.disk_usage(folder).free
    if need > free:
        raise StoreError(
            f"{folder} has {free / 1e6:,.0f} MB free, the store needs {need / 1e6:,.0f} MB; "
            f"{_SMALLER}"
        )


def _rows_bytes(n: int, layers: Mapping[str, LayerSpec]) -> int:
    """Bytes of the rows of all layers and of the ids."""
    return n * (ID_BYTES + sum(spec.row_bytes for spec in layers.values()))


#: Bytes beside rows, ids and heads: tables of HDF5, labels and digests of an example, and the
#: filling up of blocks to whole pages, as a share.
_TABLES, _EXAMPLE, _PAGES = 1 << 18, 24, 1 / 200


def _check_limit(
    path: Path, n: int, layers: Mapping[str, LayerSpec], heads: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise ``StoreError`` if a file may not be as large as the store.

    Before HDF5 writes: it ends in a segmentation fault when it closes a file that the system let
    grow no more.
    """
    beside = _TABLES + _EXAMPLE * n + sum(head["weight"].nbytes for head in heads.values())
    check_size(path, _rows_bytes(n, layers) * (1 + _PAGES) + beside, f", or {_SMALLER}")


class StoreWriter:
    """Appends rows to a store and commits them."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.path = Path(file.filename)
        self._layers = {address_of(key, each): each for key, each in file["layers"].items()}
        self._targets = {
            address_of(key, each): each for key, each in file.get("targets", {}).items()
        }
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
        step = max(1, CHUNK_BYTES // (ID_BYTES + 8))
        for start in range(0, store.n, step):
            stop = min(start + step, store.n)
            for layer, written in self._layers.items():
                (dataset,), block = store[layer].parts, written.chunks[0]
                for at in range(start, stop, block):
                    self.write(layer, raw_rows(dataset, at, min(at + block, stop)))
            self.commit(self._only_mine(store.examples(start, stop)))

    def check(self, ids: Sequence[str], inputs: np.ndarray, start: int) -> None:
        """Check the rows from ``start`` on, long written, against what a loader gives for them now.

        Args:
            ids: of the rows.
            inputs: digests of the inputs of the rows, (rows,).
            start: first row.

        Raises:
            StoreError: they have other ids or inputs.
        """
        rows = slice(start, start + len(ids))
        for row, (given, stored) in enumerate(
            zip(ids, self._file["example_ids"][rows], strict=True), start
        ):
            if given.encode(errors="surrogateescape") != stored:
                raise StoreError(
                    f"row {row} of {self._file.filename} was harvested as {stored.decode()!r}, "
                    f"the loader now gives {given!r}",
                    "pass --overwrite, or a loader with the order of before",
                )
        differ = np.flatnonzero(self._file["inputs"][rows] != inputs)
        if differ.size:
            raise StoreError(
                f"{self.path.absolute()}: row {start + differ[0]} was harvested from other inputs "
                f"than the loader now gives for {ids[differ[0]]!r}; pass --overwrite, or a loader "
                "with the examples and preprocessing of before"
            )

    def commit(self, examples: ExampleRows) -> None:
        """Make the rows that every layer has got part of the file, with their examples."""
        rows = slice(self.done, self.done + len(examples.ids))
        for layer, checksum in self._checksums.items():
            if checksum.row != rows.stop:
                raise StoreError(
                    f"layer {layer!r} gave {checksum.row - rows.start} rows for "
                    f"{len(examples.ids)} examples"
                )
        self._file["example_ids"][rows] = [_encoded(each) for each in examples.ids]
        for name, values in examples.targets.items():
            self._targets[name][rows] = values
        for name, numbers in (("inputs", examples.inputs), ("order", examples.order)):
            if numbers is not None:
                self._file[name][rows] = numbers
        for checksum in self._checksums.values():
            checksum.save()
        self._file.flush()
        self.done = rows.stop
        self._file["progress"][()] = self.done
        self._file.flush()

    def _only_mine(self, examples: ExampleRows) -> ExampleRows:
        """Examples of another store without the records that this one does not keep."""
        return replace(
            examples,
            targets={name: examples.targets[name] for name in self._targets},
            inputs=examples.inputs if "inputs" in self._file else None,
            order=examples.order if "order" in self._file else None,
        )

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
        raise StoreError(
            f"example id {example_id!r} is no UTF-8; give the file another name"
        ) from None
    if not encoded or encoded.endswith(b"\0"):  # a fixed-length text is padded with zeros
        raise StoreError(f"example id {example_id!r} is empty, or ends with a zero byte")
    if len(encoded) > ID_BYTES:
        raise StoreError(f"example id {example_id!r} is longer than {ID_BYTES} bytes")
    return encoded
