"""VGG19 with batch normalisation (Simonyan and Zisserman 2015).

After Kolesnikov et al. (2019): 2, 2, 4, 4 and 4 convolutions of 1, 2, 4, 8 and 8 times ``width``
channels, each with BN and ReLU, max-pools between them and after the last; two linear layers of 64
times ``width`` features with BN and ReLU, and no dropout. Addresses: ``stem``, the first two
convolutions; ``block1`` to ``block4``, each what the next pool takes, as the paper counts them;
``pre_logits``, the second linear layer, or a linear map of it to another number; ``head``.

Pools round up, so that images of any size have maps left.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from repsim.networks.convolutions import Size
from repsim.networks.family import Family, NetworkConfig
from repsim.networks.image_spec import ImageSpec
from repsim.networks.tapped import Tapped

#: Convolutions of each group, and their channels as multiples of the width.
GROUPS = ((2, 1), (2, 2), (4, 4), (4, 8), (4, 8))

#: Features of the linear layers, as a multiple of the width: 4,096 of 64.
LINEAR = 64


class Config(NetworkConfig):
    """A network that trains on a laptop; 64 is the width of VGG19."""

    width: int = Field(8, ge=1, description="8 times the width factor k; 64 is standard")
    representation: int = Field(0, ge=0, description="size of a linear pre_logits; 0: as it is")


class VGG(Tapped):
    """Sixteen convolutions and two linear layers.

    Args:
        channels: of the images.
        config: the settings of the family.
        representation: size of ``pre_logits``; 0 for that of the second linear layer.
        size: height and width of the images.
    """

    def __init__(self, channels: int, config: Config, representation: int, *, size: Size) -> None:
        parts: dict[str, nn.Module] = {}
        for group, (count, times) in enumerate(GROUPS):
            outputs = times * config.width
            pool = [_pool()] if group else []
            parts[f"block{group}" if group else "stem"] = nn.Sequential(
                *pool, *_convolutions(channels, outputs, count)
            )
            channels = outputs
        positions = _left(size[0]) * _left(size[1])
        features = LINEAR * config.width
        flat = (_pool(), nn.Flatten())
        parts["linear1"] = nn.Sequential(*flat, *_linear(channels * positions, features))
        parts["linear2"] = nn.Sequential(*_linear(features, features))
        super().__init__(parts, features, representation)


def _convolutions(inputs: int, outputs: int, count: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (inputs, *[outputs] * (count - 1)):
        conv = nn.Conv2d(channels, outputs, 3, 1, 1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    return layers


def _linear(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, 2, ceil_mode=True)


def _left(side: int) -> int:
    """Pixels of a side that the five pools leave, each rounding up."""
    return -(-side // 2 ** len(GROUPS))


class VGGFamily(Family):
    """VGG19 with batch normalisation, as encoders."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> VGG:
        size = self.config.representation if features is None else features
        return VGG(spec.channels, self.config, size, size=spec.size)


FAMILY = VGGFamily
