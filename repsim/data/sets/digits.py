"""The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from repsim.configuration import setting
from repsim.data.dataset import DataSet
from repsim.data.imageset import ImageSet, select
from repsim.data.splits import Split, holdout
from repsim.data.targets import label_target

_LEVELS = 17  # pixels are 0..16


@dataclass(frozen=True)
class Digits(DataSet):
    """The digits, with pixel values 0..16 scaled to 0..255.

    The set has no official test split; ``holdout`` draws one that never changes. The same pixels
    are replaced in an image whatever the slice, and more of them at a higher ``noise``.
    """

    noise: float = setting(0.0, "probability that a pixel is replaced by a uniform one", ge=0, le=1)
    seed: int = setting(0, "of the noise", ge=0)

    sizes: ClassVar[Mapping[str, int]] = {"train": 1437, "test": 360}
    own_size = (8, 8)
    flips = False

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        held = holdout([str(row) for row in range(len(labels))], labels)
        chosen = np.flatnonzero(held if split.base == "test" else ~held)
        levels = pixels[chosen]
        if self.noise:
            levels = np.stack(
                [self._noisy(int(row), image) for row, image in zip(chosen, levels, strict=True)]
            )
        images = np.rint(levels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        labels = torch.from_numpy(labels[chosen].astype(np.int64))
        targets = label_target(labels, tuple("0123456789"))
        return select(self.name, split, torch.from_numpy(images), targets)

    def _noisy(self, row: int, image: np.ndarray) -> np.ndarray:
        """An image (64,) of levels, some of them drawn anew."""
        # A hash rather than a generator: the same under every version of every library.
        stream = hashlib.shake_256(f"repsim digits {self.seed} {row}".encode()).digest(8 * 64)
        hit, level = np.frombuffer(stream, "<u4").reshape(2, 64) / 2**32
        return np.where(hit < self.noise, np.floor(level * _LEVELS), image)


SET = Digits
