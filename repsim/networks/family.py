"""The roles that a family of networks may have, and its settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from torch import nn

from repsim.networks.image_spec import ImageSpec

#: Normalisation inside a critic. With ``layer``, no image changes another's logit.
Norm = Literal["batch", "layer"]

ROLES = ("encoder", "decoder", "generator", "critic", "joint_critic")


class NetworkConfig(BaseModel):
    """The settings of a family, which adds its own in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Family:
    """Networks of one kind, built for images of any height and width.

    A subclass defines those of the methods below that its networks can be. Every network takes or
    makes images (n, channels, height, width) in [-1, 1]. One whose layers are of interest has
    ``layer_names()``, the addresses of its modules in order of execution; one with a ``head`` names
    the layer that feeds it as ``head_input``.

    Args:
        config: the settings, an instance of ``settings``.
    """

    settings: ClassVar[type[NetworkConfig]]

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def roles(cls) -> tuple[str, ...]:
        """The roles that the family defines."""
        return tuple(role for role in ROLES if getattr(cls, role) is not getattr(Family, role))

    def encoder(self, spec: ImageSpec, features: int | None = None) -> Any:
        """Images to features (n, ``feature_dim``), or to what a module put at ``head`` makes of
        them.

        Args:
            spec: of the images.
            features: their number; by default the family's own.
        """
        raise NotImplementedError

    def decoder(self, spec: ImageSpec, features: int) -> Any:
        """Features (n, ``features``) to images."""
        raise NotImplementedError

    def generator(self, spec: ImageSpec, latent: int, count: int = 1) -> Any:
        """Noise (n, ``latent``) to images.

        Args:
            spec: of the images.
            latent: numbers that an image is made from.
            count: generators in one, each of which takes its share of the rows in turn.
        """
        raise NotImplementedError

    def critic(
        self,
        spec: ImageSpec,
        outputs: int = 1,
        *,
        norm: Norm = "batch",
        shared: nn.Module | None = None,
        share: int = 0,
    ) -> Any:
        """Images to logits (n, ``outputs``) of a linear ``head``.

        Args:
            spec: of the images.
            outputs: of the head.
            norm: normalisation of its layers.
            shared: another such network, whose first layers are used here too.
            share: number of those layers.
        """
        raise NotImplementedError

    def joint_critic(self, spec: ImageSpec, latent: int, *, norm: Norm = "batch") -> Any:
        """Pairs of images and codes (n, ``latent``), two arguments, to logits (n, 1)."""
        raise NotImplementedError
