"""Two digits side by side; labels reward one of them (Song, Zhao and Ermon 2017)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from repsim.configuration import setting
from repsim.data.composed import Composed
from repsim.data.imageset import ImageSet, fit, numbered
from repsim.data.pairs import Draws, compose, draw_pairs
from repsim.data.sets import find_set
from repsim.data.size import Size, size_text
from repsim.data.splits import Split
from repsim.data.targets import Target
from repsim.errors import UsageError


@dataclass(frozen=True)
class TwoDigits(Composed):
    """Pairs of single digits, with targets ``left``, ``right`` and ``kept``.

    ``keep`` and ``copy`` are of the split ``train``. In ``validation`` and ``test`` every left
    digit is readable and no label is copied, unless ``clean`` is False. No digit is in two splits:
    ``validation`` has a fifth of the training digits, ``train`` the others, ``test`` the test
    digits.
    """

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

    @property
    def count_of_each(self) -> int:
        return self.pairs

    @property
    def own_size(self) -> Size:  # type: ignore[override]
        """Height and width of two digits as they are stored."""
        height, width = self.single_size
        return height, 2 * width

    @property
    def shifts(self) -> bool:
        return self.clean and (self.keep, self.copy) != (1.0, 0.0)

    def alike(self) -> TwoDigits:
        return replace(self, clean=False)

    def outline(self) -> TwoDigits:
        """A single pair of the same digits, for sets that differ in their draws alone."""
        return TwoDigits(base=self.base, pairs=1)

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Compose the pairs of a split.

        Raises:
            UsageError: a slice beyond the split, or a base that has no labels or only one class.
            DataError: files of the base that are absent or damaged.
        """
        split = split.within(self.pairs)
        single = self.singles(split.base, data_dir)
        stop = self.pairs if split.stop is None else split.stop
        draws = Draws(f"repsim two-digits {self.seed} {split.base}", split.start, stop)
        cleaned = self.clean and split.base != "train"
        keep, copy = (1.0, 0.0) if cleaned else (self.keep, self.copy)
        pairs = draw_pairs(single.images, draws, keep=keep, copy=copy)
        labels = [Target(side, values, single.classes) for side, values in pairs.labels.items()]
        return ImageSet(
            name=self.name,
            split=str(split),
            images=compose(single.images, pairs, draws, self.corruption),
            targets=(*labels, Target("kept", pairs.kept.long(), ("lost", "kept"))),
            ids=numbered(self.name, split, self.pairs),
            files=single.files,
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


SET = TwoDigits
