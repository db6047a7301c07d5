"""Relative patch location: on which side of the middle patch does another lie (Doersch 2015)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from repsim.training.patches import PatchConfig, PatchTask

#: The patch in the middle of nine.
MIDDLE = 4


class RelativePatchLocation(PatchTask):
    """Cross-entropy on the place of each of eight patches around the middle one.

    The head reads the embeddings of the outer patch and of the middle one. All eight pairs of an
    image are in one batch, as in the code of Kolesnikov et al. (2019).
    """

    settings = PatchConfig

    def make_orders(self, config: Any) -> Tensor:
        return torch.tensor([(place, MIDDLE) for place in range(9) if place != MIDDLE])


METHOD = RelativePatchLocation
