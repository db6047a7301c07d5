"""Two digits side by side; labels reward one of them (Song, Zhao and Ermon 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from repsim.configuration import setting
from repsim.data import catalog
from repsim.data.dataset import DataSet
from repsim.data.filelist import FileList
from repsim.data.imageset import ImageSet, fit, numbered
from repsim.data.pairs import Draws, Labelled, compose, draw_pairs
from repsim.data.sets import find_set
from repsim.data.size import Size, size_text
from repsim.data.splits import Split, holdout
from repsim.data.targets import Target
from repsim.errors import UsageError

#: Height and width of a digit of MNIST; those of files are brought to it.
_DIGIT: Size = (28, 28)

#: The splits, and the part of the single digits that each is made of.
_MADE_OF = {"train": "train", "validation": "train", "test": "test"}


@dataclass(frozen=True)
class TwoDigits(DataSet):
    """Pairs of single digits, with targets ``left``, ``right`` and ``kept``.

    ``keep`` and ``copy`` are of the split ``train``. In ``validation`` and ``test`` every left
    digit is readable and no label is copied, unless ``clean`` is False. No digit is in two splits:
    ``validation`` has a fifth of the training digits, ``train`` the others, ``test`` the test
    digits.
    """

    base: str = setting("mnist", "single digits: a set, an .npz file or a folder")
    keep: float = setting(1.0, "probability that a left digit stays readable", ge=0, le=1)
    copy: float = setting(0.0, "probability that the right one repeats the left label", ge=0, le=1)
    corruption: Literal["noise", "blank", "shuffled"] = setting(
        "noise", "left digits that are not kept: noise, blank, or shuffled pixels of another digit"
    )
    pairs: int = setting(10_000, "pairs of each split", ge=1, le=1_000_000)
    seed: int = setting(0, "of the pairs", ge=0)
    clean: bool = setting(
        True, "validation and test have all digits readable and independent labels"
    )

    default_size = (28, 56)
    flips = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(find_set(self.base), TwoDigits):
            raise UsageError(f"base is {self.base!r}; expected a set of single digits")

    @property
    def sizes(self) -> Mapping[str, int]:  # type: ignore[override]
        """Pairs of each split."""
        return dict.fromkeys(_MADE_OF, self.pairs)

    @property
    def own_size(self) -> Size:  # type: ignore[override]
        """Height and width of two digits as they are stored; 28 x 56 of files."""
        named = find_set(self.base)
        height, width = _DIGIT if named is None else named.own_size
        return height, 2 * width

    @property
    def shifts(self) -> bool:
        return self.clean and (self.keep, self.copy) != (1.0, 0.0)

    def alike(self) -> TwoDigits:
        return replace(self, clean=False)

    def outline(self) -> TwoDigits:
        """A single pair of the same digits, for sets that differ in their draws alone."""
        return TwoDigits(base=self.base, pairs=1)

    def missing(self, data_dir: Path) -> list[str]:
        named = find_set(self.base)
        return [] if named is None else named.missing(data_dir)

    def files(self, split: Split, data_dir: Path) -> FileList | None:
        """Files of the single digits; None of a base that is not a named set."""
        named = find_set(self.base)
        return None if named is None else named.files(Split(_MADE_OF[split.base]), data_dir)

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Compose the pairs of a split.

        Raises:
            UsageError: a slice beyond the split, or a base that has no labels or only one class.
            DataError: files of the base that are absent or damaged.
        """
        split = split.within(self.pairs)
        single, classes, files = self._single(split.base, data_dir)
        stop = self.pairs if split.stop is None else split.stop
        draws = Draws(f"repsim two-digits {self.seed} {split.base}", split.start, stop)
        cleaned = self.clean and split.base != "train"
        keep, copy = (1.0, 0.0) if cleaned else (self.keep, self.copy)
        pairs = draw_pairs(single, draws, keep=keep, copy=copy)
        labels = [Target(side, values, classes) for side, values in pairs.labels.items()]
        return ImageSet(
            name=self.name,
            split=str(split),
            images=compose(single, pairs, draws, self.corruption),
            targets=(*labels, Target("kept", pairs.kept.long(), ("lost", "kept"))),
            ids=numbered(self.name, split, self.pairs),
            files=files,
        )

    def fit(self, images: Tensor, size: Size) -> Tensor:
        """Pairs at another size: each half on its own, so that neither enters the other."""
        height, width = size
        if width % 2:
            raise UsageError(
                f"image size {size_text(size)} of {self.plain_name()}; expected an even width, "
                f"half of it for each digit, such as {height}x{width + 1}"
            )
        named = find_set(self.base)
        change: Any = fit if named is None else named.fit
        half = (height, width // 2)
        if tuple(images.shape[2:]) == (height, width):
            return images
        return torch.cat([change(each, half) for each in images.chunk(2, dim=3)], dim=3)

    def _single(
        self, base: str, data_dir: Path
    ) -> tuple[Labelled, tuple[str, ...], FileList | None]:
        """The digits that a split is made of, the names of their classes, and their files."""
        size = "own" if find_set(self.base) is not None else _DIGIT
        found = catalog.load(self.base, _MADE_OF[base], data_dir=data_dir, image_size=size)
        if not found.has_labels or found.labels is None or len(found.classes) < 2:
            raise UsageError(
                f"base {self.base!r} of {self.plain_name()} has {len(found.classes)} classes; "
                "expected images of two classes or more"
            )
        images, labels = found.images, found.labels
        if _MADE_OF[base] == "train":
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
        return single, found.classes, found.files


SET = TwoDigits
