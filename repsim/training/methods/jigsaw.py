"""Jigsaw: in which order are the patches of an image (Noroozi and Favaro 2016)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from repsim.training.method import Batch, StepContext
from repsim.training.patches import PatchConfig, PatchTask
from repsim.training.permutations import distant_permutations


class Config(PatchConfig):
    """The settings of the code of Kolesnikov et al. (2019), with patches by proportion."""

    grid: Literal[2, 3] = Field(3, description="cells along each side; 2 for larger patches")
    permutations: int = Field(
        100, ge=2, description="orders to tell apart, or as many as the patches have"
    )
    drawn: int = Field(8, ge=1, description="of these, orders of every image in a step")

    @property
    def side(self) -> int:
        return self.grid


class Jigsaw(PatchTask):
    """Cross-entropy on the number of a permutation of the patches, of some that are far apart.

    A step draws a few permutations and puts the patches of each image into all of them, as the code
    of Kolesnikov et al. (2019) does. Held-out images are scored in all.
    """

    settings = Config
    config: Config

    def make_orders(self, config: Config) -> Tensor:
        return distant_permutations(config.side**2, config.permutations)

    def chosen(self, batch: Batch, context: StepContext) -> Tensor:
        # By way of a transform, so that all processes draw the same.
        return context.augment(self.drawn, batch.labels)[0]

    def drawn(self, images: Tensor) -> Tensor:
        """Numbers of permutations drawn without replacement, in a row for each of some images."""
        numbers = torch.randperm(len(self.orders))[: self.config.drawn]
        return numbers.to(images.device).expand(len(images), -1)


METHOD = Jigsaw
