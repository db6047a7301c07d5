"""CIFAR-10 from its binary batches, or from the pickled ones of the Python version."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from repsim.data.dataset import DataSet
from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet, numbered
from repsim.data.locate import absent, find, unreadable
from repsim.data.splits import Split
from repsim.data.targets import label_target
from repsim.errors import DataError

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py", ".")
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
BATCH_LENGTH = 10_000
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS

_ADMITTED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how Python 3 writes bytes in protocol 2
    *(
        (f"numpy.{core}.{module}", function)
        for core in ("core", "_core")  # numpy 1 and 2
        for module, function in (("multiarray", "_reconstruct"), ("numeric", "_frombuffer"))
    ),
}


@dataclass(frozen=True)
class CIFAR10(DataSet):
    """CIFAR-10."""

    sizes: ClassVar[Mapping[str, int]] = {"train": 50_000, "test": 10_000}
    own_size = (32, 32)

    def missing(self, data_dir: Path) -> list[str]:
        """The batches that are in neither version's folder nor in ``data_dir``."""
        names = [name for batches in BATCHES.values() for name in batches]
        return [f"{name}.bin" for name in names if _find(data_dir, name) is None]

    def files(self, split: Split, data_dir: Path) -> FileList | None:
        """Names and sizes of the batches of a split; None if one is absent."""
        paths = [_find(data_dir, name) for name in BATCHES[split.base]]
        return None if None in paths else FileList.of(filter(None, paths), data_dir)

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Read a split. Only the batches that it needs have to be there.

        Raises:
            UsageError: a slice beyond the split.
            DataError: a batch that is needed and absent, or one that is damaged.
        """
        names = BATCHES[split.base]
        paths = [_find(data_dir, name) for name in names]
        batches = [None if path is None else read_batch(path) for path in paths]
        lengths = [BATCH_LENGTH if batch is None else len(batch[1]) for batch in batches]
        length = sum(lengths)
        split = split.within(length)
        rows = range(length)[split.rows]

        images, labels, used, first = [], [], [], 0
        for name, path, batch, count in zip(names, paths, batches, lengths, strict=True):
            start, stop = max(rows.start - first, 0), min(rows.stop - first, count)
            first += count
            if start >= stop:
                continue
            if path is None or batch is None:
                raise absent("cifar10", data_dir, FOLDERS, f"{name}.bin")
            images.append(batch[0][start:stop])
            labels.append(batch[1][start:stop])
            used.append(path)
        return ImageSet(
            name=self.name,
            split=str(split),
            images=torch.from_numpy(np.concatenate(images).reshape(-1, 3, 32, 32)),
            targets=label_target(
                torch.from_numpy(np.concatenate(labels).astype(np.int64)), CLASSES
            ),
            ids=numbered(self.name, split, length),
            files=FileList.of(used, data_dir),
        )


SET = CIFAR10


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 of shape (n, 3072), and labels, integers of shape (n,), of one batch.

    A binary batch stays on disk until its rows are used. A batch may have any number of records.

    Raises:
        DataError: a file that is cut short, is no batch, or holds labels beyond 9.
    """
    pixels, labels = _read_binary(path) if path.suffix == ".bin" else _read_pickle(path)
    if labels.min(initial=0) < 0 or labels.max(initial=0) > 9:
        raise DataError(f"{path}: labels beyond 0 to 9; this is not a CIFAR-10 batch")
    return pixels, labels


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label and 3,072 pixels: red, green, blue, each row by row."""
    size = path.stat().st_size
    if size == 0 or size % RECORD:
        raise DataError(
            f"{path}: {size} bytes are not a whole number of {RECORD}-byte records; "
            "the file was cut short: remove it and fetch it again"
        )
    try:
        records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, RECORD)
    except OSError as error:
        raise unreadable(path, "a binary CIFAR-10 batch", error) from None
    return records[:, 1:], records[:, 0]


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with open(path, "rb") as stream:
            batch = _ArrayUnpickler(stream, encoding="latin1").load()
    except _ForbiddenGlobal as error:
        raise DataError(
            f"{path}: refused, since it asks for {error}; a CIFAR-10 batch holds only arrays"
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise unreadable(path, "a pickled CIFAR-10 batch", error) from None
    try:
        fields = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pixels, labels = fields["data"], np.asarray(fields["labels"])
        if pixels.dtype == np.uint8 and pixels.shape == (*labels.shape, PIXELS):
            return pixels, labels.astype(np.int64, casting="same_kind")
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise DataError(
        f"{path}: expected a dictionary of 'data', uint8 of shape (n, {PIXELS}), and n 'labels'"
    )


class _ForbiddenGlobal(Exception):
    """A pickle that names something other than arrays."""


class _ArrayUnpickler(pickle.Unpickler):
    """Loads arrays and plain containers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _ForbiddenGlobal(f"{module}.{name}")
        return super().find_class(module, name)


def _find(data_dir: Path, name: str) -> Path | None:
    return find(data_dir, FOLDERS, (f"{name}.bin", name))
