"""A GAN whose discriminator is the extractor (Radford et al. 2016; Mao et al., section 4)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Adam, Optimizer

from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import (
    LATENT,
    GANConfig,
    draw,
    noise_for,
    of_both,
    of_generated,
    shown,
)
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, Method, StepContext


class Config(GANConfig):
    """Adam 2e-4 (0.5, 0.999) for both networks."""


class GAN(Method):
    """The discriminator's loss and the generator's non-saturating one, in alternation."""

    settings = Config
    network = "dcgan"
    network_before = "dcgan"
    roles = ("generator", "critic")
    extractors = ("discriminator",)
    judge = "discriminator"
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.generator = self.family.generator(spec, LATENT)
        self.networks = {
            "generator": self.generator,
            "discriminator": self.family.critic(spec),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        return {
            name: Adam(network.parameters(), c.lr, (c.beta1, 0.999))
            for name, network in self.networks.items()
        }

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        generator, discriminator = (context.networks[name] for name in self.networks)
        fake = generator(noise_for(batch.images))

        on_real, on_fake = of_both(self.config, discriminator, batch.images, fake.detach())
        loss_d = real_logits(on_real) + fake_logits(on_fake)
        context.descend(loss_d, "discriminator")

        loss_g = real_logits(of_generated(self.config, discriminator, batch.images, fake))
        context.descend(loss_g, "generator")
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "d_real": on_real.detach().sigmoid().mean(),
            "d_fake": on_fake.detach().sigmoid().mean(),
        }

    def samples(self, n: int) -> Tensor:
        return draw(self.generator, n)

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        return shown(self.config, images, draw(self.generator, len(images)))


METHOD = GAN
