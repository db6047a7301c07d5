"""Inputs that a loader pads to the longest of their batch, with nothing that says where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim.activations.capture.batches import LABELS, batch_size, is_by_example
from repsim.activations.capture.fillers import is_filled
from repsim.activations.capture.masks import NO_TOKENS
from repsim.errors import UsageError


class PaddedLengths:
    """The lengths of inputs from batch to batch, and the padding that evidently fills them.

    Padding is evident where ``is_filled`` says so. Sets whose inputs have one length may well look
    like that, as images of digits do, so that only inputs of several lengths are judged.
    """

    def __init__(self) -> None:
        self._lengths: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._padded: set[tuple[str, int]] = set()

    def check(self, entries: Mapping[str, Any]) -> None:
        """Look at the inputs of a further batch.

        Raises:
            UsageError: they have another length than before, and are padded to it.
        """
        n = batch_size(entries)
        for name, value in entries.items():
            if name in LABELS or name.endswith(NO_TOKENS):
                continue
            if isinstance(value, (Tensor, np.ndarray)) and is_by_example(name, value, n):
                self._see(name, torch.as_tensor(value))

    def _see(self, name: str, value: Tensor) -> None:
        for axis in range(1, value.ndim if value.ndim in (2, 3) else 1):
            place = name, axis
            self._lengths[place].add(value.shape[axis])
            if is_filled(value.movedim(axis, 1)):
                self._padded.add(place)
            if len(self._lengths[place]) > 1 and place in self._padded:
                raise _refusal(name, sorted(self._lengths[place]))


def _refusal(name: str, lengths: list[int]) -> UsageError:
    return UsageError(
        f"{name!r} comes in lengths of {lengths[0]} and {lengths[-1]}, filled up to the "
        "longest of each batch, so that values depend on the batch, and nothing says where padding "
        "is; give a mask or lengths in the batch, examples of one length in each batch, or --masks "
        "'*=none' (masks={'*': 'none'}) to take all"
    )
