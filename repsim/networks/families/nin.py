"""Network in network for small images, as Gidaris et al. (2018) train it on rotations (Lin 2014).

Three to five blocks of three convolutions without bias, each with BN and ReLU. The first block has
a 5 x 5 and two 1 x 1 convolutions of ``width`` channels, five sixths and a half of it, and a
max-pool; the second the same kernels, ``width`` channels throughout, and an average pool; every
other a 3 x 3 convolution in place of the 5 x 5 one, and no pool. The global average follows. After
the authors' code, whose class ends the third of more than three blocks by an average pool, but
whose configuration of the four blocks for CIFAR-10 does not: ``third_pool``.

Addresses: ``block1`` and so on, each after its pool, their conv1 and so on; ``pre_logits``,
``head``.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from repsim.networks.family import Family, NetworkConfig
from repsim.networks.image_spec import ImageSpec
from repsim.networks.tapped import Tapped


class Config(NetworkConfig):
    """A network that trains on a laptop, at half the paper's width."""

    blocks: Literal[3, 4, 5] = Field(4, description="blocks of three convolutions")
    third_pool: bool = Field(False, description="an average pool after the third of more blocks")
    width: int = Field(96, ge=2, description="channels of most convolutions; 192 in the paper")
    representation: int = Field(0, ge=0, description="size of a linear pre_logits; 0: as pooled")


class NIN(Tapped):
    """A network in network.

    Args:
        channels: of the images.
        config: the settings of the family.
        representation: size of ``pre_logits``; 0 for that of the pooled features.
    """

    def __init__(self, channels: int, config: Config, representation: int) -> None:
        width = config.width
        narrow, narrower = width * 5 // 6, width // 2
        parts: dict[str, nn.Module] = {
            "block1": _block((channels, width, narrow, narrower), 5, nn.MaxPool2d(3, 2, 1)),
            "block2": _block((narrower, width, width, width), 5, nn.AvgPool2d(3, 2, 1)),
        }
        for k in range(3, config.blocks + 1):
            ends = config.third_pool and k == 3 < config.blocks
            pool = [nn.AvgPool2d(3, 2, 1)] if ends else []
            parts[f"block{k}"] = _block((width,) * 4, 3, *pool)
        parts["pooled"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(parts, width, representation)


def _block(widths: tuple[int, int, int, int], kernel: int, *pool: nn.Module) -> nn.Sequential:
    """A convolution and two of 1 x 1, between these numbers of channels, then a pool if any."""
    layers: list[nn.Module] = []
    for inputs, outputs, size in zip(widths, widths[1:], (kernel, 1, 1), strict=False):
        conv = nn.Conv2d(inputs, outputs, size, 1, size // 2, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, *pool)


class NINFamily(Family):
    """Networks in networks, as encoders."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> NIN:
        size = self.config.representation if features is None else features
        return NIN(spec.channels, self.config, size)


FAMILY = NINFamily
