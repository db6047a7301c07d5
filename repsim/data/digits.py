"""The 1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from repsim.data.imageset import ImageSet, select
from repsim.data.splits import Split, holdout

SIZES: Mapping[str, int] = {"train": 1437, "test": 360}
FLIPS = False
CLASSES = tuple("0123456789")


def missing(data_dir: Path) -> list[str]:
    """Nothing: scikit-learn brings the file."""
    return []


def load(split: Split, data_dir: Path, size: int) -> ImageSet:
    """Read a split, with pixel values 0..16 scaled to 0..255 and 8 x 8 stretched bilinearly.

    The set has no official test split; ``holdout`` draws one that never changes.

    Args:
        split: of ``train`` or ``test``.
        data_dir: not used.
        size: side of the images in pixels.

    Raises:
        UsageError: no such split.
    """
    from sklearn.datasets import load_digits

    split.among("digits", SIZES)
    pixels, labels = load_digits(return_X_y=True)
    held = holdout([str(row) for row in range(len(labels))], labels)
    chosen = held if split.base == "test" else ~held
    images = np.rint(pixels[chosen] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return select(
        "digits",
        split,
        torch.from_numpy(images),
        torch.from_numpy(labels[chosen].astype(np.int64)),
        CLASSES,
        size,
    )
