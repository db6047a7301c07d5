"""SimCLR: contrastive learning without labels (Chen et al. 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from repsim.data.augment import simclr
from repsim.networks import ProjectionHead
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.lars import LARS, lars_groups
from repsim.training.losses import nt_xent
from repsim.training.method import Batch, Method, StepContext
from repsim.training.schedules import warmup_cosine


class Config(TrainConfig):
    """Settings of the paper's CIFAR-10 experiments (appendix B.9), with SGD at small batches."""

    epochs: int = Field(30, ge=0, description="passes over the training part")
    batch_size: int = Field(256, ge=2, description="images a step, each in two views")
    temperature: float = Field(0.5, gt=0, description="of the contrastive loss")
    projection: int = Field(128, ge=1, description="dimensions of the projection")
    projection_layers: Literal[2, 3] = Field(2, description="linear layers of the projection head")
    min_area: float = Field(0.08, gt=0, le=1, description="smallest crop, as a share of the image")
    color_strength: float = Field(0.5, ge=0, description="strength of the colour jitter")
    blur: float = Field(0.0, ge=0, le=1, description="probability of a Gaussian blur")
    optimizer: Literal["sgd", "lars"] = Field("sgd", description="lars for large batches")
    lr: float = Field(0.5, gt=0, description="peak learning rate for 256 images a step")
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        "linear", description="how learning rates grow with batch_size / lr_batch"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of either optimiser")
    weight_decay: float = Field(
        1e-4, ge=0, description="on every parameter; with lars on no bias and no BN"
    )
    warmup_epochs: int = Field(2, ge=0, description="epochs of linear warm-up")


class SimCLR(Method):
    """NT-Xent between two augmented views of every image, on however many devices (section 2.1).

    The images of all devices are each other's negatives, as in the paper (appendix B.1).
    """

    settings = Config
    network = "resnet"
    network_before = "resnet"
    roles = ("encoder",)
    extractors = ("encoder",)
    config: Config
    augment: nn.Module

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = self.family.encoder(spec)
        self.encoder.head = ProjectionHead(
            self.encoder.feature_dim, config.projection, config.projection_layers
        )
        self.networks = {"encoder": self.encoder}
        self.augment = simclr(
            spec.channels,
            spec.size,
            flip=spec.flips,
            color_strength=config.color_strength,
            min_area=config.min_area,
            blur=config.blur,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        if c.optimizer == "lars":
            return {"encoder": LARS(lars_groups(self.encoder), c.lr, c.momentum, c.weight_decay)}
        parameters = self.encoder.parameters()
        return {"encoder": SGD(parameters, c.lr, c.momentum, weight_decay=c.weight_decay)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return warmup_cosine(step, steps, self.config.warmup_epochs * steps_per_epoch)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        views = torch.cat([context.augment(self.augment, batch.images) for _ in range(2)])
        z1, z2 = context.networks["encoder"](views).chunk(2)
        loss = nt_xent(context.gather(z1), context.gather(z2), self.config.temperature)
        context.descend(loss, "encoder")
        return {"loss": loss.detach()}


METHOD = SimCLR
