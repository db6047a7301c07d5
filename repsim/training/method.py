"""What a method is to the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from repsim.training.config import TrainConfig


@dataclass(frozen=True)
class DataFacts:
    """What a network must know of its data set."""

    channels: int
    classes: int
    size: int
    flips: bool  #: whether a mirrored image is still of its class


@dataclass(frozen=True)
class Batch:
    """Images (n, channels, size, size) float32 in [-1, 1] and their labels (n,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Training:
    """The method's parts as the loop set them up for the device."""

    networks: Mapping[str, Callable[[Tensor], Tensor]]
    optimizers: Mapping[str, Optimizer]
    backward: Callable[[Tensor], None]


class Method(ABC):
    """Networks and losses of one way to train; subclasses are final.

    A method builds its networks in ``__init__``, from the global random state that the loop seeds.

    Attributes:
        networks: every trained module, by name. Modules may share parameters.
        extractors: names of those whose activations are of interest, the first being the default.
    """

    config_class: ClassVar[type[TrainConfig]]
    extractors: ClassVar[tuple[str, ...]]
    networks: dict[str, nn.Module]

    def __init__(self, config: Any, facts: DataFacts) -> None:
        self.config = config
        self.facts = facts

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Optimisers by name; none means that nothing is trained."""

    @abstractmethod
    def step(self, batch: Batch, training: Training) -> dict[str, Tensor]:
        """One training step, optimisers included; returns losses and indicators (0-d tensors)."""

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """What the base learning rates are multiplied by at ``step`` of ``steps``."""
        return 1.0

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over a batch of held-out images, which the loop adds up and divides by n."""
        return {}

    def samples(self, images: Tensor) -> Tensor | None:
        """Pictures to judge by eye: what the networks generate, or make of held-out ``images``.

        Args:
            images: (n, channels, size, size) in [-1, 1], on the networks' device.

        Returns:
            As many, of the same shape and range, from torch's global random numbers and the
            networks in the mode they are in; None where a method makes no pictures.
        """
        return None
