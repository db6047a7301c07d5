"""MNIST from its four IDX files, compressed or not."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from repsim.data.dataset import DataSet
from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet, fit, select
from repsim.data.locate import absent, find, unreadable
from repsim.data.size import Size
from repsim.data.splits import Split
from repsim.data.targets import label_target
from repsim.errors import DataError
from repsim.space import check_claim

FOLDERS = ("MNIST/raw", ".")
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class MNIST(DataSet):
    """MNIST; at any size but its own, the images first get a black border of two pixels."""

    sizes: ClassVar[Mapping[str, int]] = {"train": 60_000, "test": 10_000}
    own_size = (28, 28)
    flips = False

    def missing(self, data_dir: Path) -> list[str]:
        """The files that are neither in ``data_dir/MNIST/raw`` nor in ``data_dir``."""
        names = [name for pair in FILES.values() for name in pair]
        return [name for name in names if _find(data_dir, name) is None]

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Read a split.

        Raises:
            UsageError: a slice beyond the split.
            DataError: a file that is absent, damaged, or at odds with its pair.
        """
        paths = [_require(data_dir, name) for name in FILES[split.base]]
        images, labels = _read_pair(*paths)
        targets = label_target(torch.from_numpy(labels.astype(np.int64)), tuple("0123456789"))
        files = FileList.of(paths, data_dir)
        return select(self.name, split, torch.from_numpy(images)[:, None], targets, files=files)

    def files(self, split: Split, data_dir: Path) -> FileList | None:
        """Names and sizes of the two files of a split; None if one is absent."""
        paths = [_find(data_dir, name) for name in FILES[split.base]]
        return None if None in paths else FileList.of(filter(None, paths), data_dir)

    def fit(self, images: Tensor, size: Size) -> Tensor:
        return fit(pad(images, (2, 2, 2, 2)), size)


SET = MNIST


def _read_pair(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) and labels (n,), both uint8."""
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: expected images of 28 x 28, got {images.shape[1:]}")
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path}: {len(labels)} labels for {len(images)} images of {images_path.name}"
        )
    if labels.max(initial=0) > 9:
        raise DataError(f"{labels_path}: expected labels from 0 to 9, got {labels.max()}")
    return images, labels


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of bytes: two zeros, 8, the number of dimensions, big-endian sizes, data.

    Args:
        path: of the file; ``.gz`` is decompressed.
        dimensions: how many the file must have.

    Returns:
        uint8 array of that many dimensions, writable.

    Raises:
        DataError: damaged compression, another header, or more or less data than it announces.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else open(path, "rb") as stream:
            shape = _shape_of(path, stream.read(4 + 4 * dimensions), dimensions)
            announced = math.prod(shape)
            check_claim("its header", announced, path.stat().st_size, compressed=packed)
            content = bytearray(stream.read(announced + 1))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise unreadable(path, "an IDX file", error) from None
    if len(content) != announced:
        found = f"{len(content)}{' or more' if len(content) > announced else ''}"
        raise DataError(
            f"{path}: its header announces {announced} bytes of data, but {found} follow; "
            "remove it and fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape_of(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    """The sizes in the header of an IDX file."""
    magic = bytes([0, 0, 8, dimensions])
    if len(header) < 4 + 4 * dimensions or header[:4] != magic:
        raise DataError(
            f"{path}: expected an IDX file that begins with {magic.hex()}, got {header[:4].hex()}"
        )
    return struct.unpack(f">{dimensions}I", header[4:])


def _find(data_dir: Path, name: str) -> Path | None:
    return find(data_dir, FOLDERS, (name, f"{name}.gz"))


def _require(data_dir: Path, name: str) -> Path:
    path = _find(data_dir, name)
    if path is None:
        raise absent("mnist", data_dir, FOLDERS, f"{name}.gz")
    return path
