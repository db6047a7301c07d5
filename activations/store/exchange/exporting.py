"""Layers of a store as NumPy files, and all that goes with them as a folder."""

from __future__ import annotations

import filecmp
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from repsim.activations.store.changes import changed_keys, differing
from repsim.activations.store.exchange.blocks import blocks
from repsim.activations.store.exchange.files import RECORD
from repsim.activations.store.format import BINARY, CLASS
from repsim.activations.store.parts import JoinedStore
from repsim.activations.store.reader import ActivationStore
from repsim.errors import UsageError, few
from repsim.files import atomic_path, publish, refuse_existing
from repsim.layers import select_layers
from repsim.progress import Progress, notebook_bar
from repsim.reading import DAMAGE, read_json, reason_of
from repsim.space import check_size, within_limit

#: Bytes before the numbers of a NumPy file.
_HEADER = 128


def export_layers(
    store: ActivationStore | JoinedStore,
    target: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    overwrite: bool = False,
    keep: bool = False,
    progress: Progress = notebook_bar,
) -> list[Path]:
    """Write layers as NumPy files, block by block; returns the files.

    A folder gets ``layers/LAYER.npy``, in whose names all but letters, digits and ``_.-~`` is
    percent-encoded, ``ids.txt``, ``labels.npy``, ``targets/NAME.npy`` of all targets,
    ``inputs.npy`` and ``order.npy`` where the store has them, and ``provenance.json``, which also
    lists layers and targets in order. It appears when it is whole, and ``import_activations`` reads
    it back.

    Args:
        store: an open store. bfloat16 rows are written as float32.
        target: the folder, or a ``.npy`` file for one layer alone.
        layers: which; by default all.
        overwrite: replace an earlier export.
        keep: leave an earlier export of the same as it is; all files are compared.
        progress: told the rows done, over all layers.

    Raises:
        UsageError: ``target`` exists, or is an export of something else where it is to be kept; or
            it is a file and several layers were chosen.
    """
    target = Path(target)
    aside = target.with_name(f".{target.name}.replaced")
    if aside.exists() and not target.exists():  # a process was killed as it replaced this
        aside.rename(target)
    chosen = select_layers(store.layers, layers, of=store.name)
    if target.suffix == ".npy":
        if len(chosen) > 1:
            raise UsageError(
                f"{target} holds one layer, {len(chosen)} were chosen; name one, or a folder"
            )
        return [_export_file(store, chosen[0], target, overwrite, keep, progress)]
    _check_sizes(store, chosen, target)
    there = keep and not overwrite and (target / RECORD).is_file()
    if not there:
        refuse_existing(target, overwrite)
    if target.exists() and not (target / RECORD).is_file():
        raise UsageError(f"{target} is no earlier export; name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as made:
        folder = Path(made) / "export"
        with within_limit(target):
            _write_folder(store, chosen, folder, progress)
        if there:
            _check_same(target, folder)
            return _files(target)
        shutil.rmtree(aside, ignore_errors=True)
        if target.exists():
            target.rename(aside)
        publish(folder, target)
        shutil.rmtree(aside, ignore_errors=True)
    return _files(target)


def _export_file(
    store: ActivationStore | JoinedStore,
    layer: str,
    target: Path,
    overwrite: bool,
    keep: bool,
    progress: Progress,
) -> Path:
    """Write one layer as a file; its path."""
    _check_sizes(store, [layer], target)

    def write(path: Path) -> None:
        _write_npy(store, layer, path, lambda stop: progress(stop, store.n, layer))

    if keep and not overwrite and target.is_file():
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as made:
            write(Path(made) / "layer.npy")
            if not filecmp.cmp(Path(made) / "layer.npy", target, shallow=False):
                raise _other(target, "its values differ")
        return target
    refuse_existing(target, overwrite)
    with atomic_path(target) as temporary:
        write(temporary)
    return target


def _check_sizes(store: ActivationStore | JoinedStore, chosen: Sequence[str], target: Path) -> None:
    """Raise ``StoreError`` if the file of a layer would be larger than files may be."""
    for layer in chosen:
        rows = store[layer]
        size = _HEADER + math.prod(rows.shape) * rows.dtype.itemsize
        check_size(target, size, f", or leave out layer {layer!r}")


def _check_same(before: Path, now: Path) -> None:
    """Raise ``UsageError`` unless two exports have the same files; what differs is named."""
    try:
        texts = [read_json(each / RECORD) for each in (before, now)]
        old, new = (dict(each["provenance"]) for each in texts)
    except DAMAGE as error:
        raise _other(before, f"its {RECORD} cannot be read ({reason_of(error)})") from error
    changed = changed_keys(old, new, old.keys() | new.keys())
    if changed:
        raise _other(before, differing(changed, old, new))
    names = [{str(path.relative_to(each)) for path in _files(each)} for each in (before, now)]
    odd = sorted(names[0] ^ names[1]) or [
        name
        for name in sorted(names[0])
        if not filecmp.cmp(before / name, now / name, shallow=False)
    ]
    if odd:
        raise _other(before, f"{few(odd)} differ")


def _other(target: Path, how: str) -> UsageError:
    return UsageError(
        f"{target} exists already, of another export: {how}; choose another name or pass "
        "--overwrite"
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_folder(
    store: ActivationStore | JoinedStore, chosen: Sequence[str], folder: Path, progress: Progress
) -> None:
    (folder / "layers").mkdir(parents=True)
    records = {each["layer"]: each for each in store.describe()}
    listed = []
    for k, layer in enumerate(chosen):
        file = f"layers/{_file_name(layer)}.npy"

        def report(stop: int, k: int = k, layer: str = layer) -> None:
            progress(k * store.n + stop, store.n * len(chosen), layer)

        _write_npy(store, layer, folder / file, report)
        record = records[layer]
        listed.append({"file": file, **{key: record[key] for key in ("layer", "module", "axes")}})
    (folder / "ids.txt").write_text(
        "".join(f"{each}\n" for each in id_texts(store)), encoding="utf-8"
    )
    told = {
        "provenance": store.provenance(),
        "layers": listed,
        "targets": _write_targets(store, folder),
        "labels": store.target,
    }
    for name, numbers in (("inputs", store.inputs), ("order", store.order)):
        if numbers is not None:
            np.save(folder / f"{name}.npy", numbers)
    (folder / RECORD).write_text(json.dumps(told, indent=1), encoding="utf-8")


def _write_targets(store: ActivationStore | JoinedStore, folder: Path) -> list[dict[str, Any]]:
    """A file of each target, and one of the labels; returns their list."""
    records = []
    for target in store.targets:
        file = f"targets/{_file_name(target.name)}.npy"
        (folder / file).parent.mkdir(exist_ok=True)
        np.save(folder / file, target.values.numpy())
        if target.name == store.target and target.is_class:
            np.save(folder / "labels.npy", target.values.numpy())
        kind = CLASS if target.is_class else BINARY
        records.append({"name": target.name, "kind": kind, "classes": target.classes, "file": file})
    return records


def _write_npy(
    store: ActivationStore | JoinedStore, layer: str, path: Path, report: Callable[[int], None]
) -> None:
    rows = store[layer]
    kind = np.lib.format.dtype_to_descr(rows.dtype)
    header = {"descr": kind, "fortran_order": False, "shape": rows.shape}
    with open(path, "wb") as stream:  # into a mapped file a full disk would be a bus error
        np.lib.format.write_array_header_1_0(stream, header)
        for start, stop in blocks(store.n, rows[:1].nbytes):
            stream.write(np.ascontiguousarray(rows[start:stop]).data)
            report(stop)


def _file_name(layer: str) -> str:
    """A file name for any address; long ones end with a hash."""
    name = quote(layer, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > 200:
        name = f"{name[:180]}-{hashlib.sha256(layer.encode()).hexdigest()[:16]}"
    return name


def id_texts(store: ActivationStore | JoinedStore) -> list[str]:
    """The ids of the examples as text."""
    return [each.decode() for each in store.example_ids.tolist()]
