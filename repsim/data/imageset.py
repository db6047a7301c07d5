"""The image set that everything else reads, and the conversions of its pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from repsim.data.splits import Split
from repsim.errors import ShapeError


def slug(name: str, split: str) -> str:
    """An image set and the canonical text of a split as a file name, without brackets."""
    plain = split.replace("[", ".").replace(":", "-").replace("]", "")
    return re.sub(r"[^\w.-]+", "_", f"{name}-{plain}")


def to_input(images: Tensor) -> Tensor:
    """Pixels as networks read them: uint8 in 0..255 to float32 in [-1, 1], same shape."""
    return images.float() / 127.5 - 1.0


def fit(images: Tensor, size: int) -> Tensor:
    """Stretch images to ``size`` x ``size`` bilinearly, smoothing where they shrink.

    Args:
        images: uint8, shape (n, c, h, w).
        size: side in pixels.

    Returns:
        uint8, shape (n, c, size, size); ``images`` itself if nothing changes.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    shrinks = max(height, width) > size
    return torch.cat(
        [
            # float64: weights such as 1/64 and their sums are exact, hence equal on every machine
            interpolate(part.double(), (size, size), mode="bilinear", antialias=shrinks)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            for part in images.split(4096)
        ]
    )


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one split, with their labels and names.

    Attributes:
        name: of the set, such as ``digits``.
        split: canonical text, such as ``train`` or ``train[0:1000]``.
        images: uint8, shape (n, c, size, size).
        labels: int64, shape (n,), indices into ``classes``; None where there are none.
        ids: n distinct names, the same in every slice: ``digits/train/17`` counts within the
            full split; in a folder it is the path of the file.
        classes: the name of each label.

    Raises:
        ShapeError: images of another shape or type, or labels or ids of another length.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    labels: Tensor | None = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4:
            raise ShapeError(
                f"images of {self.name}: expected uint8 of shape (n, c, height, width), "
                f"got {self.images.dtype} of shape {shape}"
            )
        for what, values in (("labels", self.labels), ("ids", self.ids)):
            if values is not None and len(values) != len(self):
                raise ShapeError(f"{self.name} has {len(self)} images but {len(values)} {what}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def slug(self) -> str:
        """Name and split as a file name: ``digits-train``, ``digits-train.0-1000``."""
        return slug(self.name, self.split)

    def inputs(self, indices: Tensor | Sequence[int] | slice | None = None) -> Tensor:
        """The images at ``indices`` (default all) as float32 in [-1, 1], shape (k, c, h, w)."""
        return to_input(self.images if indices is None else self.images[indices])


def select(
    name: str,
    split: Split,
    images: Tensor,
    labels: Tensor | None,
    classes: tuple[str, ...],
    size: int,
    ids: Sequence[str] | None = None,
) -> ImageSet:
    """The image set of ``split``, out of all the images of its base.

    Args:
        name: of the set.
        split: what to take; its bounds may be open.
        images: uint8, shape (n, c, h, w): the full base split.
        labels: int64, shape (n,), or None.
        classes: the name of each label.
        size: side in pixels to which the images are stretched.
        ids: n names; default ``name/base/index``.

    Raises:
        UsageError: the split reaches beyond n.
    """
    split = split.within(len(images))
    rows = split.rows
    return ImageSet(
        name=name,
        split=str(split),
        images=fit(images[rows], size),
        labels=None if labels is None else labels[rows],
        ids=tuple(ids[rows]) if ids is not None else numbered(name, split, len(images)),
        classes=classes,
    )


def numbered(name: str, split: Split, length: int) -> tuple[str, ...]:
    """The ids of a split whose examples are known by their place in a base of ``length``."""
    return tuple(f"{name}/{split.base}/{row}" for row in range(length)[split.rows])
