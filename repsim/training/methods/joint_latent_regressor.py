"""A GAN whose generator helps an encoder to find its noise again (Donahue et al. 2017)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import AdversarialConfig, noise_for, of_both, of_generated
from repsim.training.inverting import Inverting, InvertingConfig, regression
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, StepContext


class Config(InvertingConfig, AdversarialConfig):
    """The weight that the authors' code has; with 1 generators degenerate."""

    weight: float = Field(0.25, ge=0, description="of the regression's loss, for E and G")
    alternate: bool = Field(
        False, description="update the discriminator first, instead of all networks at once"
    )


class JointLatentRegressor(Inverting):
    """The losses of a GAN, to whose generator's is added ``weight`` E loss(E(G(z)), z).

    Encoder and generator descend their sum; Adam does not see the weight in the encoder's
    gradient. The encoder never sees a real image.
    """

    settings = Config
    roles = ("encoder", "generator", "critic")
    judge = "discriminator"
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.networks["discriminator"] = self.family.critic(spec)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        encoder, generator, discriminator = (context.networks[name] for name in self.networks)
        images, n = batch.images, len(batch.images)
        with torch.no_grad():
            fake = generator(noise_for(self.config, n, images.device))
        on_real, on_fake = of_both(self.config, discriminator, images, fake)
        loss_d = real_logits(on_real) + fake_logits(on_fake)
        if self.config.alternate:
            context.descend(loss_d, "discriminator")

        z = noise_for(self.config, n, images.device)
        fake = generator(z)
        fooled = real_logits(of_generated(self.config, discriminator, images, fake))
        loss_z = regression(self.config, encoder(fake), z)
        loss_g = fooled + self.config.weight * loss_z
        if self.config.alternate:
            context.descend(loss_g, "encoder", "generator")
        else:
            context.descend_at_once({("discriminator",): loss_d, ("encoder", "generator"): loss_g})
        return {
            "loss_d": loss_d.detach(),
            "loss_g": fooled.detach(),
            "loss_z": loss_z.detach(),
            "d_real": on_real.detach().sigmoid().mean(),
            "d_fake": on_fake.detach().sigmoid().mean(),
        }


METHOD = JointLatentRegressor
