"""Images in an ``.npz`` file of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsim.data.imageset import ImageSet, select
from repsim.data.locate import unreadable
from repsim.data.splits import Split, holdout
from repsim.errors import DataError

Arrays = Mapping[str, np.ndarray]

MAX_CLASSES = 100_000  # labels beyond it are surely something other than class numbers


def load(split: Split, path: Path, size: int) -> ImageSet:
    """Read ``images`` (and ``labels``, ``ids``), or ``x_train, y_train, x_test, y_test``.

    Images are uint8, or floats in [0, 1], of shape (n, h, w), (n, h, w, c) or (n, c, h, w) with
    c of 1 or 3. Labels are optional, integers from 0, of shape (n,) or (n, 1). ``images`` make
    up the split ``all`` and the ``train`` and ``test`` that ``holdout`` draws by the ids.

    Args:
        split: what to take.
        path: of the file.
        size: side in pixels to which images are stretched bilinearly.

    Raises:
        UsageError: no such split.
        DataError: a file that is no ``.npz``, lacks arrays, or holds others than described.
    """
    arrays = _read(path)
    if "images" in arrays:
        return _load_single(split, path, arrays, size)
    bases = [base for base in ("train", "test") if f"x_{base}" in arrays]
    if not bases:
        raise DataError(
            f"{path}: expected an array 'images' or 'x_train', got {', '.join(arrays) or 'nothing'}"
        )
    split.among(path.stem, bases)
    images = _images(path, f"x_{split.base}", arrays)
    labels = {base: _labels(path, f"y_{base}", arrays, len(arrays[f"x_{base}"])) for base in bases}
    classes = _classes(*labels.values())
    return select(path.stem, split, images, labels[split.base], classes, size)


def _load_single(split: Split, path: Path, arrays: Arrays, size: int) -> ImageSet:
    """The case of one array of images for every split."""
    name = path.stem
    split.among(name, ("all", "train", "test"))
    images = _images(path, "images", arrays)
    labels = _labels(path, "labels", arrays, len(images))
    ids = _ids(path, arrays, name, len(images))
    classes = _classes(labels)
    if split.base != "all":
        held = holdout(ids, np.zeros(len(ids)) if labels is None else labels.numpy())
        rows = np.flatnonzero(held == (split.base == "test"))
        images, labels = images[rows], None if labels is None else labels[rows]
        ids = [ids[row] for row in rows]
    return select(name, split, images, labels, classes, size, ids)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
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


def _labels(path: Path, key: str, arrays: Arrays, count: int) -> Tensor | None:
    """The labels under ``key`` as int64, shape (count,), or None if there are none."""
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


def _classes(*labels: Tensor | None) -> tuple[str, ...]:
    """The numbers up to the largest label, as names."""
    highest = max(
        (int(values.max()) for values in labels if values is not None and len(values)), default=-1
    )
    return tuple(str(number) for number in range(highest + 1))


def _ids(path: Path, arrays: Arrays, name: str, count: int) -> list[str]:
    if "ids" not in arrays:
        return [f"{name}/all/{row}" for row in range(count)]
    ids = arrays["ids"].astype(str).tolist() if arrays["ids"].ndim == 1 else []
    if len(ids) != count or len(set(ids)) != count:
        raise DataError(
            f"{path}: 'ids' has shape {arrays['ids'].shape} and {len(set(ids))} distinct values; "
            f"expected {count} of them, one for each image"
        )
    return ids
