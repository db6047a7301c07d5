"""Extractors of half images, which share no weights (Song, Zhao and Ermon 2017).

The left half of an image and the right one each pass a stack of their own: three convolutions that
halve the maps, and one that covers what is left of them, as in ``dcgan``. A head, a decoder or a
critic's logit reads the features of both side by side. Nothing is normalised, so that the encoder
of a classifier or an autoencoder and the critic of a GAN are one network.

Addresses: ``left.conv1`` to ``left.conv3``, ``left``, the same of ``right``, ``features`` and
``head``. The generators and decoders are those of ``dcgan``.
"""

from __future__ import annotations

from itertools import product

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.networks.convolutions import Size, close, down
from repsim.networks.families.dcgan import LATENT, Decoder, Generator
from repsim.networks.family import Family, NetworkConfig, Norm
from repsim.networks.image_spec import ImageSpec


class Half(nn.Sequential):
    """Half images (n, channels, height, width) to features (n, ``features``).

    Args:
        channels: of the images.
        width: channels of the first convolution; the others have 2 and 4 times as many.
        features: of the half.
        size: height and width of the half.
    """

    def __init__(self, channels: int, width: int, features: int, size: Size) -> None:
        super().__init__()
        self.conv1 = down(channels, width, norm=None)
        self.conv2 = down(width, 2 * width, norm=None)
        self.conv3 = down(2 * width, 4 * width, norm=None)
        self.conv4 = close(4 * width, features, size)
        self.flatten = nn.Flatten()


#: The halves, and the layers of each that have weights, in order of execution.
SIDES, LAYERS = ("left", "right"), ("conv1", "conv2", "conv3", "conv4")


class Halves(nn.Module):
    """Images (n, channels, height, width) to the features (n, ``feature_dim``) of both halves, or
    to what a module assigned to ``head`` makes of them.

    Weights start as torch starts them: those of DCGAN, N(0, 0.02), are for networks that normalise.

    Args:
        channels: of the images.
        width: channels of the first convolution of each half.
        features: of each half.
        size: height and width of the images; of an odd width, the left half has one pixel more.
    """

    head_input = "features"

    def __init__(self, channels: int, width: int, features: int, *, size: Size) -> None:
        super().__init__()
        height, across = size
        self.split = (across - across // 2, across // 2)
        self.left, self.right = (
            Half(channels, width, features, (height, half)) for half in self.split
        )
        self.features = nn.Identity()
        self.head: nn.Module = nn.Identity()
        self.feature_dim = 2 * features

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.split(self.split, dim=3)
        return self.head(self.features(torch.cat([self.left(left), self.right(right)], dim=1)))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv4`` of a half flattened is the half itself."""
        halves = [f"{side}{part}" for side in SIDES for part in (".conv1", ".conv2", ".conv3", "")]
        head = [] if isinstance(self.head, nn.Identity) else ["head"]
        return [*halves, "features", *head]


class Config(NetworkConfig):
    """Widths at which the untrained network reads a right digit about as well as the paper's do."""

    width: int = Field(
        8, ge=1, description="channels of each half's first convolution; the others have 2, 4 times"
    )
    features: int = Field(80, ge=1, description="features of each half")
    generator: int = Field(32, ge=1, description="channels of a generator's last hidden layer")


class HalvesFamily(Family):
    """One extractor in the roles of encoder and critic, with generators and decoders for it."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> Halves:
        each = self.config.features if features is None else _half(features)
        return Halves(spec.channels, self.config.width, each, size=spec.size)

    def decoder(self, spec: ImageSpec, features: int) -> Decoder:
        return Decoder(spec.channels, self.config.generator, features, size=spec.size)

    def generator(self, spec: ImageSpec, latent: int = LATENT, count: int = 1) -> Generator:
        return Generator(spec.channels, self.config.generator, count, size=spec.size, latent=latent)

    def critic(
        self,
        spec: ImageSpec,
        outputs: int = 1,
        *,
        norm: Norm = "batch",
        shared: nn.Module | None = None,
        share: int = 0,
    ) -> Halves:
        """The extractor with a linear head; ``norm`` is of no matter, as nothing is normalised."""
        if not 0 <= share <= len(LAYERS):
            raise UsageError(
                f"{share} convolutions are to be shared; each half of a halves critic has "
                f"{len(LAYERS)}"
            )
        network = self.encoder(spec)
        network.head = nn.Linear(network.feature_dim, outputs, bias=False)
        if shared is not None:
            for side, layer in product(SIDES, LAYERS[:share]):
                half = shared.get_submodule(side)
                network.get_submodule(side).add_module(layer, half.get_submodule(layer))
        return network


def _half(features: int) -> int:
    if features % 2:
        raise UsageError(
            f"{features} features are asked for; the network halves needs an even number of them, "
            "half of them for each half of the image"
        )
    return features // 2


FAMILY = HalvesFamily
