"""Settings and noise of the adversarial methods."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.training.config import TrainConfig

#: Numbers of noise that a generated image is made from (Mao et al. 2019, Table 1).
LATENT = 128


class GANConfig(TrainConfig):
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
