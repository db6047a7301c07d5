"""A network trained on labels by cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from repsim.data.augment import standard
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.method import Batch, Method, StepContext
from repsim.training.schedules import warmup_cosine, warmup_steps


class Config(TrainConfig):
    """The usual recipe for CIFAR-10: SGD, cosine, cropping after padding by an eighth, flips."""

    lr: float = Field(0.1, gt=0, description="peak learning rate at the batch size given")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(5e-4, ge=0, description="on every parameter")
    warmup_epochs: int = Field(1, ge=0, description="epochs of linear warm-up")
    schedule: Literal["cosine", "steps"] = Field(
        "cosine", description="fall of the rate: to 0, or a tenth at 1/3, 2/3 and 8/9 of the run"
    )


class Supervised(Method):
    """Cross-entropy on the labels."""

    settings = Config
    network = "resnet"
    network_before = "resnet"
    roles = ("encoder",)
    extractors = ("encoder",)
    config: Config
    augment: nn.Module

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if not spec.classes:
            chosen = f"target {config.target!r} of {config.data}" if config.target else config.data
            raise UsageError(f"{chosen} has no labels, one each, which supervised training needs")
        self.encoder = self.family.encoder(spec)
        self.encoder.head = nn.Linear(self.encoder.feature_dim, spec.classes)
        self.networks = {"encoder": self.encoder}
        self.augment = standard("supervised", spec.channels, spec.size, flip=spec.flips)

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        return {
            "encoder": SGD(
                self.encoder.parameters(),
                c.lr,
                c.momentum,
                weight_decay=c.weight_decay,
                nesterov=c.momentum > 0,
            )
        }

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = self.config.warmup_epochs * steps_per_epoch
        if self.config.schedule == "steps":
            return warmup_steps(step, steps, warmup, (1 / 3, 2 / 3, 8 / 9))
        return warmup_cosine(step, steps, warmup)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        logits = context.networks["encoder"](context.augment(self.augment, batch.images))
        loss = F.cross_entropy(logits, batch.labels)
        context.descend(loss, "encoder")
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        return {"loss": loss.detach(), "accuracy": accuracy}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"accuracy": (self.encoder(batch.images).argmax(1) == batch.labels).sum()}


METHOD = Supervised
