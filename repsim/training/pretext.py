"""The parts that pretext tasks share: an encoder with a head, and their training recipe."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from repsim.data.augment import standard
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import TrainConfig
from repsim.training.method import Method
from repsim.training.schedules import warmup_steps


class Schedule(NamedTuple):
    """A linear warm-up and falls of the learning rate.

    Attributes:
        warmup: its share of the run.
        drops: shares of the run after which the rate falls.
        factor: by which it falls.
    """

    warmup: float
    drops: tuple[float, ...]
    factor: float


#: Epochs 5, 15 and 25 of 35, and epochs 60, 120 and 160 of 200.
SCHEDULES = {
    "kolesnikov2019": Schedule(1 / 7, (3 / 7, 5 / 7), 0.1),
    "gidaris2018": Schedule(0, (0.3, 0.6, 0.8), 0.2),
}


class PretextConfig(TrainConfig):
    """The recipe of Kolesnikov et al. (2019), with batches for a laptop."""

    epochs: int = Field(35, ge=0, description="passes over the training part")
    lr: float = Field(0.1, gt=0, description="peak learning rate of SGD for 256 images a step")
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        "linear", description="how learning rates grow with batch_size / lr_batch"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    nesterov: bool = Field(False, description="Nesterov's momentum")
    weight_decay: float = Field(1e-4, ge=0, description="on every parameter")
    schedule: Literal["kolesnikov2019", "gidaris2018"] = Field(
        "kolesnikov2019",
        description="warm-up to 1/7 of the run, a tenth at 3/7, 5/7; or a fifth at 0.3, 0.6, 0.8",
    )


class Pretext(Method):
    """An encoder that learns to answer a question about images which needs no labels.

    Attributes:
        augment: shifts by up to an eighth of the image, and flips where images may be mirrored.
    """

    roles = ("encoder",)
    extractors = ("encoder",)
    config: PretextConfig
    augment: nn.Module

    def __init__(self, config: PretextConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.encoder = self.family.encoder(self.shown_spec)
        self.encoder.head = self.make_head(self.encoder.feature_dim)
        self.networks = {"encoder": self.encoder}
        self.augment = standard("supervised", spec.channels, spec.size, flip=spec.flips)

    @property
    def shown_spec(self) -> ImageSpec:
        """The facts of what the encoder is shown: the images, as a rule."""
        return self.spec

    @abstractmethod
    def make_head(self, features: int) -> nn.Module:
        """The layers that answer from a representation of ``features`` numbers."""

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        weights = self.encoder.parameters()
        return {"encoder": SGD(weights, c.lr, c.momentum, 0, c.weight_decay, c.nesterov)}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        schedule = SCHEDULES[self.config.schedule]
        warmup = round(schedule.warmup * steps)
        return warmup_steps(step, steps, warmup, schedule.drops, schedule.factor)


def share_right(logits: Tensor, answers: Tensor) -> Tensor:
    """The share of answers that are the ones with the largest logit."""
    return (logits.argmax(1) == answers).float().mean()
