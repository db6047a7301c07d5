"""M-GAN: K generators against a discriminator and a classifier, both extractors (Mao et al.)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from repsim.errors import UsageError
from repsim.networks import Discriminator, Generator
from repsim.networks.dcgan import LATENT
from repsim.training.config import GANConfig
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, DataFacts, Method, Training


class Config(GANConfig):
    """Ten generators, β = 0.02, Adam 2e-4 (0.5, 0.999) for G, D and C alike."""

    generators: int = Field(10, ge=2, description="K, the generators and the classifier's classes")
    shared: int = Field(
        4, ge=0, le=4, description="convolutions that discriminator and classifier share"
    )
    beta: float = Field(
        0.02, ge=0, description="weight of the classifier's term for the generators"
    )


class MGAN(Method):
    """min over G and C, max over D of

    E log D(x) + E log(1 - D(G(z))) - β Σ_i 1/K E log C_i(G_i(z)).

    As usual, the generators climb log D(G(z)) instead of descending log(1 - D(G(z))). Shared
    convolutions take one step on the sum of the discriminator's and the classifier's losses.
    """

    config_class = Config
    extractors = ("discriminator", "classifier")
    config: Config

    def __init__(self, config: Config, facts: DataFacts) -> None:
        super().__init__(config, facts)
        if config.batch_size % config.generators:
            raise UsageError(
                f"batch_size is {config.batch_size}; expected a multiple of the "
                f"{config.generators} generators"
            )
        discriminator = Discriminator(facts.channels, width=config.width)
        self.networks = {
            "generator": Generator(facts.channels, config.width, config.generators),
            "discriminator": discriminator,
            "classifier": Discriminator(
                facts.channels,
                config.generators,
                config.width,
                shared=discriminator,
                share=config.shared,
            ),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        c = self.config
        parameters = {name: list(net.parameters()) for name, net in self.networks.items()}
        common = set(parameters["discriminator"])
        parameters["classifier"] = [p for p in parameters["classifier"] if p not in common]
        return {name: Adam(own, c.lr, (c.beta1, 0.999)) for name, own in parameters.items()}

    def step(self, batch: Batch, training: Training) -> dict[str, Tensor]:
        k, each = self.config.generators, len(batch.images) // self.config.generators
        generator, discriminator, classifier = (training.networks[n] for n in self.networks)
        device = batch.images.device
        fake = generator(torch.randn(k * each, LATENT, device=device))
        source = torch.arange(k, device=device).repeat_interleave(each)

        for name in ("discriminator", "classifier"):
            training.optimizers[name].zero_grad()
        on_real = discriminator(batch.images)
        on_fake = discriminator(fake.detach())
        guess = classifier(fake.detach())
        loss_d = real_logits(on_real) + fake_logits(on_fake)
        loss_c = F.cross_entropy(guess, source)
        training.backward(loss_d + loss_c)
        for name in ("discriminator", "classifier"):
            training.optimizers[name].step()

        training.optimizers["generator"].zero_grad()
        told_apart = F.cross_entropy(classifier(fake), source)
        loss_g = real_logits(discriminator(fake)) + self.config.beta * told_apart
        training.backward(loss_g)
        training.optimizers["generator"].step()
        return {
            "loss_d": loss_d.detach(),
            "loss_c": loss_c.detach(),
            "loss_g": loss_g.detach(),
            "d_real": on_real.detach().sigmoid().mean(),
            "d_fake": on_fake.detach().sigmoid().mean(),
            "c_accuracy": (guess.argmax(1) == source).float().mean(),
        }


METHOD = MGAN
