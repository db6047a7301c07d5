"""The image set that everything else reads, and the conversions of its pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from repsim.data.filelist import FileList
from repsim.data.size import Size, size_text
from repsim.data.splits import Split
from repsim.data.targets import Labelled, Target, label_target
from repsim.errors import ShapeError
from repsim.moved import warn_parameter


def slug(name: str, split: str, size: Size | None = None) -> str:
    """A set and the canonical text of a split as a file name, without brackets.

    ``size`` is named where it is not the default of the set: ``mnist-28x28-test``.
    """
    plain = split.replace("[", ".").replace(":", "-").replace("]", "")
    middle = "" if size is None else f"-{size_text(size)}"
    return re.sub(r"[^\w.-]+", "_", f"{name}{middle}-{plain}")


def to_input(images: Tensor) -> Tensor:
    """Pixels as networks read them: uint8 in 0..255 to float32 in [-1, 1], same shape."""
    return images.float() / 127.5 - 1.0


def fit(images: Tensor, size: Size) -> Tensor:
    """Stretch images to a height and width bilinearly, smoothing where they shrink.

    Args:
        images: uint8, shape (n, c, h, w).
        size: height and width in pixels.

    Returns:
        uint8, shape (n, c, *size); ``images`` itself if nothing changes.
    """
    before = images.shape[-2:]
    if tuple(before) == size:
        return images
    shrinks = before[0] > size[0] or before[1] > size[1]
    return torch.cat(
        [
            # float64: weights such as 1/64 and their sums are exact, hence equal on every machine
            interpolate(part.double(), size, mode="bilinear", antialias=shrinks)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            for part in images.split(4096)
        ]
    )


@dataclass(frozen=True, eq=False)
class ImageSet(Labelled):
    """Images of one split, with their targets and names.

    Attributes:
        name: of the set, such as ``digits``.
        split: canonical text, such as ``train`` or ``train[0:1000]``.
        images: uint8, shape (n, c, height, width).
        targets: values for each example; ``labels`` and ``classes`` are those of the chosen one.
        ids: n distinct names, the same in every slice: ``digits/train/17`` counts within the
            full split; in a folder it is the path of the file.
        chosen: name of the chosen target; empty for the first.
        resized: whether the size is another than the default of the set.
        files: names and sizes of the files that the images were read from, if any.
        whole: images of all splits together; 0 where that is not known.

    Raises:
        ShapeError: images of another shape or type, or targets or ids of another length.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    targets: tuple[Target, ...]
    ids: tuple[str, ...] = field(repr=False)
    chosen: str = ""
    resized: bool = False
    files: FileList | None = field(default=None, repr=False)
    whole: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4:
            raise ShapeError(
                f"images of {self.name}: expected uint8 of shape (n, c, height, width), "
                f"got {self.images.dtype} of shape {shape}"
            )
        if len(self.ids) != len(self):
            raise ShapeError(f"{self.name} has {len(self)} images but {len(self.ids)} ids")
        self.check_targets(len(self), "images")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return (self.images.shape[2], self.images.shape[3])

    @property
    def slug(self) -> str:
        """Name and split as a file name: ``digits-train``, ``mnist-28x28-train.0-1000``."""
        return slug(self.name, self.split, self.size if self.resized else None)

    def inputs(self, indices: Tensor | Sequence[int] | slice | None = None) -> Tensor:
        """The images at ``indices`` (default all) as float32 in [-1, 1], shape (k, c, h, w)."""
        return to_input(self.images if indices is None else self.images[indices])


def _take_labels(kind: type[ImageSet]) -> None:
    """Let image sets be made of ``labels`` and ``classes``, as before they had targets."""
    make = kind.__init__

    @wraps(make)
    def init(self: ImageSet, *args: Any, **given: Any) -> None:
        placed = len(args) > 3 and (args[3] is None or isinstance(args[3], Tensor))
        if placed or "labels" in given or "classes" in given:
            warn_parameter("ImageSet", "labels", "targets")
            named = dict(zip(_FIELDS_BEFORE, args, strict=False)) | given
            targets = label_target(named.pop("labels", None), named.pop("classes", ()))
            args, given = (), {**named, "targets": targets}
        make(self, *args, **given)

    init.renamed = {"labels": "targets", "classes": "targets"}  # type: ignore[attr-defined]
    kind.__init__ = init  # type: ignore[method-assign]


#: Those of an image set before it had targets.
_FIELDS_BEFORE = ("name", "split", "images", "labels", "ids", "classes")

_take_labels(ImageSet)


def select(
    name: str,
    split: Split,
    images: Tensor,
    targets: Sequence[Target],
    ids: Sequence[str] | None = None,
    files: FileList | None = None,
) -> ImageSet:
    """The image set of ``split``, out of all the images of its base.

    Args:
        name: of the set.
        split: the part to take; its bounds may be open.
        images: uint8, shape (n, c, h, w): the full base split.
        targets: of the full base split.
        ids: n names; default ``name/base/index``.
        files: that the images were read from.

    Raises:
        UsageError: the split reaches beyond n.
    """
    split = split.within(len(images))
    rows = split.rows
    return ImageSet(
        name=name,
        split=str(split),
        images=images[rows],
        targets=tuple(target[rows] for target in targets),
        ids=tuple(ids[rows]) if ids is not None else numbered(name, split, len(images)),
        files=files,
    )


def numbered(name: str, split: Split, length: int) -> tuple[str, ...]:
    """The ids of a split whose examples are known by their place in a base of ``length``."""
    return tuple(f"{name}/{split.base}/{row}" for row in range(length)[split.rows])
