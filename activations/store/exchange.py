"""Activations that other programs made, as a store; and stores as what other programs read."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch

from repsim._version import __version__
from repsim.activations.store.format import (
    BINARY,
    CLASS,
    ExampleRows,
    ExampleSpec,
    LayerSpec,
    TargetSpec,
    part_path,
)
from repsim.activations.store.parts import JoinedStore
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.writer import write_store
from repsim.data.targets import LABEL
from repsim.errors import NonFiniteError, ShapeError, StoreError, UsageError, choices
from repsim.files import atomic_path, refuse_existing
from repsim.layers import select_layers
from repsim.npy import member_names, open_npy, read_header
from repsim.progress import Progress, silent
from repsim.sources import as_numbers

#: Bytes of a layer that are held at a time.
BLOCK_BYTES = 4 << 20

#: Names of arrays beside layers in a file of several, and how those of targets begin.
_ABOUT = ("ids", "labels")
_TARGET = "target_"

#: The file by which a folder is known as an export.
_RECORD = "provenance.json"


@dataclass(frozen=True)
class _Incoming:
    """A layer on its way into a store.

    Attributes:
        shape: (n, ...).
        dtype: as ``LayerSpec`` names it.
        read: gives rows start to stop; called in order, from the first row to the last.
        module: class of the module, where an export said it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int, int], Any]
    module: str = ""


@dataclass
class _Found:
    """The content of the sources.

    Attributes:
        layers: by address.
        ids: names of the examples, or None.
        targets: values by name.
        classes: names of the classes of some targets.
        inputs: digests of the inputs, or None.
        order: places in the data set of a loader, or None.
        provenance: of an export.
        labels: name of the target that readers take as labels; empty for the first.
    """

    layers: dict[str, _Incoming]
    ids: Any = None
    targets: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: np.ndarray | None = None
    order: np.ndarray | None = None
    provenance: Mapping[str, Any] | None = None
    labels: str = ""


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
    progress: Progress = silent,
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
        labels: (n,) classes, integers from 0, or a ``.npy`` or text file, which become the target
            ``label``; by default those of the sources, if any.
        layers: which to take, as for ``harvest``; by default all, in the order given.
        name: of the network; by default the store's file name.
        provenance: what to record about the network and the data; JSON values.
        overwrite: replace an existing store.
        progress: told the rows done, over all layers.

    Raises:
        UsageError: no numbers, a file of another kind, a layer or an id that comes twice.
        ShapeError: layers of different n, or ids or labels of another n.
        NonFiniteError: NaN or infinity.
        StoreError: a source that cannot be read, or no room.
    """
    refuse_existing(path, overwrite)
    if part_path(path).is_file() and not overwrite:
        raise UsageError(f"{path} has an unfinished harvest; choose another name or --overwrite")
    with ExitStack() as opened:
        found = _gather(sources, opened)
        chosen = select_layers(found.layers, layers, of="what was given")
        taken = {layer: found.layers[layer] for layer in chosen}
        n = _check_shapes(taken)
        # Only what the caller gave may be the path of a file, never what a file holds.
        ids = _lines_of(Path(ids)) if _is_path(ids) else ids
        labels = _labels_of(Path(labels)) if _is_path(labels) else labels
        names = _ids(found.ids if ids is None else ids, n)
        if labels is not None:
            found.targets = {
                LABEL: labels,
                **{k: v for k, v in found.targets.items() if k != LABEL},
            }
            found.labels = LABEL
        examples = _examples(found, names, n)
        recorded = {
            **(found.provenance or {}),
            "repsim": __version__,
            "imported": _origin(sources),
            "n": n,
            **({"network": name} if name else {}),
            **(provenance or {}),
        }
        opened.callback(part_path(path).unlink, missing_ok=True)  # an import is not resumed
        with write_store(
            path,
            n=n,
            layers={k: LayerSpec(v.module, v.shape[1:], v.dtype) for k, v in taken.items()},
            examples=_described(found, examples),
            heads={},
            provenance=recorded,
            resume=False,
        ) as writer:
            for k, (layer, incoming) in enumerate(taken.items()):
                for start, stop in _blocks(incoming):
                    writer.write(layer, _as_stored(incoming, start, stop, layer))
                    progress(k * n + stop, n * len(taken), layer)
            writer.commit(examples)
    return ActivationStore(path)


def export_layers(
    store: ActivationStore | JoinedStore,
    target: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
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
        progress: told the rows done, over all layers.

    Raises:
        UsageError: ``target`` exists, or is a file and several layers were chosen.
    """
    target = Path(target)
    refuse_existing(target, overwrite)
    chosen = select_layers(store.layers, layers, of=store.name)
    if target.suffix == ".npy":
        if len(chosen) > 1:
            raise UsageError(
                f"{target} holds one layer, {len(chosen)} were chosen; name one, or a folder"
            )
        with atomic_path(target) as temporary:
            _write_npy(store, chosen[0], temporary, lambda stop: progress(stop, store.n, chosen[0]))
        return [target]
    if target.exists() and not (target / _RECORD).is_file():
        raise UsageError(f"{target} is no earlier export; name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as made:
        folder = Path(made) / "export"
        _write_folder(store, chosen, folder, progress)
        if target.exists():
            os.replace(target, Path(made) / "replaced")
        os.replace(folder, target)
    return sorted(path for path in target.rglob("*") if path.is_file())


def to_xarray(
    store: ActivationStore | JoinedStore, layers: str | Sequence[str] | None = None
) -> Any:
    """Layers as an ``xarray.Dataset``, read whole into memory.

    Dimensions are called as the store's axes say, such as ``channel``; an axis on which layers
    differ is called ``LAYER.channel``. ``example`` has the ids as its coordinate, and each target,
    such as ``label``, is one too. ``attrs["provenance"]`` is JSON.

    Raises:
        UsageError: xarray is not installed.
    """
    xarray = _library("xarray", "to_xarray")
    chosen = select_layers(store.layers, layers, of=store.name)
    records = {each["layer"]: each for each in store.describe() if each["layer"] in chosen}
    sizes: dict[str, set[int]] = {}
    for record in records.values():
        for axis, size in zip(record["axes"].split(","), record["shape"], strict=True):
            sizes.setdefault(axis, set()).add(size)
    variables = {}
    for layer in chosen:
        axes = records[layer]["axes"].split(",")
        dims = [axis if len(sizes[axis]) == 1 else f"{layer}.{axis}" for axis in axes]
        variables[layer] = (dims, store[layer][:])
    coords: dict[str, Any] = {"example": _texts(store)}
    for target in store.targets:
        columns = () if target.is_class else (f"{target.name}.column",)
        coords[target.name] = (("example", *columns), target.values.numpy())
    attrs = {"network": store.name, "provenance": json.dumps(store.provenance())}
    return xarray.Dataset(variables, coords=coords, attrs=attrs)


def to_dataframe(store: ActivationStore | JoinedStore, layer: str) -> Any:
    """A layer as a ``pandas.DataFrame``: a row an example, named by its id; a column a feature.

    Layers of more than one axis get columns of a ``MultiIndex`` with the names of the axes.

    Raises:
        UsageError: pandas is not installed, or there is no such layer.
    """
    pandas = _library("pandas", "to_dataframe")
    rows = store[layer][:]
    record = next(each for each in store.describe() if each["layer"] == layer)
    names, sizes = record["axes"].split(",")[1:], rows.shape[1:]
    columns = (
        pandas.RangeIndex(sizes[0], name=names[0])
        if len(sizes) == 1
        else pandas.MultiIndex.from_product([range(size) for size in sizes], names=names)
    )
    index = pandas.Index(_texts(store), name="example")
    return pandas.DataFrame(rows.reshape(len(rows), -1), index=index, columns=columns)


# What comes in


def _gather(sources: Any, opened: ExitStack) -> _Found:
    if isinstance(sources, Mapping):
        return _Found({str(k): _one(v, str(k), opened) for k, v in sources.items()})
    paths = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    found = _Found({})
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


def _one(value: Any, layer: str, opened: ExitStack) -> _Incoming:
    """A layer from an array, a tensor, or a file of one array."""
    if not isinstance(value, (str, os.PathLike)):
        return _from_array(value, layer)
    found = _read_file(Path(value), opened).layers
    if len(found) != 1:
        raise UsageError(f"{value} has {len(found)} layers; expected one, to be called {layer!r}")
    return next(iter(found.values()))


def _read_file(path: Path, opened: ExitStack) -> _Found:
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
        raise UsageError(f"{path}: unknown kind of file; {choices(path.suffix, readers)}")
    try:
        return readers[path.suffix](path, opened)
    except FileNotFoundError:
        raise StoreError(f"there is no file {path}") from None
    except pickle.UnpicklingError:
        raise StoreError(
            f"{path} holds more than tensors, which could run code; save a tensor, or a dict of "
            "them, with torch.save"
        ) from None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _read_npy(path: Path, opened: ExitStack) -> _Found:
    return _Found({path.stem: _from_array(open_npy(path), path.stem)})


def _read_npz(path: Path, opened: ExitStack) -> _Found:
    archive = opened.enter_context(zipfile.ZipFile(path))
    names = member_names(archive)
    with np.load(path) as arrays:
        extra = {name: arrays[name] for name in names if _is_about(name)}
    layers = {
        name: _from_member(archive, f"{name}.npy", name, opened)
        for name in names
        if not _is_about(name)
    }
    return _with_examples(layers, extra)


def _from_member(archive: zipfile.ZipFile, member: str, layer: str, opened: ExitStack) -> _Incoming:
    """An array of an archive, unpacked as it is read: it may be larger than memory."""
    stream = opened.enter_context(archive.open(member))
    shape, fortran, dtype = read_header(stream)
    as_numbers(np.empty(0, dtype), layer)
    if fortran:
        return _from_array(np.load(archive.open(member)), layer)

    def read(start: int, stop: int) -> np.ndarray:
        count = (stop - start) * int(np.prod(shape[1:], dtype=np.int64))
        data = stream.read(count * dtype.itemsize)
        return np.frombuffer(data, dtype, count).reshape(stop - start, *shape[1:])

    return _Incoming(shape, _dtype(dtype), read)


def _read_pt(path: Path, opened: ExitStack) -> _Found:
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if isinstance(loaded, torch.Tensor):
        loaded = {path.stem: loaded}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}; expected a tensor or a dict of them")
    arrays = {str(k): v for k, v in loaded.items()}
    if len(arrays) < len(loaded):
        raise ValueError("two of its keys are one name, such as 1 and '1'")
    extra = {name: arrays.pop(name) for name in list(arrays) if _is_about(name)}
    layers = {layer: _from_array(value, layer) for layer, value in arrays.items()}
    return _with_examples(layers, extra)


def _read_safetensors(path: Path, opened: ExitStack) -> _Found:
    library = _library("safetensors", f"reading {path}")
    file = opened.enter_context(library.safe_open(path, framework="pt"))
    names = list(file.keys())
    extra = {name: file.get_tensor(name) for name in names if _is_about(name)}
    layers = {name: _from_slice(file, name) for name in names if not _is_about(name)}
    return _with_examples(layers, extra)


def _from_slice(file: Any, layer: str) -> _Incoming:
    rows = file.get_slice(layer)
    shape = tuple(rows.get_shape())
    few = rows[:1] if len(shape) else file.get_tensor(layer)
    as_numbers(few, layer)
    return _Incoming(shape, _dtype(few.dtype), lambda start, stop: rows[start:stop])


def _read_folder(folder: Path, opened: ExitStack) -> _Found:
    """Read the files that ``export_layers`` wrote."""
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        layers = {}
        for each in record["layers"]:
            incoming = _from_array(open_npy(_inside(folder, each["file"])), each["layer"])
            layers[each["layer"]] = _Incoming(
                incoming.shape, incoming.dtype, incoming.read, str(each["module"])
            )
        listed, labels = record.get("targets"), folder / "labels.npy"
        if listed is None:  # of a release with one target
            listed = [{"name": LABEL, "file": labels.name}] if labels.is_file() else []
        return _Found(
            layers,
            _lines_of(_inside(folder, "ids.txt")),
            {each["name"]: open_npy(_inside(folder, each["file"])) for each in listed},
            {each["name"]: tuple(each.get("classes", ())) for each in listed},
            _numbers(folder, "inputs.npy"),
            _numbers(folder, "order.npy"),
            record["provenance"],
            str(record.get("labels", "")),
        )
    except (OSError, ValueError, LookupError, TypeError, UsageError) as error:
        raise StoreError(
            f"{folder} is no folder that repsim export wrote ({error}); name its files instead"
        ) from error


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder that came from elsewhere, which may not name others of this machine.

    Raises:
        ValueError: a path or a link that leads out of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} lies outside of it")
    return path


def _from_array(value: Any, layer: str) -> _Incoming:
    numbers = as_numbers(value, layer)
    if isinstance(numbers, torch.Tensor):
        numbers = numbers.detach()
    return _Incoming(
        tuple(numbers.shape), _dtype(numbers.dtype), lambda start, stop: numbers[start:stop]
    )


def _dtype(given: Any) -> str:
    """As what a number type is stored."""
    name = str(given).removeprefix("torch.") if isinstance(given, torch.dtype) else given.name
    if name == "bool":
        return "uint8"
    if name.startswith("float") and name not in ("float16", "float32", "float64"):
        return "float64" if "float8" not in name else "float32"
    return name


def _blocks(incoming: _Incoming) -> Iterator[tuple[int, int]]:
    n, *shape = incoming.shape
    row = LayerSpec("", tuple(shape), incoming.dtype).row_bytes
    step = max(1, BLOCK_BYTES // max(1, row))
    return ((start, min(start + step, n)) for start in range(0, n, step))


def _as_stored(incoming: _Incoming, start: int, stop: int, layer: str) -> np.ndarray:
    """Rows as a ``StoreWriter`` takes them.

    Raises:
        NonFiniteError: NaN or infinity among them.
        StoreError: a source that is cut short, or damaged.
    """
    try:
        rows = incoming.read(start, stop)
    except (OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise StoreError(f"layer {layer!r} cannot be read: {error}") from error
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().to(getattr(torch, incoming.dtype))
        finite = bool(torch.isfinite(rows).all())
        rows = (rows.view(torch.uint16) if incoming.dtype == "bfloat16" else rows).numpy()
    else:
        rows = np.asarray(rows).astype(incoming.dtype, copy=False)
        finite = bool(np.isfinite(rows).all())
    if not finite:
        raise NonFiniteError(f"layer {layer!r} has NaN or infinity; leave it out with --layers")
    return np.ascontiguousarray(rows)


def _check_shapes(layers: Mapping[str, _Incoming]) -> int:
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


def _ids(given: Any, n: int) -> list[str]:
    """An id for every row, each of its own."""
    if given is None:
        return list(map(str, range(n)))
    if isinstance(given, (str, bytes, Mapping, Set)):
        raise UsageError(f"ids are a {type(given).__name__}; expected a list of {n} names in order")
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    ids = [_id_text(each) for each in values] if isinstance(values, list) else []
    ids[:1] = [each.removeprefix("\ufeff") for each in ids[:1]]  # a byte order mark
    if len(ids) != n:
        raise ShapeError(f"{len(ids)} ids came with {n} rows; expected one each")
    seen: set[str] = set()
    for each in ids:
        if not each or each in seen:
            raise UsageError(
                f"example id {each!r} comes twice or is empty; expected one of its own"
            )
        seen.add(each)
    return ids


def _id_text(value: Any) -> str:
    if value is None or isinstance(value, (list, tuple, Mapping)):
        raise UsageError(f"example id {value!r} is no name; expected a text or a number each")
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise UsageError(f"example id {value!r} is no UTF-8 ({error})") from None


def _is_about(name: str) -> bool:
    """Tell if an array of a file is about the examples, and no layer."""
    return name in _ABOUT or name.startswith(_TARGET)


def _with_examples(layers: dict[str, _Incoming], about: Mapping[str, Any]) -> _Found:
    """Layers with the ids, labels and targets of their file."""
    targets = {LABEL: about["labels"]} if "labels" in about else {}
    targets |= {
        name.removeprefix(_TARGET): value
        for name, value in about.items()
        if name.startswith(_TARGET)
    }
    return _Found(layers, about.get("ids"), targets)


def _examples(found: _Found, ids: Sequence[str], n: int) -> ExampleRows:
    targets = {name: _target(name, value, n) for name, value in found.targets.items()}
    for name, numbers in (("inputs", found.inputs), ("order", found.order)):
        if numbers is not None and numbers.shape != (n,):
            raise ShapeError(f"{name} have shape {numbers.shape}; expected ({n},)")
    return ExampleRows(ids, targets, found.inputs, found.order)


def _described(found: _Found, examples: ExampleRows) -> ExampleSpec:
    return ExampleSpec(
        tuple(
            TargetSpec(name, v.shape[1] if v.ndim == 2 else None, found.classes.get(name, ()))
            for name, v in examples.targets.items()
        ),
        found.labels if found.labels in examples.targets else "",
        examples.inputs is not None,
        examples.order is not None,
    )


def _numbers(folder: Path, name: str) -> np.ndarray | None:
    """The array in a file of a folder; None where there is no such file."""
    path = _inside(folder, name)
    return open_npy(path) if path.is_file() else None


def _target(name: str, given: Any, n: int) -> np.ndarray:
    """(n,) int64 classes from 0, or (n, k) uint8 zeros and ones."""
    called = "labels" if name == LABEL else f"target {name!r}"
    values = _integers(given, called)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2 and len(values) == n and values.dtype.kind in "iu":
        if not np.isin(values, (0, 1)).all():
            raise UsageError(f"{called} of shape {values.shape}: expected zeros and ones")
        return values.astype(np.uint8)
    if values.shape != (n,):
        raise ShapeError(f"{called} have shape {values.shape}; expected ({n},)")
    if values.min() < 0 or values.max() > np.iinfo(np.int64).max:
        raise UsageError(
            f"{called} run from {values.min()} to {values.max()}; expected integers from 0, "
            "below 2^63"
        )
    return values.astype(np.int64)


def _integers(given: Any, called: str) -> np.ndarray:
    """Values as an array of integers or truth values."""
    values = as_numbers(given, called)
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if not values.is_floating_point():
            values = values.numpy()
    if isinstance(values, torch.Tensor) or values.dtype.kind not in "iub":
        raise UsageError(f"{called} are {values.dtype}; expected integers from 0")
    return values


def _labels_of(path: Path) -> np.ndarray:
    """The labels in a ``.npy`` or text file that the caller named."""
    try:
        if path.suffix == ".npy":
            return open_npy(path)
        return np.array(_lines_of(path), np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"{path} holds no labels ({error}); expected integers") from error


def _is_path(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike))


def _lines_of(path: Path) -> list[str]:
    try:
        # utf-8-sig: a byte order mark is no part of the first line
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as text, one a line ({error})") from error


def _origin(sources: Any) -> list[str]:
    """Names of the files, or of the layers that came in memory."""
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    values = sources.values() if isinstance(sources, Mapping) else sources
    return [Path(v).name if isinstance(v, (str, os.PathLike)) else "memory" for v in values]


# What goes out


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
        "".join(f"{each}\n" for each in _texts(store)), encoding="utf-8"
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
    (folder / _RECORD).write_text(json.dumps(told, indent=1), encoding="utf-8")


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
    out = np.lib.format.open_memmap(path, "w+", rows.dtype, rows.shape)
    step = max(1, BLOCK_BYTES // max(1, out[:1].nbytes))
    for start in range(0, store.n, step):
        stop = min(start + step, store.n)
        out[start:stop] = rows[start:stop]
        report(stop)
    out.flush()


def _file_name(layer: str) -> str:
    """A file name for any address; long ones end with a hash."""
    name = quote(layer, safe="")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) > 200:
        name = f"{name[:180]}-{hashlib.sha256(layer.encode()).hexdigest()[:16]}"
    return name


def _texts(store: ActivationStore | JoinedStore) -> list[str]:
    return [each.decode() for each in store.example_ids.tolist()]


def _library(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"{purpose} needs {name}, which is not installed; try: pip install {name}"
        ) from None
