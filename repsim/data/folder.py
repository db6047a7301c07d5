"""A folder with one subfolder of images for each class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet
from repsim.data.locate import unreadable
from repsim.data.size import DEFAULT_SIZE, OWN, Size, size_text
from repsim.data.splits import Split, holdout
from repsim.data.table import read_targets
from repsim.data.targets import LABEL, Labelled, Target
from repsim.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


#: The file of further targets, in the folder itself.
TARGETS = "targets.csv"


@dataclass(frozen=True, eq=False)
class ImageFiles(Labelled):
    """Image files of one split, to be decoded when they are needed.

    Attributes:
        name: of the folder.
        split: canonical text.
        paths: in the order of the set.
        targets: the class, then those of ``targets.csv``.
        ids: the paths within the folder.
        mode: ``L`` if every image of the folder is grey, otherwise ``RGB``.
        size: height and width in pixels to which images are stretched.
        chosen: name of the chosen target; empty for the first.
        files: names and sizes.
    """

    name: str
    split: str
    paths: tuple[Path, ...] = field(repr=False)
    targets: tuple[Target, ...]
    ids: tuple[str, ...] = field(repr=False)
    mode: str
    size: Size
    chosen: str = ""
    files: FileList | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.mode == "L" else 3

    @property
    def nbytes(self) -> int:
        """Memory that all the images would take."""
        return len(self) * self.channels * self.size[0] * self.size[1]

    def decode(self, index: int) -> Tensor:
        """One image, uint8 of shape (channels, height, width)."""
        pixels = _decode(self.paths[index], self.mode, self.size)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def read(self) -> ImageSet:
        """All of them, in memory."""
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
            images = torch.stack(list(pool.map(self.decode, range(len(self)))))
        return ImageSet(
            name=self.name,
            split=self.split,
            images=images,
            targets=self.targets,
            ids=self.ids,
            chosen=self.chosen,
            resized=self.size != DEFAULT_SIZE,
            files=self.files,
        )


def load(split: Split, root: Path, wanted: Size | str | None) -> ImageSet:
    """Read ``root/class/image``, or ``root/train/class/image`` and ``root/test/class/image``.

    Arguments and errors are those of ``find``; only the images of the split are decoded.
    """
    return find(split, root, wanted).read()


def find(split: Split, root: Path, wanted: Size | str | None) -> ImageFiles:
    """The files of a split.

    Without ``train`` and ``test`` folders, the splits are ``all`` and the ``train`` and ``test``
    that ``holdout`` draws by the paths. Images are grey if every one of the folder is stored so
    (mode L), otherwise RGB. ``root/targets.csv`` may hold further targets, see ``read_targets``.

    Args:
        split: the part to read.
        root: the folder.
        wanted: height and width to which images are stretched bilinearly, ``"own"`` for those of
            the files, None for ``DEFAULT_SIZE``.

    Raises:
        UsageError: no such split.
        DataError: no images, one that cannot be read, or images of several sizes for ``"own"``.
    """
    name = root.resolve().name or "images"
    bases, paths = _bases(root)
    chosen = bases[split.among(name, bases).base]
    split = split.within(len(chosen))
    chosen = chosen[split.rows]
    headers = [_header(path) for path in paths]
    return ImageFiles(
        name=name,
        split=str(split),
        paths=tuple(chosen),
        targets=(_class_target(paths, chosen), *read_targets(root / TARGETS, _ids(chosen, root))),
        ids=_ids(chosen, root),
        mode="L" if all(mode == "L" for mode, _ in headers) else "RGB",
        size=_size(wanted, root, dict(zip(paths, (size for _, size in headers), strict=True))),
        files=FileList.of(chosen, root),
    )


def _bases(root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of every split, and those of the folder."""
    if (root / "train").is_dir() and (root / "test").is_dir():
        bases = {base: _images(root / base) for base in ("train", "test")}
        return bases, bases["train"] + bases["test"]
    paths = _images(root)
    held = holdout(list(_ids(paths, root)), np.array([_class(path) for path in paths]))
    return {
        "all": paths,
        "train": [path for path, out in zip(paths, held, strict=True) if not out],
        "test": [path for path, out in zip(paths, held, strict=True) if out],
    }, paths


def _class_target(paths: list[Path], chosen: list[Path]) -> Target:
    classes = sorted({_class(path) for path in paths})
    numbers = {name: number for number, name in enumerate(classes)}
    return Target(LABEL, torch.tensor([numbers[_class(path)] for path in chosen]), tuple(classes))


def _size(wanted: Size | str | None, root: Path, stored: dict[Path, Size]) -> Size:
    """Height and width of what is asked for."""
    if wanted != OWN:
        assert not isinstance(wanted, str)
        return wanted or DEFAULT_SIZE
    (first, size), *others = stored.items()
    for path, other in others:
        if other != size:
            raise DataError(
                f"{root}: {_id(first, root)} is {size_text(size)} and {_id(path, root)} is "
                f"{size_text(other)} pixels; own needs images of one size, choose an image size"
            )
    return size


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


def _ids(paths: list[Path], root: Path) -> tuple[str, ...]:
    return tuple(_id(path, root) for path in paths)


def _class(path: Path) -> str:
    return path.parent.name


def _header(path: Path) -> tuple[str, Size]:
    """Mode, height and width of an image, without decoding it."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.mode, (image.height, image.width)
    except Exception as error:  # a decoder can raise nearly anything on a damaged file
        raise unreadable(path, "an image", error) from None


def _decode(path: Path, mode: str, size: Size) -> np.ndarray:
    """One image, uint8 of shape (height, width, channels)."""
    from PIL import Image

    height, width = size
    try:
        with Image.open(path) as image:
            fitted = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
    except Exception as error:
        raise unreadable(path, "an image", error) from None
    return np.asarray(fitted).reshape(height, width, -1)
