"""Height and width of images, as they are asked for."""

from __future__ import annotations

import re

from repsim.errors import UsageError

#: Height and width in pixels.
Size = tuple[int, int]

#: Of files, and of the named sets that declare no other.
DEFAULT_SIZE: Size = (32, 32)

#: A size as it may be given: ``32``, ``(28, 56)``, ``"28x56"``, ``"own"``; None or an empty text
#: for the default of the set.
Wanted = int | Size | str | None

#: The size that images are stored in.
OWN = "own"

_LARGEST = 4096
_SYNTAX = re.compile(r"([0-9]{1,6})(?:x([0-9]{1,6}))?")


def parse_size(wanted: Wanted) -> Size | str | None:
    """Height and width, ``"own"``, or None for the default of the set.

    Raises:
        UsageError: something else, or a side outside 1 to 4096 pixels.
    """
    if wanted in (None, "", OWN):
        return OWN if wanted == OWN else None
    size = _sides(wanted)
    if size is None or not all(1 <= side <= _LARGEST for side in size):
        raise UsageError(
            f"image size {wanted!r}; expected a side such as 32, height and width such as 28x56, "
            f"each from 1 to {_LARGEST} pixels, or own"
        )
    return size


def _sides(wanted: Wanted) -> Size | None:
    if isinstance(wanted, str):
        match = _SYNTAX.fullmatch(wanted.strip().lower())
        return (int(match[1]), int(match[2] or match[1])) if match else None
    sides = wanted if isinstance(wanted, (tuple, list)) else (wanted, wanted)
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    return (int(sides[0]), int(sides[1])) if whole and len(sides) == 2 else None  # type: ignore[arg-type]


def sides(size: int | Size) -> Size:
    """Height and width of a size in which a single number means a square."""
    return (size, size) if isinstance(size, int) else size


def size_text(size: Size) -> str:
    """The spelling of a size in names and messages: ``28x56``."""
    return f"{size[0]}x{size[1]}"


def size_record(size: Size) -> int | str:
    """A size as provenance records it: the side of a square, else ``"28x56"``."""
    return size[0] if size[0] == size[1] else size_text(size)
