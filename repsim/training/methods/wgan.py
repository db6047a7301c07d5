"""A Wasserstein GAN whose critic is the extractor (Arjovsky et al. 2017; Gulrajani et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer, RMSprop

from repsim.errors import UsageError
from repsim.networks.family import Norm
from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import (
    AdversarialConfig,
    draw,
    noise_for,
    of_both,
    of_generated,
    shown,
)
from repsim.training.losses import critic_gap, gradient_penalty
from repsim.training.method import Batch, Method, StepContext


class Config(AdversarialConfig):
    """Algorithm 1 of Arjovsky et al., or with ``constraint = penalty`` of Gulrajani et al."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    batch_size: int = Field(320, ge=2, description="real images a step, shared by its critic steps")
    constraint: Literal["clipping", "penalty"] = Field(
        "clipping", description="what keeps the critic Lipschitz; penalty wants a rate of 1e-4"
    )
    critic_steps: int = Field(5, ge=1, description="steps of the critic for one of the generator")
    clip: float = Field(0.01, gt=0, description="largest weight of the critic, with clipping")
    penalty: float = Field(10.0, ge=0, description="weight of the gradient penalty")
    lr: float = Field(5e-5, gt=0, description="of RMSProp with clipping, of Adam with penalty")


class WGAN(Method):
    """min over G, max over 1-Lipschitz f: E f(x) - E f(G(z)).

    One step is one round of the papers' loops: ``critic_steps`` of the critic, each on images of
    its own, then one of the generator.
    """

    settings = Config
    network = "dcgan"
    network_before = "dcgan"
    roles = ("generator", "critic")
    extractors = ("critic",)
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        if config.batch_size % config.critic_steps:
            raise UsageError(
                f"batch_size is {config.batch_size}; expected a multiple of the "
                f"{config.critic_steps} critic_steps"
            )
        # BN would let images change each other's slopes.
        norm: Norm = "layer" if config.constraint == "penalty" else "batch"
        self.generator = self.family.generator(spec, config.latent)
        self.networks = {
            "generator": self.generator,
            "critic": self.family.critic(spec, norm=norm),
        }

    def optimizers(self) -> dict[str, Optimizer]:
        lr = self.config.lr
        if self.config.constraint == "penalty":
            return {n: Adam(net.parameters(), lr, (0.0, 0.9)) for n, net in self.networks.items()}
        return {n: RMSprop(net.parameters(), lr) for n, net in self.networks.items()}

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        parts = batch.images.chunk(self.config.critic_steps)
        rounds = [self._critic_step(real, context) for real in parts]
        losses = {name: torch.stack([each[name] for each in rounds]).mean() for name in rounds[0]}

        generator, critic = (context.networks[name] for name in self.networks)
        fake = generator(noise_for(self.config, len(parts[0]), parts[0].device))
        loss_g = -of_generated(self.config, critic, parts[0], fake).float().mean()
        context.descend(loss_g, "generator")
        return {**losses, "loss_g": loss_g.detach()}

    def _critic_step(self, real: Tensor, context: StepContext) -> dict[str, Tensor]:
        generator, critic = (context.networks[name] for name in self.networks)
        with torch.no_grad():
            fake = generator(noise_for(self.config, len(real), real.device)).float()
        losses = {"gap": critic_gap(*of_both(self.config, critic, real, fake))}
        loss = -losses["gap"]
        if self.config.constraint == "penalty":
            # Of the network itself: second derivatives in float32, whatever the precision.
            losses["penalty"] = gradient_penalty(self.networks["critic"], real, fake)
            loss = loss + self.config.penalty * losses["penalty"]
        context.descend(loss, "critic")
        if self.config.constraint == "clipping":
            self._clip()
        return {name: value.detach() for name, value in losses.items()}

    @torch.no_grad()
    def _clip(self) -> None:
        for weight in self.networks["critic"].parameters():
            weight.clamp_(-self.config.clip, self.config.clip)

    def samples(self, n: int) -> Tensor:
        return draw(self.config, self.generator, n)

    def shown(self, images: Tensor) -> Mapping[str, Tensor]:
        some = images.chunk(self.config.critic_steps)[0]
        return shown(self.config, some, draw(self.config, self.generator, len(some)))

    @classmethod
    def has_sides(cls, config: Config) -> bool:
        return config.constraint != "penalty"  # whose critic normalises each image by itself


METHOD = WGAN
