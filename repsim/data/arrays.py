"""Images in an ``.npz`` file of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet, fit, select
from repsim.data.locate import unreadable
from repsim.data.size import DEFAULT_SIZE, OWN, Size
from repsim.data.splits import Split, holdout
from repsim.data.targets import LABEL, Target
from repsim.errors import DataError
from repsim.npy import load_npz

Arrays = Mapping[str, np.ndarray]

MAX_CLASSES = 100_000  # labels beyond it are surely something other than class numbers


def load(split: Split, path: Path, wanted: Size | str | None) -> ImageSet:
    """Read ``images`` (and ``labels``, ``ids``), or ``x_train, y_train, x_test, y_test``.

    Images are uint8, or floats in [0, 1], of shape (n, h, w), (n, h, w, c) or (n, c, h, w) with
    c of 1 or 3. Labels are optional, integers from 0, of shape (n,) or (n, 1). Further targets are
    ``target_NAME``, such integers or zeros and ones of shape (n, k); beside ``x_train``,
    ``target_NAME_train``. ``classes`` and ``classes_NAME`` may hold the names of classes, or of
    columns. ``images`` make up the split ``all`` and the ``train`` and ``test`` that ``holdout``
    draws by the ids.

    Args:
        split: the part to take.
        path: of the file.
        wanted: height and width to which images are stretched bilinearly, ``"own"`` for those of
            the file, None for ``DEFAULT_SIZE``.

    Raises:
        UsageError: no such split.
        DataError: a file that is no ``.npz``, lacks arrays, or holds others than described.
    """
    arrays = _read(path)
    found = _load_single(split, path, arrays) if "images" in arrays else None
    if found is None:
        found = _load_parts(split, path, arrays)
    size = found.size if wanted == OWN else wanted or DEFAULT_SIZE
    assert not isinstance(size, str)
    return replace(
        found,
        images=fit(found.images, size),
        resized=size != DEFAULT_SIZE,
        files=FileList.of([path], path.parent),
        whole=sum(len(arrays[key]) for key in _whole(arrays)),
    )


def _whole(arrays: Arrays) -> list[str]:
    """Names of the arrays that hold all images together."""
    parts = [f"x_{base}" for base in ("train", "test") if f"x_{base}" in arrays]
    return ["images"] if "images" in arrays else parts


def _load_single(split: Split, path: Path, arrays: Arrays) -> ImageSet:
    """One array of images for every split."""
    name = path.stem
    split.among(name, ("all", "train", "test"))
    images = _images(path, "images", arrays)
    targets = _targets(path, arrays, "labels", "", len(images), [""])
    ids = _ids(path, arrays, name, len(images))
    if split.base != "all":
        labels = targets[0].values if targets and targets[0].name == LABEL else None
        held = holdout(ids, np.zeros(len(ids)) if labels is None else labels.numpy())
        rows = np.flatnonzero(held == (split.base == "test"))
        images, targets = images[rows], [target[rows] for target in targets]
        ids = [ids[row] for row in rows]
    return select(name, split, images, targets, ids)


def _load_parts(split: Split, path: Path, arrays: Arrays) -> ImageSet:
    """An array of images for each split."""
    bases = [base for base in ("train", "test") if f"x_{base}" in arrays]
    if not bases:
        raise DataError(
            f"{path}: expected an array 'images' or 'x_train', got {', '.join(arrays) or 'nothing'}"
        )
    split.among(path.stem, bases)
    images = _images(path, f"x_{split.base}", arrays)
    targets = _targets(
        path, arrays, f"y_{split.base}", f"_{split.base}", len(images), [f"_{b}" for b in bases]
    )
    return select(path.stem, split, images, targets)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_npz(path)
    except Exception as error:  # zip, zlib, NumPy's header: each raises its own
        raise unreadable(path, "an .npz file of plain arrays", error) from None


def _images(path: Path, key: str, arrays: Arrays) -> Tensor:
    """The images under ``key`` as uint8, shape (n, c, h, w)."""
    images = arrays[key]
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.size == 0:
        raise DataError(
            f"{path}: {key!r} has shape {arrays[key].shape}; expected (n, h, w), (n, h, w, c) "
            "or (n, c, h, w) with c of 1 or 3"
        )
    if images.dtype.kind == "f":
        low, high = images.min(), images.max()
        if not (low >= 0 and high <= 1):  # NaN fails both
            raise DataError(
                f"{path}: {key!r} holds floats from {low:g} to {high:g}; expected 0 to 1, or uint8"
            )
        images = np.rint(images * 255.0).astype(np.uint8)
    if images.dtype != np.uint8:
        raise DataError(
            f"{path}: {key!r} has type {images.dtype}; expected uint8, or floats in [0, 1]"
        )
    return torch.from_numpy(np.ascontiguousarray(images))


def _targets(
    path: Path, arrays: Arrays, labels: str, suffix: str, count: int, suffixes: Sequence[str]
) -> list[Target]:
    """The labels under the key ``labels``, then ``target_NAME`` with ``suffix``, sorted by name.

    ``suffixes`` are those of all splits, whose classes are counted together.
    """
    found = _numbers(path, labels, arrays, count)
    targets = []
    if found is not None:
        keys = [labels] if not suffix else [f"y{each}" for each in suffixes]
        names = _names(path, arrays, "classes", keys, found)
        targets.append(Target(LABEL, found, names))
    for key in sorted(arrays):
        if key.startswith("target_") and key.endswith(suffix):
            name = key.removeprefix("target_").removesuffix(suffix)
            values = _values(path, key, arrays, count)
            keys = [f"target_{name}{each}" for each in suffixes]
            targets.append(
                Target(name, values, _names(path, arrays, f"classes_{name}", keys, values))
            )
    return targets


def _values(path: Path, key: str, arrays: Arrays, count: int) -> Tensor:
    """A target under ``key``: int64 (count,), or uint8 (count, k)."""
    values = arrays[key]
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2 and values.shape[1] > 1 and values.dtype.kind in "iu":
        if len(values) == count and not np.isin(values, (0, 1)).all():
            raise DataError(f"{path}: {key!r} has columns of other numbers than zeros and ones")
        if len(values) == count:
            return torch.from_numpy(values.astype(np.uint8))
    found = _numbers(path, key, {key: values}, count)
    assert found is not None
    return found


def _numbers(path: Path, key: str, arrays: Arrays, count: int) -> Tensor | None:
    """The classes under ``key`` as int64, shape (count,), or None if there are none."""
    if key not in arrays:
        return None
    labels = arrays[key]
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{path}: {key!r} is {labels.dtype} of shape {labels.shape}; "
            f"expected integers of shape ({count},), one for each image"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= MAX_CLASSES):
        raise DataError(
            f"{path}: {key!r} runs from {labels.min()} to {labels.max()}; "
            "expected class numbers that count from 0"
        )
    return torch.from_numpy(labels.reshape(count).astype(np.int64))


def _names(
    path: Path, arrays: Arrays, key: str, targets: Sequence[str], values: Tensor
) -> tuple[str, ...]:
    """Names of classes or columns: those under ``key``, else their numbers."""
    count = values.shape[1] if values.ndim == 2 else _classes(path, arrays, targets)
    if key not in arrays:
        return tuple(str(number) for number in range(count))
    names = arrays[key]
    if names.ndim != 1 or names.dtype.kind not in "US" or len(names) < count:
        raise DataError(f"{path}: {key!r} has shape {names.shape}; expected {count} texts")
    return tuple(_texts(path, key, arrays))


def _classes(path: Path, arrays: Arrays, targets: Sequence[str]) -> int:
    """Number of the classes under some keys together."""
    found = [_numbers(path, each, arrays, len(arrays[each])) for each in targets if each in arrays]
    return max((int(each.max()) + 1 for each in found if each is not None and len(each)), default=0)


def _texts(path: Path, key: str, arrays: Arrays) -> list[str]:
    """The texts under ``key``; bytes are UTF-8. A byte order mark is no part of the first."""
    values = arrays[key]
    try:
        texts = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str)
        listed = texts.tolist()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {key!r} holds bytes that are no UTF-8 ({error})") from None
    except SystemError as error:  # of NumPy, on numbers that are no characters
        raise DataError(f"{path}: {key!r} holds what is no text ({error})") from None
    first, *others = listed or [""]
    return [first.removeprefix("\ufeff"), *others] if listed else []


def _ids(path: Path, arrays: Arrays, name: str, count: int) -> list[str]:
    if "ids" not in arrays:
        return [f"{name}/all/{row}" for row in range(count)]
    ids = _texts(path, "ids", arrays) if arrays["ids"].ndim == 1 else []
    if len(ids) != count or len(set(ids)) != count:
        raise DataError(
            f"{path}: 'ids' has shape {arrays['ids'].shape} and {len(set(ids))} distinct values; "
            f"expected {count} of them, one for each image"
        )
    return ids
