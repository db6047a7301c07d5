"""Every image set by name, and ``load``, which reads any of them.

A new set is a module with the members of ``DataSet`` and its line in ``SETS``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from repsim.data import arrays, cifar10, digits, folder, mnist
from repsim.data.imageset import ImageSet
from repsim.data.splits import Split
from repsim.errors import DataError, UsageError, choices


class DataSet(Protocol):
    """What the module of a named set provides."""

    @property
    def SIZES(self) -> Mapping[str, int]:
        """Number of images in each split."""

    @property
    def FLIPS(self) -> bool:
        """Whether a mirrored image is still of its class."""

    def missing(self, data_dir: Path) -> list[str]:
        """Names of the files that are needed and not there."""

    def load(self, split: Split, data_dir: Path, size: int) -> ImageSet:
        """Read a split at ``size`` x ``size`` pixels."""


SETS: dict[str, DataSet] = {
    "digits": digits,
    "mnist": mnist,
    "cifar10": cifar10,
}


def default_data_dir() -> Path:
    """The folder in the environment variable ``REPSIM_DATA``, else ``data``."""
    return Path(os.environ.get("REPSIM_DATA") or "data")


def load(
    name: str | os.PathLike[str],
    split: str = "train",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    size: int = 32,
) -> ImageSet:
    """Read an image set.

    Args:
        name: of a set in ``SETS``, or the path of an ``.npz`` file or of a folder of images.
        split: such as ``train``, ``test[100:200]`` or ``train[:40000]``.
        data_dir: where downloaded sets are; default ``REPSIM_DATA`` or ``./data``.
        size: side of the images in pixels.

    Returns:
        Images of shape (n, c, size, size) in the order of the set.

    Raises:
        UsageError: an unknown name or split, or a slice beyond the split.
        DataError: files that are absent or damaged.
    """
    wanted = Split.parse(split)
    if size < 1:
        raise UsageError(f"size must be at least 1 pixel, got {size}")
    if isinstance(name, str) and name in SETS:
        root = default_data_dir() if data_dir is None else Path(data_dir)
        return SETS[name].load(wanted, root.expanduser(), size)
    path = Path(name).expanduser()
    if path.is_dir():
        return folder.load(wanted, path, size)
    if path.suffix != ".npz" and (path.is_file() or len(path.parts) == 1):
        raise UsageError(
            f"unknown image set {str(name)!r}; {choices(str(name), SETS)}, "
            "or the path of an .npz file or of a folder"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder of images")
    return arrays.load(wanted, path, size)
