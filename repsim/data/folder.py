"""A folder with one subfolder of images for each class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet
from repsim.data.listing import Listing, list_images
from repsim.data.locate import unreadable
from repsim.data.size import DEFAULT_SIZE, OWN, Size, size_text
from repsim.data.splits import Split, holdout
from repsim.data.table import read_targets
from repsim.data.targets import LABEL, Labelled, Target
from repsim.errors import DataError, RepsimWarning
from repsim.pictures import has_frames, is_grey, pixels, upright_size

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

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
        mode: ``L`` if every image of the folder is stored as 8- or 16-bit grey, otherwise ``RGB``.
        size: height and width in pixels to which images are stretched.
        chosen: name of the chosen target; empty for the first.
        files: names and sizes.
        whole: images of all splits together.
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
    whole: int = field(default=0, repr=False)

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
        path = self.paths[index]
        grey, size = self.mode == "L", self.size
        found = _opened(path, lambda image: pixels(image, str(path), grey=grey, size=size))
        return torch.from_numpy(found.transpose(2, 0, 1).copy())

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
            whole=self.whole,
        )


def load(split: Split, root: Path, wanted: Size | str | None) -> ImageSet:
    """Read ``root/class/image``, or ``root/train/class/image`` and ``root/test/class/image``.

    Arguments and errors are those of ``find``; only the images of the split are decoded.
    """
    return find(split, root, wanted).read()


def find(split: Split, root: Path, wanted: Size | str | None) -> ImageFiles:
    """The files of a split.

    Without ``train`` and ``test`` folders, the splits are ``all`` and the ``train`` and ``test``
    that ``holdout`` draws by the paths. Images are grey if every one of the folder is stored so,
    otherwise RGB; see ``pixels`` and ``list_images``. ``root/targets.csv`` may hold further
    targets, see ``read_targets``.

    Args:
        split: the part to read.
        root: the folder.
        wanted: height and width to which images are stretched bilinearly, ``"own"`` for those of
            the files, None for ``DEFAULT_SIZE``.

    Raises:
        UsageError: no such split.
        DataError: no images, one that cannot be read, or images of several sizes for ``"own"``.

    Warns:
        RepsimWarning: of entries of the folder that are left out, and of files of several images.
    """
    name = root.resolve().name or "images"
    bases, paths = _bases(root)
    chosen = bases[split.among(name, bases).base]
    split = split.within(len(chosen))
    chosen = chosen[split.rows]
    headers = [_opened(path, _Header.of) for path in paths]
    _warn_of_frames(root, [path for path, each in zip(paths, headers, strict=True) if each.frames])
    return ImageFiles(
        name=name,
        split=str(split),
        paths=tuple(chosen),
        targets=(_class_target(paths, chosen), *read_targets(root / TARGETS, _ids(chosen, root))),
        ids=_ids(chosen, root),
        mode="L" if all(each.grey for each in headers) else "RGB",
        size=_size(wanted, root, paths),
        files=FileList.of(chosen, root),
        whole=len(paths),
    )


def _bases(root: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of every split, and those of the folder."""
    if (root / "train").is_dir() and (root / "test").is_dir():
        _warn_of_others(root)
        bases = {base: _images(root / base) for base in ("train", "test")}
        return bases, bases["train"] + bases["test"]
    paths = _images(root, (TARGETS,))
    held = holdout(list(_ids(paths, root)), np.array([_class(path) for path in paths]))
    return {
        "all": paths,
        "train": [path for path, out in zip(paths, held, strict=True) if not out],
        "test": [path for path, out in zip(paths, held, strict=True) if out],
    }, paths


def _images(folder: Path, known: Iterable[str] = ()) -> list[Path]:
    """The images of every class, with a warning of other entries."""
    listing = list_images(folder, known)
    if listing.left:
        warnings.warn(f"{folder}: left out {listing.left_out()}", RepsimWarning, stacklevel=2)
    return list(listing.images)


def _warn_of_others(root: Path) -> None:
    others = sorted({path.name for path in root.iterdir()} - {"train", "test", TARGETS})
    if others:
        listing = Listing(root, (), {"beside train and test": others})
        warnings.warn(f"{root}: left out {listing.left_out()}", RepsimWarning, stacklevel=2)


def _warn_of_frames(root: Path, paths: list[Path]) -> None:
    if paths:
        warnings.warn(
            f"{root}: the first image was taken of each file that holds several, {len(paths)} in "
            f"all, such as {_id(paths[0], root)}",
            RepsimWarning,
            stacklevel=2,
        )


def _class_target(paths: list[Path], chosen: list[Path]) -> Target:
    classes = sorted({_class(path) for path in paths})
    numbers = {name: number for number, name in enumerate(classes)}
    return Target(LABEL, torch.tensor([numbers[_class(path)] for path in chosen]), tuple(classes))


def _size(wanted: Size | str | None, root: Path, paths: list[Path]) -> Size:
    """Height and width of what is asked for."""
    if wanted != OWN:
        assert not isinstance(wanted, str)
        return wanted or DEFAULT_SIZE
    first, *others = paths
    size = _opened(first, upright_size)
    for path in others:
        if (other := _opened(path, upright_size)) != size:
            raise DataError(
                f"{root}: {_id(first, root)} is {size_text(size)} and {_id(path, root)} is "
                f"{size_text(other)} pixels; own needs images of one size, choose an image size"
            )
    return size


def _id(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _ids(paths: list[Path], root: Path) -> tuple[str, ...]:
    return tuple(_id(path, root) for path in paths)


def _class(path: Path) -> str:
    return path.parent.name


@dataclass(frozen=True)
class _Header:
    """Facts of an image that need no decoding: grey or colour, and one image or several."""

    grey: bool
    frames: bool

    @classmethod
    def of(cls, image: Image) -> _Header:
        return cls(is_grey(image), has_frames(image))


def _opened(path: Path, read: Callable[[Image], T]) -> T:
    """The result of ``read`` on an image file."""
    from PIL import Image, UnidentifiedImageError

    try:
        # From a stream: of a path, Pillow may map the rows of a TIFF and turn them wrongly.
        with path.open("rb") as stream, Image.open(stream) as image:
            return read(image)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise unreadable(path, "an image", ValueError("no format that Pillow knows")) from None
    except FileNotFoundError:
        raise _gone(path) from None
    except Exception as error:  # a decoder can raise nearly anything on a damaged file
        raise unreadable(path, "an image", error) from None


def _gone(path: Path) -> DataError:
    """The error for a file that was listed and cannot be found."""
    if path.is_symlink():
        target = path.readlink()
        return DataError(
            f"{path} is a link to {target}, which is not there; mend the link or take it away"
        )
    return DataError(f"{path} is not there any more; read the folder again")
