"""The residual network that a configuration asks for."""

from __future__ import annotations

from repsim.networks import ResNet
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import ResNetConfig


def residual_network(config: ResNetConfig, spec: ImageSpec) -> ResNet:
    """A residual network for the images at hand, without a head."""
    return ResNet(
        spec.channels,
        config.depth,
        config.width,
        stem=config.stem,
        representation=config.representation,
        zero_init=config.zero_init,
    )
