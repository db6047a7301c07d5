"""A GAN whose discriminator is the extractor (Radford et al. 2016; Mao et al., section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import (
    GANConfig,
    draw,
    noise_for,
    of_both,
    of_generated,
    shown,
)
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, Method, StepContext
from repsim.training.optimizers import adam
from repsim.training.schedules import constant_exponential


class Config(GANConfig):
    """Adam 2e-4 (0.5, 0.999) for both networks, in alternation."""

    alternate: bool = Field(
        True,
        description="update the discriminator first, instead of both networks at once",
        json_schema_extra={"before": True},
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="on weights, not on biases and norms",
        json_schema_extra={"before": 0.0},
    )
    schedule: Literal["constant", "exponential"] = Field(
        "constant",
        description="of the rate: constant, or falling to a hundredth from half-way",
        json_schema_extra={"before": "constant"},
    )


class GAN(Method):
    """The discriminator's loss and the generator's non-saturating one.

    The generator's update is on the images that the discriminator's was on. At once, as Donahue et
    al. (2017) train the baselines of BiGAN, it is on noise of its own.
    """

    settings = Config
    network = "dcgan"
    network_before = "dcgan"
    roles = ("generator", "critic")
    extractors = ("discriminator",)
    judge = "discriminator"
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.generator = self.family.generator(spec, config.latent)
        self.networks = {
            "generator": self.generator,
            "discriminator": self.family.critic(spec),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        return {name: adam(self.config, network) for name, network in self.networks.items()}

    def lr_factor(self, step: int, steps: int, steps_per_epoch: int) -> float:
        return 1.0 if self.config.schedule == "constant" else constant_exponential(step, steps)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        generator, discriminator = (context.networks[name] for name in self.networks)
        n, device = len(batch.images), batch.images.device
        with torch.set_grad_enabled(self.config.alternate):
            fake = generator(noise_for(self.config, n, device))
        on_real, on_fake = of_both(self.config, discriminator, batch.images, fake.detach())
        loss_d = real_logits(on_real) + fake_logits(on_fake)
        if self.config.alternate:
            context.descend(loss_d, "discriminator")
        else:
            fake = generator(noise_for(self.config, n, device))

        loss_g = real_logits(of_generated(self.config, discriminator, batch.images, fake))
        if self.config.alternate:
            context.descend(loss_g, "generator")
        else:
            context.descend_at_once({("discriminator",): loss_d, ("generator",): loss_g})
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "d_real": on_real.detach().sigmoid().mean(),
            "d_fake": on_fake.detach().sigmoid().mean(),
        }

    def samples(self, n: int) -> Tensor:
        return draw(self.config, self.generator, n)

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        return shown(self.config, images, draw(self.config, self.generator, len(images)))


METHOD = GAN
