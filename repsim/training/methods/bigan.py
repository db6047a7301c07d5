"""BiGAN: a GAN of pairs, whose encoder inverts the generator (Donahue et al. 2017)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from repsim.data.size import OWN, Size, parse_size, size_text
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.adversarial import AdversarialConfig, Pairs, noise_for, of_pairs
from repsim.training.config import spell_size
from repsim.training.inverting import Inverting, InvertingConfig, as_code
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, StepContext


class Config(InvertingConfig, AdversarialConfig):
    """Two minibatches of 128 a step, one for each update."""

    batch_size: int = Field(256, ge=4, description="images a step, half of them for each update")
    alternate: bool = Field(
        False, description="update the discriminator first, instead of all networks at once"
    )
    generated_size: str = Field(
        "",
        description="of generated images, such as 16 or 14x28, and of those that the discriminator "
        "sees; the encoder sees the larger ones of the set; empty: as large",
        json_schema_extra={"before": ""},
    )

    @field_validator("generated_size", mode="before")
    @classmethod
    def _spell_generated_size(cls, value: Any) -> str:
        size = spell_size(value)
        if size == OWN:
            raise ValueError(f"generated_size is {size}; expected a size such as 16 or 14x28")
        return size


class BiGAN(Inverting):
    """min over G and E, max over D of E log D(x, E(x)) + E log(1 - D(G(z), z)).

    G and E follow the gradient with labels exchanged: they minimise what D's loss is when it takes
    the encoder's pairs for generated and the generator's for encoded (section 3.4). D's update and
    theirs are at the same weights, each on images and noise of its own.

    At the optimum D is one half everywhere and E inverts G (Theorem 2).

    With ``generated_size`` it is the generalised BiGAN (section 3.5): G makes smaller images, which
    D compares with real ones brought to their size, and E reads these as they are.
    """

    settings = Config
    roles = ("encoder", "generator", "joint_critic")
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        self.networks["discriminator"] = self.family.joint_critic(self.made_spec, config.latent)

    @property
    def made_spec(self) -> ImageSpec:
        wanted = parse_size(self.config.generated_size)
        if not isinstance(wanted, tuple):
            return self.spec
        if any(side > of for side, of in zip(wanted, self.spec.size, strict=True)):
            raise UsageError(
                f"generated_size is {size_text(wanted)}, images are {size_text(self.spec.size)}; "
                "expected no larger ones"
            )
        return replace(self.spec, height=wanted[0], width=wanted[1])

    def shown_as(self, made: Tensor) -> Tensor:
        return _fitted(made, self.spec.size)

    def step(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        first, second = batch.images.chunk(2)
        with torch.no_grad():
            pairs = self._pairs(first, context)
        on_encoded, on_generated = self._judged(pairs, context)
        loss_d = real_logits(on_encoded) + fake_logits(on_generated)
        if self.config.alternate:
            context.descend(loss_d, "discriminator")

        swapped = self._judged(self._pairs(second, context), context)
        loss_g = fake_logits(swapped[0]) + real_logits(swapped[1])
        if self.config.alternate:
            context.descend(loss_g, "encoder", "generator")
        else:
            context.descend_at_once({("discriminator",): loss_d, ("encoder", "generator"): loss_g})
        return {
            "loss_d": loss_d.detach(),
            "loss_g": loss_g.detach(),
            "d_encoded": on_encoded.detach().sigmoid().mean(),
            "d_generated": on_generated.detach().sigmoid().mean(),
        }

    def _pairs(self, images: Tensor, context: StepContext) -> tuple[Pairs, Pairs]:
        """Images with their codes, and generated images with the noise that they are made of."""
        z = noise_for(self.config, len(images), images.device)
        codes = as_code(self.config, context.networks["encoder"](images))
        return (_fitted(images, self.made_spec.size), codes), (context.networks["generator"](z), z)

    def _judged(self, pairs: tuple[Pairs, Pairs], context: StepContext) -> tuple[Tensor, Tensor]:
        return of_pairs(self.config, context.networks["discriminator"], *pairs)


def _fitted(images: Tensor, size: Size) -> Tensor:
    """Images (n, c, h, w) in another size, bilinearly, smoothed where they shrink."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True)


METHOD = BiGAN
