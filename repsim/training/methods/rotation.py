"""Rotation: by how many quarter turns was an image turned (Gidaris et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.method import Batch, StepContext
from repsim.training.pretext import Pretext, PretextConfig, share_right

#: Quarter turns of each image.
TURNS = 4


class Rotation(Pretext):
    """Cross-entropy on the number of quarter turns; all four copies of an image are in one batch.

    Each copy is of the same crop, as in Kolesnikov et al. (2019).
    """

    settings = PretextConfig
    network = "revnet"

    def __init__(self, config: PretextConfig, spec: ImageSpec) -> None:
        if spec.height != spec.width:
            raise UsageError(
                f"images are {spec.height} x {spec.width}; rotation turns them by quarters and "
                f"needs square ones: try --image-size {min(spec.size)}"
            )
        super().__init__(config, spec)

    def make_head(self, features: int) -> nn.Module:
        return nn.Linear(features, TURNS)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        images, turns = turned(context.augment(self.augment, batch.images))
        logits = context.networks["encoder"](images)
        loss = F.cross_entropy(logits, turns)
        context.descend(loss, "encoder")
        return {"loss": loss.detach(), "accuracy": share_right(logits, turns)}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        images, turns = turned(batch.images)
        return {"accuracy": share_right(self.encoder(images), turns) * len(batch.images)}


def turned(images: Tensor) -> tuple[Tensor, Tensor]:
    """All images by 0, 1, 2 and 3 quarter turns against the clock, and the number of turns of each.

    Args:
        images: (n, c, side, side).

    Returns:
        (4 n, c, side, side) and (4 n,) int64, those of one number of turns together.
    """
    copies = torch.cat([images.rot90(k, (2, 3)) for k in range(TURNS)])
    return copies, torch.arange(TURNS, device=images.device).repeat_interleave(len(images))


METHOD = Rotation
