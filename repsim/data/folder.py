"""A folder with one subfolder of images for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from repsim.data.imageset import ImageSet
from repsim.data.locate import unreadable
from repsim.data.splits import Split, holdout
from repsim.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


def load(split: Split, root: Path, size: int) -> ImageSet:
    """Read ``root/class/image``, or ``root/train/class/image`` and ``root/test/class/image``.

    Without ``train`` and ``test`` folders, the splits are ``all`` and the ``train`` and ``test``
    that ``holdout`` draws by the paths. Images are grey if every one of the folder is stored so
    (mode L), otherwise RGB.

    Args:
        split: what to read; only these images are decoded.
        root: the folder.
        size: side in pixels to which images are stretched bilinearly.

    Raises:
        UsageError: no such split.
        DataError: no images, or one that cannot be read.
    """
    name = root.resolve().name or "images"
    if (root / "train").is_dir() and (root / "test").is_dir():
        bases = {base: _images(root / base) for base in ("train", "test")}
        files = bases["train"] + bases["test"]
    else:
        files = _images(root)
        held = holdout([_id(path, root) for path in files], np.array([_class(f) for f in files]))
        bases = {
            "all": files,
            "train": [path for path, out in zip(files, held, strict=True) if not out],
            "test": [path for path, out in zip(files, held, strict=True) if out],
        }
    chosen = bases[split.among(name, bases).base]
    split = split.within(len(chosen))
    chosen = chosen[split.rows]

    classes = sorted({_class(path) for path in files})
    mode = "L" if all(_mode(path) == "L" for path in files) else "RGB"
    images = np.stack([_decode(path, mode, size) for path in chosen])
    return ImageSet(
        name=name,
        split=str(split),
        images=torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        labels=torch.tensor([classes.index(_class(path)) for path in chosen]),
        ids=tuple(_id(path, root) for path in chosen),
        classes=tuple(classes),
    )


def _images(folder: Path) -> list[Path]:
    """The images of every class, sorted by class and name."""
    found = sorted(
        (path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES),
        key=lambda path: path.parts,
    )
    if not found:
        raise DataError(
            f"{folder}: no images; expected {folder}/CLASS/IMAGE with a name in "
            + ", ".join(sorted(SUFFIXES))
        )
    return found


def _id(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _class(path: Path) -> str:
    return path.parent.name


def _mode(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except Exception as error:  # a decoder can raise nearly anything on a damaged file
        raise unreadable(path, "an image", error) from None


def _decode(path: Path, mode: str, size: int) -> np.ndarray:
    """One image, uint8 of shape (size, size, channels)."""
    try:
        with Image.open(path) as image:
            fitted = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
    except Exception as error:
        raise unreadable(path, "an image", error) from None
    return np.asarray(fitted).reshape(size, size, -1)
