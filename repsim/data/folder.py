"""A folder with one subfolder of images for each class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from repsim.data.imageset import ImageSet
from repsim.data.locate import unreadable
from repsim.data.splits import Split, holdout
from repsim.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files of one split, to be decoded when they are needed.

    Attributes:
        name: of the folder.
        split: canonical text.
        files: paths, in the order of the set.
        labels: int64, shape (n,), indices into ``classes``.
        ids: the paths within the folder.
        classes: the name of each label.
        mode: ``L`` if every image of the folder is grey, otherwise ``RGB``.
        size: side in pixels to which images are stretched.
    """

    name: str
    split: str
    files: tuple[Path, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...]
    mode: str
    size: int

    def __len__(self) -> int:
        return len(self.files)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.mode == "L" else 3

    @property
    def nbytes(self) -> int:
        """What all the images would take in memory."""
        return len(self) * self.channels * self.size**2

    def decode(self, index: int) -> Tensor:
        """One image, uint8 of shape (channels, size, size)."""
        pixels = _decode(self.files[index], self.mode, self.size)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def read(self) -> ImageSet:
        """All of them, in memory."""
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
            images = torch.stack(list(pool.map(self.decode, range(len(self)))))
        return ImageSet(self.name, self.split, images, self.labels, self.ids, self.classes)


def load(split: Split, root: Path, size: int) -> ImageSet:
    """Read ``root/class/image``, or ``root/train/class/image`` and ``root/test/class/image``.

    Arguments and errors are those of ``find``; only the images of the split are decoded.
    """
    return find(split, root, size).read()


def find(split: Split, root: Path, size: int) -> ImageFiles:
    """The files of a split.

    Without ``train`` and ``test`` folders, the splits are ``all`` and the ``train`` and ``test``
    that ``holdout`` draws by the paths. Images are grey if every one of the folder is stored so
    (mode L), otherwise RGB.

    Args:
        split: what to read.
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
    numbers = {name: number for number, name in enumerate(classes)}
    return ImageFiles(
        name=name,
        split=str(split),
        files=tuple(chosen),
        labels=torch.tensor([numbers[_class(path)] for path in chosen]),
        ids=tuple(_id(path, root) for path in chosen),
        classes=tuple(classes),
        mode="L" if all(_mode(path) == "L" for path in files) else "RGB",
        size=size,
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
