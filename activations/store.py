"""The activation store: one HDF5 file, described in docs/format.md.

All space is allocated when the file is made and nothing but rows is written afterwards. A process
killed at any moment therefore leaves a sound file in which ``/progress`` says how many rows hold.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repsim.activations.pooling import axes
from repsim.errors import StoreError, UsageError, choices

FORMAT = "repsim-activations"
FORMAT_VERSION = 1

#: Size a chunk of a layer aims at: large enough to read fast, small enough to read in parts.
CHUNK_BYTES = 1 << 20

#: Room for an example id, in UTF-8 bytes.
ID_BYTES = 128


class ActivationStore:
    """A harvested file, open for reading; an ``ActivationSource`` that closes with its block.

    ``store["stem"][100:200]`` reads rows of a layer as a NumPy array.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str | None = None) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            if not self._file.attrs.get("complete", False):
                raise StoreError(
                    f"{self.path} is not whole: its harvest did not end, or it is damaged"
                )
            self._layers = tuple(
                sorted(
                    self._file["layers"], key=lambda key: self._file["layers"][key].attrs["order"]
                )
            )
            self._ids = self._file["example_ids"][:]
            self._name = str(name or self.provenance().get("network") or self.path.stem)
            self._check()
        except StoreError:
            self._file.close()
            raise
        except (LookupError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            self._file.close()
            raise StoreError(f"{self.path} is damaged: {error}") from error

    def _check(self) -> None:
        if not self._layers:
            raise StoreError(f"{self.path} is damaged: it has no layers")
        for layer in self._layers:
            dataset = self._file["layers"][layer]
            if dataset.ndim < 2 or dataset.dtype.kind not in "fiu":
                raise StoreError(
                    f"{self.path} is damaged: layer {layer!r} is {dataset.dtype} of shape "
                    f"{dataset.shape}; expected numbers (n, ...)"
                )
            if len(self._file["layers"][layer]) != len(self._ids):
                raise StoreError(
                    f"{self.path} is damaged: layer {layer!r} has "
                    f"{len(self._file['layers'][layer])} rows for {len(self._ids)} examples"
                )

    @property
    def name(self) -> str:
        return self._name

    @property
    def layers(self) -> tuple[str, ...]:
        return self._layers

    @property
    def n(self) -> int:
        return len(self._ids)

    @property
    def example_ids(self) -> np.ndarray:
        return self._ids

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) int64 class of each example, or None."""
        return self._file["labels"][:] if "labels" in self._file else None

    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """Linear heads by address: ``weight``, ``bias`` (or None) and ``input``, the layer fed."""
        return {
            name: {
                "weight": group["weight"][:],
                "bias": group["bias"][:] if "bias" in group else None,
                "input": group.attrs["input"],
            }
            for name, group in self._file.get("heads", {}).items()
        }

    def __getitem__(self, layer: str) -> h5py.Dataset:
        if layer not in self._layers:
            raise UsageError(f"{self.name} has no layer {layer!r}; {choices(layer, self._layers)}")
        return self._file["layers"][layer]

    def rows(self, layer: str, start: int, stop: int) -> np.ndarray:
        try:
            return self[layer][start:stop]
        except OSError as error:
            raise StoreError(f"{self.path}, layer {layer!r}: cannot be read: {error}") from error

    def provenance(self) -> dict[str, Any]:
        return json.loads(self._file.attrs["provenance"])

    def describe(self) -> list[dict[str, Any]]:
        """A record a layer: address, module, shape, dtype, bytes."""
        records = []
        for layer in self._layers:
            dataset = self[layer]
            records.append(
                {
                    "layer": layer,
                    "module": dataset.attrs.get("module", ""),
                    "shape": tuple(int(size) for size in dataset.shape),
                    "axes": dataset.attrs.get("axes", ""),
                    "dtype": str(dataset.dtype),
                    "bytes": int(dataset.nbytes),
                }
            )
        return records

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def __enter__(self) -> ActivationStore:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ActivationStore({str(self.path)!r}, n={self.n}, layers={len(self._layers)})"


def open_store(path: str | os.PathLike[str]) -> ActivationStore:
    """Open an activation store for reading.

    Raises:
        StoreError: absent, unfinished, damaged, or not a store.
    """
    return ActivationStore(path)


def part_path(path: str | os.PathLike[str]) -> Path:
    """Where a store lies until it is whole."""
    return Path(f"{os.fspath(path)}.part")


@contextmanager
def write_store(
    path: str | os.PathLike[str],
    *,
    n: int,
    layers: Mapping[str, tuple[str, tuple[int, ...], str]],
    labelled: bool,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    resume: bool,
) -> Iterator[StoreWriter]:
    """A writer of a new store, or of the rest of an unfinished one with ``resume``.

    The file takes its name when all rows are there; until then it is ``PATH.part``, and stays so
    if the block is left early.

    Args:
        path: of the store.
        n: examples.
        layers: address to (module type, shape of one example, dtype), in order of execution.
        labelled: whether labels will come.
        heads: address to ``weight``, ``bias`` and ``input``.
        provenance: JSON values; a harvest resumes only what has the same.
        resume: continue the unfinished file, if there is one.

    Raises:
        StoreError: the disk has no room, or the unfinished file is of another harvest.
    """
    part = part_path(path)
    part.parent.mkdir(parents=True, exist_ok=True)
    file = _open_part(part)
    if file is not None and not (resume and _continues(file, provenance)):
        file.close()
        file = None
    if file is None:
        _check_space(part, n, layers)
        file = _create(part, n, layers, labelled, heads, provenance)
    with file:
        writer = StoreWriter(file)
        yield writer
        if writer.done != n:
            raise StoreError(f"{path}: {writer.done} of {n} examples arrived; it stays unfinished")
        file.attrs["complete"] = True
    os.replace(part, path)


class StoreWriter:
    """Appends rows to a store and commits them."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self.done = int(file["progress"][()])

    def append(
        self,
        activations: Mapping[str, np.ndarray],
        ids: Sequence[str],
        labels: np.ndarray | None,
    ) -> None:
        """Write one batch at the end of what is committed, and commit it."""
        rows = slice(self.done, self.done + len(ids))
        if rows.stop > len(self._file["example_ids"]):
            raise StoreError(f"more than the {len(self._file['example_ids'])} examples expected")
        for layer, values in activations.items():
            self._file["layers"][layer][rows] = values
        self._file["example_ids"][rows] = [_encoded(each) for each in ids]
        if labels is not None:
            self._file["labels"][rows] = labels
        self._file.flush()
        self.done = rows.stop
        self._file["progress"][()] = self.done
        self._file.flush()


def _encoded(example_id: str) -> bytes:
    encoded = example_id.encode()
    if len(encoded) > ID_BYTES:
        raise StoreError(f"example id {example_id!r} is longer than {ID_BYTES} bytes")
    return encoded


def _create(
    part: Path,
    n: int,
    layers: Mapping[str, tuple[str, tuple[int, ...], str]],
    labelled: bool,
    heads: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> h5py.File:
    if part.exists():
        part.unlink()  # _open_part has seen that nobody holds it
    file = h5py.File(part, "x")
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["complete"] = False
    file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    file.create_dataset("progress", data=np.int64(0))
    _allocate(file, "example_ids", (n,), f"S{ID_BYTES}")
    file["example_ids"].attrs["encoding"] = "utf-8"
    if labelled:
        _allocate(file, "labels", (n,), "int64")
    group = file.create_group("layers")
    for order, (address, (module, shape, dtype)) in enumerate(layers.items()):
        dataset = _allocate(group, address, (n, *shape), dtype)
        dataset.attrs["order"] = order
        dataset.attrs["module"] = module
        dataset.attrs["axes"] = axes(1 + len(shape))
    for address, head in heads.items():
        held = file.create_group(f"heads/{address}")
        held.attrs["input"] = head["input"]
        held["weight"] = head["weight"]
        if head.get("bias") is not None:
            held["bias"] = head["bias"]
    file.flush()
    return file


def _allocate(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """A dataset, chunked by rows, whose chunks all have their place in the file from the start."""
    row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize)
    chunk = (max(1, min(shape[0], CHUNK_BYTES // row)), *shape[1:])
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(chunk)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    creation.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(np.dtype(dtype), logical=True)
    h5py.h5d.create(group.id, name.encode(), kind, space, creation)
    return group[name]


def _open_part(part: Path) -> h5py.File | None:
    """The unfinished file, open for writing; None where there is none that can be read.

    Raises:
        StoreError: another process writes it.
    """
    if not part.is_file():
        return None
    try:
        return h5py.File(part, "r+")
    except OSError as error:
        if "unable to lock file" in str(error):
            raise StoreError(
                f"{part} is being written by another process; wait for it or stop it"
            ) from None
        return None  # killed while it was laid out: no row was written yet


def _continues(file: h5py.File, provenance: Mapping[str, Any]) -> bool:
    """Whether the unfinished file holds rows of this harvest; False if it was never laid out.

    Raises:
        StoreError: it is of another harvest.
    """
    try:
        before = json.loads(file.attrs["provenance"])
        int(file["progress"][()])
    except (OSError, KeyError, ValueError):
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
    return True


def _check_space(
    part: Path, n: int, layers: Mapping[str, tuple[str, tuple[int, ...], str]]
) -> None:
    need = n * sum(
        int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        for _, shape, dtype in layers.values()
    )
    free = shutil.disk_usage(part.parent).free
    if need > free:
        raise StoreError(
            f"{part.parent} has {free / 1e6:,.0f} MB free, the store needs {need / 1e6:,.0f} MB; "
            "choose fewer layers or examples, or pass --pooling avg"
        )


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        hint = "; its harvest is not finished, continue it with --resume"
        raise StoreError(
            f"there is no activation store {path}{hint if part_path(path).is_file() else ''}"
        )
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise StoreError(f"{path} is not an HDF5 file, or cut short ({error})") from error
    if str(file.attrs.get("format")) != FORMAT:
        file.close()
        raise StoreError(f"{path} is an HDF5 file, but not an activation store of repsim")
    version = file.attrs.get("format_version", 0)
    if not isinstance(version, (int, np.integer)) or version > FORMAT_VERSION:
        file.close()
        raise StoreError(
            f"{path} has format version {version}; this repsim reads up to {FORMAT_VERSION}"
        )
    return file
