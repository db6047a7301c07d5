"""The residual network that a configuration asks for."""

from __future__ import annotations

from repsim.networks import ResNet
from repsim.training.config import ResNetConfig
from repsim.training.method import ImageSpec


def residual_network(config: ResNetConfig, facts: ImageSpec) -> ResNet:
    """A residual network for the images at hand, without a head."""
    return ResNet(
        facts.channels,
        config.depth,
        config.width,
        stem=config.stem,
        representation=config.representation,
        zero_init=config.zero_init,
    )
