"""Settings, noise and passes of the adversarial methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.training.config import WHERE, TrainConfig

#: Numbers of noise that a generated image is made from (Mao et al. 2019, Table 1).
LATENT = 128


class AdversarialConfig(TrainConfig):
    """Settings of every method that sets networks against generators."""

    passes: Literal["apart", "together"] = Field(
        "apart",
        description="real and generated images pass through a critic apart, each kind with batch "
        "statistics of its own, or together",
        json_schema_extra={"before": "apart"},
    )
    statistics_batches: int = Field(
        100,
        ge=1,
        description="batches of each side that statistics of batch normalisation are taken over",
        json_schema_extra=WHERE,
    )


class GANConfig(AdversarialConfig):
    """Settings of the adversarial methods, with the values of Mao et al. (section 4)."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    batch_size: int = Field(120, ge=2, description="real images a step, and as many generated")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="first momentum of Adam")


def noise_for(images: Tensor) -> Tensor:
    """Noise (n, ``LATENT``) for as many images as there are real ones, on their device."""
    return torch.randn(len(images), LATENT, device=images.device)


def draw(generator: nn.Module, n: int) -> Tensor:
    """Generate ``n`` images, from noise that is drawn on the CPU whatever the device."""
    z = torch.randn(n, LATENT)
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


def shown(config: AdversarialConfig, real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
    """The batches that a critic is shown in a step, by their side."""
    if config.passes == "apart":
        return {"real": real, "generated": fake}
    return {"both": torch.cat([real, fake])}
