"""One list of the images in a folder of classes, with a count of everything that it leaves out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from repsim.data.locate import unreadable
from repsim.errors import DataError, few

#: Formats of Pillow that it only knows by name, or reads with a program of the system.
_NOT_READ = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")

HIDDEN = "hidden"
NO_IMAGE = "of another kind"
EMPTY = "a folder without images"
LOOSE = "an image outside of the class folders"
DEEP = "a folder within a class"


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the images that the installed Pillow reads, in lower case."""
    from PIL import Image

    Image.init()
    known = Image.registered_extensions()
    return frozenset(s for s, kind in known.items() if kind in Image.OPEN and kind not in _NOT_READ)


@dataclass(frozen=True)
class Listing:
    """The images ``folder/CLASS/IMAGE``, and the names of what else there is.

    Attributes:
        folder: that was listed.
        images: sorted by class and name.
        left: names of the entries that are left out, by their kind.
    """

    folder: Path
    images: tuple[Path, ...]
    left: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def left_out(self) -> str:
        """The entries that are left out, counted by kind, as in ``1 hidden (.DS_Store)``."""
        return ", ".join(f"{len(names)} {kind} ({few(names)})" for kind, names in self.left.items())


def list_images(folder: Path, known: Iterable[str] = ()) -> Listing:
    """List the images of every class in a folder.

    Nothing is taken whose name, or whose folder's, begins with a dot.

    Args:
        folder: with a subfolder for each class.
        known: names in the folder itself that are no images and are not counted.

    Raises:
        DataError: a folder that may not be read, or one without images.
    """
    left: dict[str, list[str]] = defaultdict(list)
    images: list[Path] = []
    for entry in _entries(folder):
        if entry.name in known:
            continue
        if _is_hidden(entry):
            left[HIDDEN].append(entry.name)
        elif entry.is_dir():
            found = _of_class(entry, left)
            images += found
            if not found:
                left[EMPTY].append(entry.name)
        else:
            left[LOOSE if _is_image(entry) else NO_IMAGE].append(entry.name)
    listing = Listing(folder, tuple(images), left)
    if not images:
        there = f"; there is: {listing.left_out()}" if left else ""
        raise DataError(
            f"{folder}: no images; expected {folder}/CLASS/IMAGE, such as .png, .jpg, .tif, .webp "
            f"or another kind that Pillow reads{there}"
        )
    return listing


def _of_class(folder: Path, left: dict[str, list[str]]) -> list[Path]:
    """The images of a class; other entries go to ``left``."""
    images = []
    for entry in _entries(folder):
        name = f"{folder.name}/{entry.name}"
        if _is_hidden(entry):
            left[HIDDEN].append(name)
        elif entry.is_dir():
            left[DEEP].append(name)
        elif _is_image(entry):
            images.append(entry)
        else:
            left[NO_IMAGE].append(name)
    return images


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:  # a class that may not be read must not vanish
        raise unreadable(folder, "a folder", error) from None


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in suffixes()
