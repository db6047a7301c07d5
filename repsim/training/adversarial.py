"""Settings, noise and passes of the methods that have generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.training.config import WHERE, TrainConfig

#: A batch of images and the codes that belong to them.
Pairs = tuple[Tensor, Tensor]


class GeneratorConfig(TrainConfig):
    """Settings of every method with generators: what these make images from."""

    latent: int = Field(
        128,
        ge=1,
        description="numbers of noise that an image is made from",
        json_schema_extra={"before": 128},
    )
    noise: Literal["normal", "uniform"] = Field(
        "normal",
        description="standard normal numbers, or uniform ones in (-1, 1)",
        json_schema_extra={"before": "normal"},
    )
    statistics_batches: int = Field(
        100,
        ge=1,
        description="batches of each side that statistics of batch normalisation are taken over",
        json_schema_extra=WHERE,
    )


class AdversarialConfig(GeneratorConfig):
    """Settings of every method that sets networks against generators."""

    passes: Literal["apart", "together"] = Field(
        "apart",
        description="real and generated images pass through a critic apart, each kind with batch "
        "statistics of its own, or together",
        json_schema_extra={"before": "apart"},
    )


class GANConfig(AdversarialConfig):
    """Settings of the adversarial methods, with the values of Mao et al. (section 4)."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    batch_size: int = Field(120, ge=2, description="real images a step, and as many generated")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="first momentum of Adam")


def noise_for(
    config: GeneratorConfig,
    n: int,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Noise (n, ``config.latent``) of the kind that a configuration names.

    From torch's global random numbers, or from ``generator``.
    """
    shape = (n, config.latent)
    if config.noise == "uniform":
        return torch.rand(shape, device=device, generator=generator) * 2 - 1
    return torch.randn(shape, device=device, generator=generator)


def draw(config: GeneratorConfig, generator: nn.Module, n: int) -> Tensor:
    """Generate ``n`` images, from noise that is drawn on the CPU whatever the device."""
    z = noise_for(config, n)
    images: Tensor = generator(z.to(next(generator.parameters()).device))
    return images


def of_both(
    config: AdversarialConfig, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs of a critic for real and for generated images, as ``config.passes`` has it."""
    if config.passes == "apart":
        return critic(real), critic(fake)
    on_real, on_fake = critic(torch.cat([real, fake])).split([len(real), len(fake)])
    return on_real, on_fake


def of_generated(
    config: AdversarialConfig, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor
) -> Tensor:
    """Outputs of a critic for generated images, beside real ones where these pass together."""
    if config.passes == "apart":
        return critic(fake)
    return critic(torch.cat([real, fake]))[len(real) :]


def of_pairs(
    config: AdversarialConfig, critic: Callable[..., Tensor], encoded: Pairs, generated: Pairs
) -> tuple[Tensor, Tensor]:
    """Outputs of a joint critic for pairs of the encoder and of the generator, as ``of_both``."""
    if config.passes == "apart":
        return critic(*encoded), critic(*generated)
    images, codes = (torch.cat(each) for each in zip(encoded, generated, strict=True))
    on_encoded, on_generated = critic(images, codes).split([len(encoded[0]), len(generated[0])])
    return on_encoded, on_generated


def shown(config: AdversarialConfig, real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
    """The batches that a critic is shown in a step, by their side."""
    if config.passes == "apart":
        return {"real": real, "generated": fake}
    return {"both": torch.cat([real, fake])}
