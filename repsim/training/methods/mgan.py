"""M-GAN: K generators against a discriminator and a classifier, both extractors (Mao et al.)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from repsim.errors import UsageError
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


class Config(GANConfig):
    """Ten generators, β = 0.02, Adam 2e-4 (0.5, 0.999) for G, D and C alike."""

    generators: int = Field(10, ge=2, description="K, the generators and the classifier's classes")
    shared: int = Field(4, ge=0, description="convolutions that discriminator and classifier share")
    beta: float = Field(
        0.02, ge=0, description="weight of the classifier's term for the generators"
    )
    sharing: Literal["sum", "weighted", "turns"] = Field(
        "turns",
        description="what moves shared convolutions: L_D + L_C, L_D + beta L_C, or each in turn",
    )


class MGAN(Method):
    """min over G and C, max over D of

    E log D(x) + E log(1 - D(G(z))) - β Σ_i 1/K E log C_i(G_i(z)).

    As usual, the generators climb log D(G(z)) instead of descending log(1 - D(G(z))).

    Generators, discriminator and classifier have an optimiser each (Table 1). Read literally, the
    convolutions that the latter two share are moved by both, and β weighs the classifier only in
    the loss of the generators. With ``sharing``

        turns       both: the discriminator's on its loss, then the classifier's on its own
        sum         the discriminator's alone, on the sum of both losses (Hoang et al., 2018)
        weighted    the same, the classifier's loss being weighted by β as in the objective
    """

    settings = Config
    network = "dcgan"
    network_before = "dcgan"
    roles = ("generator", "critic")
    extractors = ("discriminator", "classifier")
    judge = "discriminator"
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if config.batch_size % config.generators:
            raise UsageError(
                f"batch_size is {config.batch_size}; expected a multiple of the "
                f"{config.generators} generators"
            )
        discriminator = self.family.critic(spec)
        self.generator = self.family.generator(spec, config.latent, config.generators)
        self.networks = {
            "generator": self.generator,
            "discriminator": discriminator,
            "classifier": self.family.critic(
                spec, config.generators, shared=discriminator, share=config.shared
            ),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        parameters = {name: list(net.parameters()) for name, net in self.networks.items()}
        if c.sharing != "turns":
            common = set(parameters["discriminator"])
            parameters["classifier"] = [p for p in parameters["classifier"] if p not in common]
        return {name: Adam(own, c.lr, (c.beta1, 0.999)) for name, own in parameters.items()}

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        k, each = self.config.generators, len(batch.images) // self.config.generators
        generator, discriminator, classifier = (context.networks[n] for n in self.networks)
        device = batch.images.device
        fake = generator(noise_for(self.config, k * each, device))
        source = torch.arange(k, device=device).repeat_interleave(each)

        on_real, on_fake = of_both(self.config, discriminator, batch.images, fake.detach())
        loss_d = real_logits(on_real) + fake_logits(on_fake)
        if self.config.sharing == "turns":
            context.descend(loss_d, "discriminator")
        guess = of_generated(self.config, classifier, batch.images, fake.detach())
        loss_c = F.cross_entropy(guess, source)
        if self.config.sharing == "turns":
            context.descend(loss_c, "classifier")
        else:
            weight = self.config.beta if self.config.sharing == "weighted" else 1.0
            context.descend(loss_d + weight * loss_c, "discriminator", "classifier")

        guess_again = of_generated(self.config, classifier, batch.images, fake)
        told_apart = F.cross_entropy(guess_again, source)
        on_fake_again = of_generated(self.config, discriminator, batch.images, fake)
        loss_g = real_logits(on_fake_again) + self.config.beta * told_apart
        context.descend(loss_g, "generator")
        return {
            "loss_d": loss_d.detach(),
            "loss_c": loss_c.detach(),
            "loss_g": loss_g.detach(),
            "d_real": on_real.detach().sigmoid().mean(),
            "d_fake": on_fake.detach().sigmoid().mean(),
            "c_accuracy": (guess.argmax(1) == source).float().mean(),
        }

    def samples(self, n: int) -> dict[str, Tensor]:
        parts = draw(self.config, self.generator, self.config.generators * n).split(n)
        return {f"generator{i}": images for i, images in enumerate(parts)}

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        each = max(1, len(images) // self.config.generators)
        fake = draw(self.config, self.generator, self.config.generators * each)
        return shown(self.config, images, fake)


METHOD = MGAN
