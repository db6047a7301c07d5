"""A method for tests: two losses, no batch normalisation, nothing random in its steps."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.method import Batch, Method, StepContext
from repsim.training.schedules import warmup_cosine


class Config(TrainConfig):
    lr: float = 0.05
    nan_at: int = Field(-1, description="step at which loss_b becomes NaN")
    twice: bool = Field(False, description="whether the optimiser steps twice a part")


class Toy(Method):
    """``loss_a`` comes first in the dictionary, ``loss_b`` goes first."""

    settings = Config
    extractors = ("net",)
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        inputs = math.prod(spec.shape)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 10))
        self.networks = {"net": self.net}
        self.steps = 0

    def optimizers(self) -> dict[str, Optimizer]:
        return {"net": SGD(self.net.parameters(), self.config.lr, 0.9)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return warmup_cosine(step, steps, steps_per_epoch)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        for _ in range(2 if self.config.twice else 1):
            logits = context.networks["net"](batch.images)
            loss_a = F.cross_entropy(logits, batch.labels)
            loss_b = logits.square().mean()
            if self.steps == self.config.nan_at:
                loss_b = loss_b * torch.nan
            context.descend(loss_a + 0.01 * loss_b, "net")
        self.steps += 1
        return {"loss_a": loss_a.detach(), "loss_b": loss_b.detach()}


METHOD = Toy
