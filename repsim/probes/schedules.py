"""Schedules by which heads are trained, and the steps of their optimisers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim.errors import UsageError, choices


@dataclass(frozen=True)
class Schedule:
    """The schedule by which a head is trained.

    Attributes:
        lr: learning rate of the first step, for batches of ``batch_size``.
        batch_size: rows of a step; the last step of an epoch takes those that are left.
        epochs: passes over the training rows.
        momentum: of SGD.
        drops: after how many epochs the learning rate is divided by 10.
        cosine: let it fall to 0 along half a cosine instead, step by step.
        weight_decay: λ; SGD adds λ w to the gradient, Adam takes lr λ w off w (AdamW).
        bias: whether layers have one.
        standardise: divide features by their standard deviation, after subtracting the mean.
        optimizer: ``"sgd"``, or ``"adam"`` with β = 0.9, 0.999.

    Raises:
        UsageError: a value out of its range, or both drops and a cosine.
    """

    lr: float
    batch_size: int
    epochs: int
    momentum: float = 0.9
    drops: tuple[int, ...] = ()
    cosine: bool = False
    weight_decay: float = 0.0
    bias: bool = True
    standardise: bool = True
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            near = choices(self.optimizer, OPTIMIZERS)
            raise UsageError(f"unknown optimizer {self.optimizer!r}; {near}")
        if self.cosine and self.drops:
            raise UsageError("a schedule has drops or a cosine, not both")
        ranges = {
            "lr": 0 < self.lr < math.inf,
            "batch_size": self.batch_size >= 1,
            "epochs": self.epochs >= 1,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": 0 <= self.weight_decay < math.inf,
        }
        for name, holds in ranges.items():
            if not holds:
                raise UsageError(f"{name} of a schedule is {getattr(self, name)}")

    def rate(self, epoch: int, done: float) -> float:
        """The learning rate in ``epoch``, from 0, with a share ``done`` of all steps behind."""
        if self.cosine:
            return self.lr * 0.5 * (1 + math.cos(math.pi * done))
        return self.lr * 0.1 ** sum(epoch >= drop for drop in self.drops)


# --- optimisers: a step on all parameters in one vector


def _sgd(weights: Tensor, gradient: Tensor, schedule: Schedule) -> Callable[[float], None]:
    """SGD with momentum, as ``torch.optim.SGD``."""
    velocity = torch.zeros_like(weights)

    def step(rate: float) -> None:
        if schedule.weight_decay:
            gradient.add_(weights, alpha=schedule.weight_decay)
        velocity.mul_(schedule.momentum).add_(gradient)
        weights.add_(velocity, alpha=-rate)

    return step


def _adam(weights: Tensor, gradient: Tensor, schedule: Schedule) -> Callable[[float], None]:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as ``torch.optim.AdamW``."""
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    steps = 0

    def step(rate: float) -> None:
        nonlocal steps
        steps += 1
        weights.mul_(1 - rate * schedule.weight_decay)
        mean.lerp_(gradient, 1 - 0.9)
        square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        root = square.sqrt().div_(math.sqrt(1 - 0.999**steps)).add_(1e-8)
        weights.addcdiv_(mean, root, value=-rate / (1 - 0.9**steps))

    return step


OPTIMIZERS = {"sgd": _sgd, "adam": _adam}

#: Published schedules of probes, by name.
SCHEDULES = {
    # Mao et al. (2022), Section 4: 128 features as they are, softmax head without bias.
    "mao2022": Schedule(2e-4, 120, 20, bias=False, standardise=False),
    # Kolesnikov et al. (2019): lr 0.1 for batches of 2048; the first drop after 30, 120 or 480
    # epochs, the second 20 later, the end 40 later. Momentum, standardised features and no weight
    # decay are ours.
    "kolesnikov2019": Schedule(0.1, 2048, 70, drops=(30, 50)),
    "kolesnikov2019-120": Schedule(0.1, 2048, 160, drops=(120, 140)),
    "kolesnikov2019-480": Schedule(0.1, 2048, 520, drops=(480, 500)),
    # Nguyen et al. (2021): constant rate. Standardised features are ours.
    "nguyen2021": Schedule(0.01, 128, 300),
    # Song et al. (2017) say only that a new fully-connected layer is trained: all of it is ours.
    "song2017": Schedule(1e-3, 64, 20, optimizer="adam"),
    # Ours, for the perceptron with one hidden layer of Kolesnikov et al. (2019).
    "mlp": Schedule(1e-3, 256, 30, cosine=True, weight_decay=0.1, optimizer="adam"),
}


def schedule_named(name: str) -> Schedule:
    """One of ``SCHEDULES``.

    Raises:
        UsageError: no such schedule.
    """
    if name not in SCHEDULES:
        raise UsageError(f"unknown schedule {name!r}; {choices(name, SCHEDULES)}")
    return SCHEDULES[name]
