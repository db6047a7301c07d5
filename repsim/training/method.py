"""A method of training, and what the loop hands to its steps."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from repsim.configuration import ALWAYS
from repsim.moved import renamed_parameters
from repsim.networks.families import find_family
from repsim.networks.family import Family
from repsim.networks.image_spec import ImageSpec
from repsim.training.compose import config_for
from repsim.training.config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """Images (n, channels, height, width) float32 in [-1, 1] and their labels (n,) int64, or -1."""

    images: Tensor
    labels: Tensor


class Steps(Protocol):
    """The part of an optimiser that a method uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


def _itself(tensor: Tensor) -> Tensor:
    return tensor


def _applied(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return transform(images)


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class StepContext:
    """The method's parts as the loop set them up for the device, and its place among processes.

    Attributes:
        gather: the rows of every process, in order, where this one gives its own (n, ...);
            differentiable. For losses that compare the images of a batch with each other.
        augment: ``augment(transform, images)`` is ``transform(images)``. With several processes
            each image is transformed as one process would, whatever process it is on.
        settle: called once all optimisers have stepped on a loss.
        rank: this process, from 0.
        world: number of processes; each is given its share of every batch.
    """

    networks: Mapping[str, Callable[[Tensor], Tensor]]
    optimizers: Mapping[str, Steps]
    backward: Callable[..., None]
    gather: Callable[[Tensor], Tensor] = _itself
    augment: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor] = _applied
    settle: Callable[[], None] = _nothing
    rank: int = 0
    world: int = 1

    def descend(self, loss: Tensor, *names: str) -> None:
        """One step of the optimisers called ``names`` on a loss, mean over the batch.

        Other parameters that the loss depends on get no gradient: where generators learn from a
        discriminator, nobody waits for the discriminator's.
        """
        self.descend_at_once({names: loss})

    def descend_at_once(self, losses: Mapping[tuple[str, ...], Tensor]) -> None:
        """One step of several optimisers, each on the loss that its name stands by.

        All gradients are taken before any weight moves. No optimiser is named twice, and the
        losses come from passes of their own.
        """
        steppers = [self.optimizers[name] for names in losses for name in names]
        for stepper in steppers:
            stepper.zero_grad()
        for names, loss in losses.items():
            groups = [group for name in names for group in self.optimizers[name].param_groups]
            weights = (weight for group in groups for weight in group["params"])
            self.backward(loss, inputs=[weight for weight in weights if weight.requires_grad])
        for stepper in steppers:
            stepper.step()
        self.settle()


class _ConfigClass:
    """The class of a method's configurations, under the name by which it was taught."""

    def __get__(self, instance: Method | None, owner: type[Method]) -> type[TrainConfig]:
        name = owner.__module__.rpartition(".")[2]
        message = (
            "config_class of a method is now repsim.training.compose.config_for(method); "
            "the old name goes with the next release"
        )
        warnings.warn(message, FutureWarning, stacklevel=2)
        return config_for(name)


class Method(ABC):
    """Networks and losses of one way to train; subclasses are final.

    A method builds its networks in ``__init__``, from the global random state that the loop seeds.
    It takes them from ``family``, which can be all of its ``roles``.

    Attributes:
        settings: the settings that it has beside those of the family.
        network: name of the family that is trained by default; None of a method that builds its
            networks itself.
        network_before: name of the family of its runs from before ``network`` was a setting, which
            stays when the default changes; methods that came later have none.
        roles: the roles of ``Family`` that it needs.
        networks: every trained module, by name. Modules may share parameters.
        extractors: names of those whose activations are of interest, the first being the default.
        judge: the network that tells real images from generated ones by one logit, or None.
        augment: from a batch of images to what the networks train on, at random; None where they
            train on the images as they are.
    """

    settings: ClassVar[type[TrainConfig]]
    network: ClassVar[str | None] = None
    network_before: ClassVar[Any] = ALWAYS
    roles: ClassVar[tuple[str, ...]] = ()
    extractors: ClassVar[tuple[str, ...]]
    judge: ClassVar[str | None] = None
    config_class = _ConfigClass()
    networks: dict[str, nn.Module]
    augment: nn.Module | None = None

    @renamed_parameters(facts="spec")
    def __init__(self, config: Any, spec: ImageSpec) -> None:
        self.config = config
        self.spec = spec

    @property
    def made_spec(self) -> ImageSpec:
        """The facts of generated images; as a rule those of the images that it is trained on."""
        return self.spec

    def extractor(self, name: str) -> nn.Module:
        """The extractor ``name`` as it is shown whole images, of the weights in ``networks``."""
        return self.networks[name]

    @classmethod
    def patches(cls, config: Any, spec: ImageSpec) -> dict[str, Any]:
        """The record of the patches of which extractors have the mean; none as a rule."""
        return {}

    @property
    def family(self) -> Family:
        """The family of networks that the configuration names, with its settings."""
        return find_family(self.config.network)(self.config)

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Optimisers by name; none means that nothing is trained."""

    @abstractmethod
    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        """One training step, optimisers included; returns losses and indicators (0-d tensors).

        Losses are means over the batch, and optimisers step by ``context.descend``.
        """

    def begin(self, folder: Path) -> dict[str, Any]:
        """Take from other runs what training starts from, before its first step.

        Args:
            folder: the one that the run lies in, with the others.

        Returns:
            The record of what was taken, for ``config.json``; JSON values.
        """
        return {}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        """Factor of the base learning rates at ``step`` of ``steps``."""
        return 1.0

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over a batch of held-out images, which the loop adds up and divides by n."""
        return {}

    def samples(self, n: int) -> Tensor | Mapping[str, Tensor] | None:
        """Generated images (n, channels, height, width) in [-1, 1], of each generator; else None.

        Several generators give ``n`` each, by name. Noise comes from torch's global random numbers.
        """
        return None

    def reconstructions(self, images: Tensor) -> Tensor | None:
        """Images as an autoencoder reconstructs them, of their shape; None for other methods."""
        return None

    def realness(self, images: Tensor) -> Tensor | None:
        """Logits (n, 1) of being real rather than generated, where a network judges that."""
        return None if self.judge is None else self.networks[self.judge](images)

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        """The batches that the extractors are shown in a step on real images, by their side.

        ``real`` and ``generated`` of networks that see these apart, ``both`` where they pass
        together. Noise comes from torch's global random numbers.
        """
        return {}

    @classmethod
    def has_sides(cls, config: Any) -> bool:
        """True if batch normalisation treats real and generated images each in their own way."""
        return cls.shown is not Method.shown
