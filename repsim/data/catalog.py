"""``load``, which reads any image set: a named one, an ``.npz`` file, or a folder."""

from __future__ import annotations

import os
from pathlib import Path

from repsim.data import arrays, folder
from repsim.data.imageset import ImageSet
from repsim.data.sets import find_set, set_names
from repsim.data.size import Wanted, parse_size
from repsim.data.splits import Split
from repsim.errors import DataError, UsageError, choices
from repsim.moved import renamed_parameters


def default_data_dir() -> Path:
    """The folder in the environment variable ``REPSIM_DATA``, else ``data``."""
    return Path(os.environ.get("REPSIM_DATA") or "data")


@renamed_parameters(size="image_size")
def load(
    name: str | os.PathLike[str],
    split: str = "train",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: Wanted = None,
    target: str = "",
) -> ImageSet:
    """Read an image set.

    Args:
        name: of a set, perhaps with parameters as in ``digits:noise=0.5``; or the path of an
            ``.npz`` file or of a folder of images.
        split: such as ``train``, ``test[100:200]`` or ``train[:40000]``.
        data_dir: where downloaded sets are; default ``REPSIM_DATA`` or ``./data``.
        image_size: a side in pixels, ``(height, width)``, a text such as ``28x56``, or ``own`` for
            images as they are stored. By default what the set declares; 32 x 32 of files.
        target: the one that ``labels`` are of; by default the first of the set.

    Returns:
        Images of shape (n, c, height, width) in the order of the set.

    Raises:
        UsageError: an unknown name, parameter, split, size or target, or a slice beyond the split.
        DataError: files that are absent or damaged.
    """
    wanted, size = Split.parse(split), parse_size(image_size)
    named = find_set(name)
    if named is not None:
        root = default_data_dir() if data_dir is None else Path(data_dir)
        return named.load(wanted, root.expanduser(), size).choose(target)
    path = Path(name).expanduser()
    if path.is_dir():
        return folder.load(wanted, path, size).choose(target)
    if path.suffix != ".npz" and (path.is_file() or len(path.parts) == 1):
        raise UsageError(
            f"unknown image set {str(name)!r}; {choices(str(name), set_names())}, "
            "or the path of an .npz file or of a folder"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder of images")
    return arrays.load(wanted, path, size).choose(target)
