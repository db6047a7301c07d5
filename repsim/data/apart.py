"""Parts of image sets that must not share images: what learns from one is scored on the other."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from repsim.errors import MismatchError, RepsimWarning
from repsim.repeats import BY_CHANCE

if TYPE_CHECKING:
    from repsim.data.folder import ImageFiles
    from repsim.data.imageset import ImageSet


def check_apart(train: ImageSet | ImageFiles, test: ImageSet | ImageFiles, remedy: str) -> None:
    """Compare the ids of two parts, and their pixels where both are in memory at one size.

    Args:
        train: the part that is learned from.
        test: the part that is scored on.
        remedy: the end of the message, on what to do.

    Raises:
        MismatchError: images in both, by their ids or by their pixels.

    Warns:
        RepsimWarning: a few images of ``test`` have the pixels of images of ``train``.
    """
    names = f"{train.name} {train.split} and {test.name} {test.split}"
    common = np.intersect1d(train.ids, test.ids)
    if common.size:
        raise MismatchError(f"{names} share {common.size} images, such as {common[0]}; {remedy}")
    seen = _seen(train, test)
    if not seen.size:
        return
    said = (
        f"{names}: {seen.size:,} of {len(test):,} images of the latter have the pixels of images "
        f"of the former under other names, such as {test.ids[seen[0]]}"
    )
    if seen.size > BY_CHANCE * len(test):
        raise MismatchError(f"{said}; {remedy}")
    warnings.warn(f"{said}; they count as held out", RepsimWarning, stacklevel=3)


def _seen(train: ImageSet | ImageFiles, test: ImageSet | ImageFiles) -> np.ndarray:
    """The indices of the images of ``test`` that have the pixels of one of ``train``."""
    known, shown = (getattr(each, "images", None) for each in (train, test))
    if known is None or shown is None or known.shape[1:] != shown.shape[1:]:
        return np.empty(0, np.int64)
    digests = [
        np.array([hashlib.blake2b(each.data, digest_size=16).digest() for each in images.numpy()])
        for images in (known.contiguous(), shown.contiguous())
    ]
    return np.flatnonzero(np.isin(digests[1], digests[0]))
