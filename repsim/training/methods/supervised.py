"""A network trained on labels by cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from repsim.data.augment import identity, standard
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.method import Batch, Method, StepContext
from repsim.training.schedules import warmup_cosine, warmup_steps


class Config(TrainConfig):
    """The usual recipe for CIFAR-10: SGD, cosine, cropping after padding by an eighth, flips."""

    lr: float = Field(0.1, gt=0, description="peak learning rate at the batch size given")
    optimizer: Literal["sgd", "adam"] = Field(
        "sgd", description="sgd, or adam with 0.9, 0.999", json_schema_extra={"before": "sgd"}
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(5e-4, ge=0, description="on every parameter")
    augmentation: bool = Field(
        True,
        description="crop images, and mirror those that may be",
        json_schema_extra={"before": True},
    )
    warmup_epochs: int = Field(1, ge=0, description="epochs of linear warm-up")
    schedule: Literal["cosine", "steps", "constant"] = Field(
        "cosine", description="fall of the rate: to 0; a tenth at 1/3, 2/3 and 8/9 of the run; none"
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
            raise UsageError(
                f"{chosen} has no labels, one each, which supervised training needs; choose a "
                "target of classes with --target, or another image set"
            )
        self.encoder = self.family.encoder(spec)
        self.encoder.head = nn.Linear(self.encoder.feature_dim, spec.classes)
        self.networks = {"encoder": self.encoder}
        self.augment = (
            standard("supervised", spec.channels, spec.size, flip=spec.flips)
            if config.augmentation
            else identity()
        )

    def optimizers(self) -> dict[str, Optimizer]:
        c, weights = self.config, self.encoder.parameters()
        if c.optimizer == "adam":
            return {"encoder": Adam(weights, c.lr, weight_decay=c.weight_decay)}
        nesterov = c.momentum > 0
        return {"encoder": SGD(weights, c.lr, c.momentum, 0, c.weight_decay, nesterov)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        warmup = self.config.warmup_epochs * steps_per_epoch
        if self.config.schedule == "cosine":
            return warmup_cosine(step, steps, warmup)
        drops = (1 / 3, 2 / 3, 8 / 9) if self.config.schedule == "steps" else ()
        return warmup_steps(step, steps, warmup, drops)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        logits = context.networks["encoder"](context.augment(self.augment, batch.images))
        loss = F.cross_entropy(logits, batch.labels)
        context.descend(loss, "encoder")
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        return {"loss": loss.detach(), "accuracy": accuracy}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"accuracy": (self.encoder(batch.images).argmax(1) == batch.labels).sum()}


METHOD = Supervised
