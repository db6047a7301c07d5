"""Sets composed of the images of another set, no image of which is in two of their splits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from repsim.configuration import setting
from repsim.data import catalog
from repsim.data.dataset import DataSet
from repsim.data.filelist import FileList
from repsim.data.pairs import Labelled
from repsim.data.sets import find_set
from repsim.data.size import Size
from repsim.data.splits import Split, holdout
from repsim.errors import UsageError

#: Height and width of a digit of MNIST; single images of files are brought to it.
_DIGIT: Size = (28, 28)

#: The splits, and the part of the single images that each is made of.
MADE_OF = {"train": "train", "validation": "train", "test": "test"}


@dataclass(frozen=True)
class Singles:
    """The single images that a split is made of.

    Attributes:
        images: in order of their labels.
        classes: names of the labels.
        files: that the images were read from, if any.
    """

    images: Labelled
    classes: tuple[str, ...]
    files: FileList | None


@dataclass(frozen=True)
class Composed(DataSet):
    """A set whose images are composed of single ones.

    ``validation`` is made of a fifth of the training images of the base, ``train`` of the others,
    ``test`` of the test images.
    """

    base: str = setting("mnist", "single digits: a set, an .npz file or a folder")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(find_set(self.base), Composed):
            raise UsageError(f"base is {self.base!r}; expected a set of single digits")

    @property
    @abstractmethod
    def count_of_each(self) -> int:
        """Number of images of each split."""

    @property
    def sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """Images of each split."""
        return dict.fromkeys(MADE_OF, self.count_of_each)

    @property
    def single_size(self) -> Size:
        """Height and width of a single image as it is stored; 28 x 28 of files."""
        named = find_set(self.base)
        return _DIGIT if named is None else named.own_size

    def missing(self, data_dir: Path) -> list[str]:
        named = find_set(self.base)
        return [] if named is None else named.missing(data_dir)

    def files(self, split: Split, data_dir: Path) -> FileList | None:
        """Files of the single images; None of a base that is not a named set."""
        named = find_set(self.base)
        return None if named is None else named.files(Split(MADE_OF[split.base]), data_dir)

    def singles(self, base: str, data_dir: Path) -> Singles:
        """The single images that a split is made of.

        Raises:
            UsageError: a base that has no labels or only one class, or a class without an image.
            DataError: files of the base that are absent or damaged.
        """
        size = "own" if find_set(self.base) is not None else _DIGIT
        found = catalog.load(self.base, MADE_OF[base], data_dir=data_dir, image_size=size)
        if not found.has_labels or found.labels is None or len(found.classes) < 2:
            raise UsageError(
                f"base {self.base!r} of {self.plain_name()} has {len(found.classes)} classes; "
                "expected images of two classes or more"
            )
        images, labels = found.images, found.labels
        if MADE_OF[base] == "train":
            held = holdout(found.ids, labels.numpy())
            rows = torch.from_numpy(np.flatnonzero(held == (base == "validation")))
            images, labels = images[rows], labels[rows]
        single = Labelled.of(images, labels, len(found.classes))
        if not bool(single.counts.all()):
            name = found.classes[int((single.counts == 0).nonzero()[0])]
            raise UsageError(
                f"base {self.base!r} of {self.plain_name()} has no image of class {name!r} for "
                f"{base}; expected at least one of each class in each split"
            )
        return Singles(single, found.classes, found.files)
