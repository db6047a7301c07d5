"""Exemplar: views of one image lie nearer to each other than to other images (Dosovitskiy 2014)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.data.augment import inception
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.method import Batch, StepContext
from repsim.training.pretext import Pretext, PretextConfig
from repsim.training.triplets import Triplets

#: The axis of embeddings (n, views, dimensions) that each choice brings to length 1.
AXES = {"features": (2,), "batch": (0, 1)}


class Config(PretextConfig):
    """The settings of the code of Kolesnikov et al. (2019)."""

    batch_size: int = Field(64, ge=2, description="images a step, each in several views")
    views: int = Field(8, ge=2, description="crops of each image")
    embedding: int = Field(1000, ge=1, description="dimensions in which views are compared")
    margin: float = Field(0.5, ge=0, description="of squared distances, between images and within")
    norm_axis: Literal["features", "batch"] = Field(
        "features",
        description="length 1 of each embedding, or of each dimension over the batch, as the code",
    )
    min_area: float = Field(0.05, gt=0, le=1, description="smallest crop, as a share of the image")
    grey: float = Field(0.66, ge=0, le=1, description="probability of a grey view")


class Exemplar(Pretext):
    """A triplet loss with semi-hard negatives between views of the images of a batch.

    The images of all processes are each other's negatives.
    """

    settings = Config
    network = "resnet_v2"
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        if config.batch_size < 2 * config.accumulate:
            raise UsageError(
                f"accumulate is {config.accumulate} for a batch_size of {config.batch_size}; "
                "exemplar compares images with others of their part of the batch: take at least "
                "2 images a part"
            )
        super().__init__(config, spec)
        self.augment = inception(
            spec.channels,
            spec.size,
            flip=spec.flips,
            min_area=config.min_area,
            grey=config.grey,
        )

    def make_head(self, features: int) -> nn.Module:
        return nn.Linear(features, self.config.embedding)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        views = context.augment(self.views, batch.images)
        z = context.networks["encoder"](views.flatten(0, 1))
        triplets = self._triplets(context.gather(z.unflatten(0, views.shape[:2])))
        loss = triplets.semi_hard_loss(self.config.margin)
        context.descend(loss, "encoder")
        return {"loss": loss.detach(), "accuracy": triplets.share_right()}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        # The same views whenever a run is scored, also one that was resumed.
        with torch.random.fork_rng():
            torch.manual_seed(self.config.seed_for("held-out"))
            views = self.views(batch.images)
        z = self.encoder(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        return {"accuracy": self._triplets(z).share_right() * len(batch.images)}

    def views(self, images: Tensor) -> Tensor:
        """Images (n, c, h, w) as random views of each: (n, views, c, h, w)."""
        copies = images.repeat_interleave(self.config.views, 0)
        return self.augment(copies).unflatten(0, (len(images), self.config.views))

    def _triplets(self, z: Tensor) -> Triplets:
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        axes = AXES[self.config.norm_axis]
        return Triplets.of(wide / torch.linalg.vector_norm(wide, dim=axes, keepdim=True))


METHOD = Exemplar
