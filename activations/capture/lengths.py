"""Inputs that a loader pads to the longest of their batch, with nothing that says where."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim.activations.capture.batches import LABELS, batch_size, is_by_example
from repsim.activations.capture.fillers import is_filled
from repsim.activations.capture.masks import NO_TOKENS
from repsim.errors import RepsimWarning, UsageError


class PaddedLengths:
    """The lengths of inputs from batch to batch, and the padding that evidently fills them.

    Padding is evident where ``is_filled`` says so. Sets whose inputs have one length may well look
    like that, as images of digits do, so that only inputs of several lengths are judged. Maps are
    warned of, for images may have black borders.
    """

    def __init__(self) -> None:
        self._lengths: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._padded: set[tuple[str, int]] = set()
        self._warned = False

    def check(self, entries: Mapping[str, Any]) -> None:
        """Look at the inputs of a further batch.

        Raises:
            UsageError: they have another length than before, and are padded to it.

        Warns:
            RepsimWarning: maps have another size than before, and are filled up to it; once.
        """
        n = batch_size(entries)
        for name, value in entries.items():
            if name in LABELS or name.endswith(NO_TOKENS):
                continue
            if isinstance(value, (Tensor, np.ndarray)) and is_by_example(name, value, n):
                self._see(name, torch.as_tensor(value))

    def _see(self, name: str, value: Tensor) -> None:
        for axis in range(1, value.ndim):
            place = name, axis
            self._lengths[place].add(value.shape[axis])
            if is_filled(value.movedim(axis, 1)):
                self._padded.add(place)
            if len(self._lengths[place]) == 1 or place not in self._padded:
                continue
            sizes = sorted(self._lengths[place])
            if value.ndim < 4:
                raise _refusal(name, sizes)
            if not self._warned:
                self._warned = True
                _warn_of_maps(name, sizes)


def _warn_of_maps(name: str, sizes: list[int]) -> None:
    """Warn of images, maps or videos that are filled up, or that end in a border of their own."""
    warnings.warn(
        f"{name!r} comes in sizes of {sizes[0]} and {sizes[-1]}, filled up to the "
        "largest of each batch, so that values depend on the batch: give batches of one example, "
        "or of one size; --masks '*=none' (masks={'*': 'none'}) takes all without this warning",
        RepsimWarning,
        stacklevel=3,
    )


def _refusal(name: str, lengths: list[int]) -> UsageError:
    return UsageError(
        f"{name!r} comes in lengths of {lengths[0]} and {lengths[-1]}, filled up to the "
        "longest of each batch, so that values depend on the batch, and nothing says where padding "
        "is; give a mask or lengths in the batch, examples of one length in each batch, or --masks "
        "'*=none' (masks={'*': 'none'}) to take all"
    )
