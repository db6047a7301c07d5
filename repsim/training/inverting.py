"""Encoders that invert generators: what BiGAN and its baselines share (Donahue et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import GeneratorConfig, draw
from repsim.training.losses import reconstruction_scores
from repsim.training.method import Batch, Method
from repsim.training.optimizers import adam
from repsim.training.schedules import constant_exponential


class InvertingConfig(GeneratorConfig):
    """The optimiser and the noise of the authors' code."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    latent: int = Field(50, ge=1, description="numbers of noise, and of a code")
    noise: Literal["normal", "uniform"] = Field(
        "uniform",
        description="standard normal numbers, or uniform ones in (-1, 1), as codes then are",
    )
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="first momentum of Adam")
    weight_decay: float = Field(2.5e-5, ge=0, description="on weights, not on biases and norms")
    schedule: Literal["constant", "exponential"] = Field(
        "exponential", description="of the rate: constant, or falling to a hundredth from half-way"
    )


class Inverting(Method):
    """An encoder E and a generator G, each of which is to be the other's inverse.

    The last layer of E gives logits. Codes are what ``noise`` has them be: of uniform noise in
    (-1, 1), 2 sigmoid - 1 of the logits; of normal noise the logits themselves.
    """

    roles: ClassVar[tuple[str, ...]] = ("encoder", "generator")
    network = "mlp"
    extractors = ("encoder",)
    config: InvertingConfig

    def __init__(self, config: InvertingConfig, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.networks = {
            "encoder": self.family.encoder(spec, config.latent),
            "generator": self.family.generator(self.made_spec, config.latent),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        return {name: adam(self.config, network) for name, network in self.networks.items()}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return 1.0 if self.config.schedule == "constant" else constant_exponential(step, steps)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return reconstruction_scores(batch.images, self.reconstructions(batch.images))

    def samples(self, n: int) -> Tensor:
        return self.shown_as(draw(self.config, self.networks["generator"], n))

    def shown_as(self, made: Tensor) -> Tensor:
        """Images of the generator in the size of the real ones."""
        return made

    def codes(self, images: Tensor) -> Tensor:
        """Codes (n, ``latent``) of images."""
        return as_code(self.config, self.networks["encoder"](images))

    def reconstructions(self, images: Tensor) -> Tensor:
        return self.made_of(self.codes(images))

    def made_of(self, codes: Tensor) -> Tensor:
        """Images (n, c, h, w) that the generator makes of codes or noise (n, ``latent``)."""
        return self.shown_as(self.networks["generator"](codes))

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        return {"real": images, "generated": self.samples(len(images))}


def as_code(config: GeneratorConfig, logits: Tensor) -> Tensor:
    """Codes in the range of the noise, from an encoder's logits."""
    logits = logits.float()
    return (logits / 2).tanh() if config.noise == "uniform" else logits


def regression(config: GeneratorConfig, logits: Tensor, z: Tensor) -> Tensor:
    """Loss of telling the noise from the image that it became; mean over images and numbers.

    The cross-entropy of (z + 1) / 2 in [0, 1] for uniform noise, whose least value is the entropy
    of these shares; half of the squared error for normal noise.
    """
    logits = logits.float()
    if config.noise == "uniform":
        return F.binary_cross_entropy_with_logits(logits, (z + 1) / 2)
    return 0.5 * (logits - z).square().mean()
