"""Grids of images."""

from __future__ import annotations

import base64
import binascii
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from repsim.errors import DataError, UsageError
from repsim.figures.artists import rc
from repsim.figures.axes import bare, check_table
from repsim.results.figure import Frame, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Distance between images, in widths of one.
_GAP = 0.06

#: Pixels of an image, at most.
_LARGEST = 4096 * 4096

#: First bytes of a PNG file, and the bytes up to its width and height, which end them.
_PNG, _HEADER = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 24


@dataclass(frozen=True)
class Images(Panel):
    """A grid of images of one size, with names of rows and columns.

    Attributes:
        images: (rows, columns) PNG files as base64; None leaves a place empty.
        rows: (rows,) names of the rows, or none.
        columns: (columns,) names of the columns, or none.
    """

    type: ClassVar[str] = "images"

    images: Sequence[Sequence[str | None]]
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        title: str,
        images: Any,
        *,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
    ) -> Images:
        """Arrays as a panel.

        Args:
            title: what stands above it.
            images: (rows, columns, height, width) or (rows, columns, height, width, 3) uint8;
                lists of lists may have None for an image.
            rows: names of the rows.
            columns: names of the columns.

        Raises:
            UsageError: other arrays, images of two sizes, or other numbers of names.
        """
        grid = [[None if each is None else _encoded(each) for each in row] for row in images]
        return cls(title, grid, rows, columns)

    def check(self) -> None:
        self.require(bool(self.images and self.images[0]), "some images")
        down, across = len(self.images), len(self.images[0])
        check_table(self, "images", self.images, down, across)
        self.require(len(self.rows) in (0, down), f"{down} names of rows, or none")
        self.require(len(self.columns) in (0, across), f"{across} names of columns, or none")
        sizes = self._sizes()
        self.require(len(sizes) == 1, f"images of one size, not {sorted(sizes)}")
        high, wide = next(iter(sizes))
        self.require(0 < high * wide <= _LARGEST, "images of at most 4096 x 4096")

    def arrays(self) -> list[list[np.ndarray | None]]:
        """The images as (height, width) or (height, width, 3) uint8."""
        return [
            [None if each is None else self._decoded(each) for each in row] for row in self.images
        ]

    def _sizes(self) -> set[tuple[int, int]]:
        """Heights and widths of the images, from their first bytes."""
        return {self._size_of(each) for row in self.images for each in row if each is not None}

    def _size_of(self, text: str) -> tuple[int, int]:
        content = self._bytes(text)
        if not content.startswith(_PNG) or len(content) < _HEADER:
            raise self._no_png()
        wide, high = struct.unpack(">II", content[_HEADER - 8 : _HEADER])
        return high, wide

    def _bytes(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise self._no_png() from error

    def _no_png(self) -> UsageError:
        return UsageError(f"{self.called} holds an image that is no PNG in base64")

    def _decoded(self, text: str) -> np.ndarray:
        from PIL import Image

        from repsim.pictures import is_grey, pixels

        try:
            with Image.open(io.BytesIO(self._bytes(text)), formats=["PNG"]) as png:
                grey = is_grey(png)
                found = pixels(png, self.called, grey=grey)
                return found[..., 0] if grey else found
        except DataError as error:
            raise UsageError(str(error)) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise self._no_png() from error

    def _size(self) -> tuple[float, float]:
        """Width and height of the grid, in widths of an image."""
        high, wide = next(iter(self._sizes()))
        return len(self.images[0]) * (1 + _GAP), len(self.images) * (high / wide + _GAP)

    def height(self, width: float) -> float:
        wide, high = self._size()
        line = 1.2 * rc("font.size") / 72
        return 0.85 * width * high / wide + line * (1.5 if self.columns else 0.5)

    def draw(self, ax: Axes, frame: Frame) -> None:
        wide, high = self._size()
        step = high / len(self.images)
        for i, row in enumerate(self.arrays()):
            for j, image in enumerate(row):
                if image is not None:
                    left, top = j * (1 + _GAP), i * step
                    extent = (left, left + 1, top + step - _GAP, top)
                    shown: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255}
                    ax.imshow(image, extent=extent, aspect="auto", interpolation="nearest", **shown)
        ax.set_xlim(0, wide - _GAP)
        ax.set_ylim(high - _GAP, 0)
        self._name(ax, step)

    def settle(self, ax: Axes, frame: Frame) -> None:
        ax.set_aspect("equal")

    def _name(self, ax: Axes, step: float) -> None:
        columns = [j * (1 + _GAP) + 0.5 for j in range(len(self.columns))]
        rows = [i * step + (step - _GAP) / 2 for i in range(len(self.rows))]
        ax.set_xticks(columns, list(self.columns))
        ax.set_yticks(rows, list(self.rows))
        ax.xaxis.tick_top()
        bare(ax)


def _encoded(image: Any) -> str:
    """An array as a PNG in base64."""
    array = np.asarray(image)
    gray = array.ndim == 2
    if array.dtype != np.uint8 or not (gray or (array.ndim == 3 and array.shape[2] == 3)):
        raise UsageError(
            f"an image has shape {array.shape} and type {array.dtype}; expected "
            "(height, width) or (height, width, 3) of uint8"
        )
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
