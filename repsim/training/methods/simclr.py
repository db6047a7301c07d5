"""SimCLR: contrastive learning without labels (Chen et al. 2020)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import SGD, Optimizer

from repsim.data.augment import simclr
from repsim.networks import ProjectionHead, ResNet
from repsim.training.config import ResNetConfig
from repsim.training.losses import nt_xent
from repsim.training.method import Batch, DataFacts, Method, Training
from repsim.training.schedules import warmup_cosine


class Config(ResNetConfig):
    """Settings of the paper's CIFAR-10 experiments (appendix B.9), with SGD at small batches."""

    epochs: int = Field(30, ge=0, description="passes over the training part")
    batch_size: int = Field(256, ge=2, description="images a step, each in two views")
    temperature: float = Field(0.5, gt=0, description="of the contrastive loss")
    projection: int = Field(128, ge=1, description="dimensions of the projection")
    min_area: float = Field(0.08, gt=0, le=1, description="smallest crop, as a share of the image")
    color_strength: float = Field(0.5, ge=0, description="strength of the colour jitter")
    lr: float = Field(0.5, gt=0, description="peak learning rate for 256 images a step")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(1e-4, ge=0, description="on every parameter")
    warmup_epochs: int = Field(2, ge=0, description="epochs of linear warm-up")


class SimCLR(Method):
    """NT-Xent between two augmented views of every image."""

    config_class = Config
    extractors = ("encoder",)
    config: Config

    def __init__(self, config: Config, facts: DataFacts) -> None:
        super().__init__(config, facts)
        self.encoder = ResNet(facts.channels, config.depth, config.width)
        self.encoder.head = ProjectionHead(self.encoder.feature_dim, config.projection)
        self.networks = {"encoder": self.encoder}
        self.augment = simclr(
            facts.channels,
            facts.size,
            flip=facts.flips,
            color_strength=config.color_strength,
            min_area=config.min_area,
        )

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        lr = c.lr * c.batch_size / 256
        parameters = self.encoder.parameters()
        return {"encoder": SGD(parameters, lr, c.momentum, weight_decay=c.weight_decay)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return warmup_cosine(step, steps, self.config.warmup_epochs * steps_per_epoch)

    def step(self, batch: Batch, training: Training) -> dict[str, Tensor]:
        optimizer = training.optimizers["encoder"]
        optimizer.zero_grad()
        views = torch.cat([self.augment(batch.images), self.augment(batch.images)])
        z1, z2 = training.networks["encoder"](views).chunk(2)
        loss = nt_xent(z1, z2, self.config.temperature)
        training.backward(loss)
        optimizer.step()
        return {"loss": loss.detach()}


METHOD = SimCLR
