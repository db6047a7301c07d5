"""Convolutional networks of Mao et al. (2019, Table 1), after DCGAN (Radford et al. 2016).

For images of any height and width from 8 pixels; by default 32 x 32, as in the paper. Three
convolutions halve the maps, and the kernel of the fourth covers what is left of them: 4 x 4 in the
paper. Generators go the same way back. No layer has a bias; weights start from N(0, 0.02).

Addresses: ``conv1`` to ``conv3``, ``features`` and ``head`` of the discriminator; ``code`` instead
of ``features`` of the encoder; ``up1`` to ``up3`` and ``image`` of the decoder.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.networks.convolutions import (
    Size,
    close,
    dense,
    double,
    down,
    halvings,
    init_weights,
    open_up,
    up,
)
from repsim.networks.family import Family, NetworkConfig, Norm
from repsim.networks.image_spec import ImageSpec

LATENT = 128
FEATURE_DIM = 128
#: Height and width of the paper's images.
SIZE = (32, 32)


class Generator(nn.Module):
    """K generators that differ in their first layer and share the others; K = 1 is a plain one.

    Maps z (n, latent), the same number of rows for each generator in turn, to images
    (n, channels, height, width) in [-1, 1].

    Args:
        channels: of the images.
        width: channels of the last hidden layer; 128 in the paper, where the others have 512, 256.
        generators: K; 10 in the paper.
        size: height and width of the images.
        latent: numbers of noise that an image is made from.
    """

    def __init__(
        self,
        channels: int,
        width: int = 128,
        generators: int = 1,
        *,
        size: Size = SIZE,
        latent: int = LATENT,
    ) -> None:
        super().__init__()
        self.generators = generators
        self.input_shape = (latent,)
        whole, half, quarter, eighth = halvings(size)
        self.project = nn.ModuleList(open_up(latent, 4 * width, eighth) for _ in range(generators))
        self.trunk = nn.Sequential(
            up(4 * width, 2 * width, eighth, quarter),
            up(2 * width, width, quarter, half),
            double(width, channels, half, whole),
            nn.Tanh(),
        )
        init_weights(self)

    def forward(self, z: Tensor) -> Tensor:
        parts = z[:, :, None, None].chunk(len(self.project))
        return self.trunk(
            torch.cat([first(part) for first, part in zip(self.project, parts, strict=True)])
        )


class Discriminator(nn.Module):
    """Images (n, channels, height, width) in [-1, 1] to logits (n, out) of a linear head.

    Four convolutions; the last has neither BN nor activation and gives the features f (n, 128)
    that the head multiplies by its matrix A, without bias. ``width`` is the first's channels.

    Args:
        channels: of the images.
        out: 1 for real against generated, K for the classifier of K generators.
        width: 128 in the paper.
        norm: ``batch``, or ``layer``, by which no image changes another's logit: what the gradient
            penalty asks for (Gulrajani et al. 2017, section 4).
        shared: another such network whose first ``share`` convolutions are used here too.
        share: 0 to 4.
        size: height and width of the images.
    """

    head_input = "features"

    def __init__(
        self,
        channels: int,
        out: int = 1,
        width: int = 128,
        *,
        norm: Norm = "batch",
        shared: nn.Module | None = None,
        share: int = 0,
        size: Size = SIZE,
    ) -> None:
        super().__init__()
        blocks = OrderedDict(
            conv1=down(channels, width, norm=None),
            conv2=down(width, 2 * width, norm=norm),
            conv3=down(2 * width, 4 * width, norm=norm),
            conv4=close(4 * width, FEATURE_DIM, size),
        )
        for name, block in blocks.items():
            self.add_module(name, block)
        self.features = nn.Flatten()
        self.head = nn.Linear(FEATURE_DIM, out, bias=False)
        init_weights(self)
        if not 0 <= share <= len(blocks):
            raise UsageError(
                f"{share} convolutions are to be shared; a dcgan critic has {len(blocks)}"
            )
        if shared is not None:
            for name in list(blocks)[:share]:
                self.add_module(name, shared.get_submodule(name))

    def forward(self, x: Tensor) -> Tensor:
        for conv in ("conv1", "conv2", "conv3", "conv4"):
            x = self.get_submodule(conv)(x)
        return self.head(self.features(x))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv4`` flattened is ``features``."""
        return ["conv1", "conv2", "conv3", "features", "head"]


class Encoder(nn.Sequential):
    """Images (n, channels, height, width) in [-1, 1] to codes (n, code), or to what a module
    assigned to ``head`` makes of them: a discriminator without its own head.

    As in the baselines of Donahue et al. (2017), who train an autoencoder with the networks of the
    GAN beside it.

    Args:
        channels: of the images.
        width: channels of the first convolution; the others have 2 and 4 times as many.
        code: features of the code.
        size: height and width of the images.
    """

    head_input = "code"

    def __init__(
        self, channels: int, width: int = 128, code: int = FEATURE_DIM, *, size: Size = SIZE
    ) -> None:
        super().__init__()
        self.feature_dim = code
        self.conv1 = down(channels, width, norm=None)
        self.conv2 = down(width, 2 * width)
        self.conv3 = down(2 * width, 4 * width)
        self.conv4 = close(4 * width, code, size)
        self.code = nn.Flatten()
        self.head: nn.Module = nn.Identity()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv4`` flattened is ``code``."""
        head = [] if isinstance(self.head, nn.Identity) else ["head"]
        return ["conv1", "conv2", "conv3", "code", *head]


class Decoder(nn.Sequential):
    """Codes (n, code) to images (n, channels, height, width) in [-1, 1]: a generator.

    Args:
        channels: of the images.
        width: channels of the last hidden layer; those before have 2 and 4 times as many.
        code: features of the code.
        size: height and width of the images.
    """

    def __init__(
        self, channels: int, width: int = 128, code: int = FEATURE_DIM, *, size: Size = SIZE
    ) -> None:
        super().__init__()
        self.input_shape = (code,)
        whole, half, quarter, eighth = halvings(size)
        self.unflatten = nn.Unflatten(1, (code, 1, 1))
        self.up1 = open_up(code, 4 * width, eighth)
        self.up2 = up(4 * width, 2 * width, eighth, quarter)
        self.up3 = up(2 * width, width, quarter, half)
        self.up4 = double(width, channels, half, whole)
        self.image = nn.Tanh()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``up4`` within [-1, 1] is ``image``."""
        return ["up1", "up2", "up3", "image"]


class JointCritic(nn.Module):
    """Pairs of images and codes to logits (n, 1) of having come from the encoder.

    As in Dumoulin et al. (2017): a discriminator's convolutions read the image, a layer reads the
    code, and two more read what both give.

    Args:
        channels: of the images.
        latent: numbers of a code.
        width: channels of the first convolution.
        norm: as of ``Discriminator``.
        size: height and width of the images.
    """

    head_input = "joint"

    def __init__(
        self,
        channels: int,
        latent: int,
        width: int = 128,
        *,
        norm: Norm = "batch",
        size: Size = SIZE,
    ) -> None:
        super().__init__()
        self.conv1 = down(channels, width, norm=None)
        self.conv2 = down(width, 2 * width, norm=norm)
        self.conv3 = down(2 * width, 4 * width, norm=norm)
        self.conv4 = close(4 * width, FEATURE_DIM, size)
        self.features = nn.Flatten()
        self.code = dense(latent, 4 * width)
        self.joint = dense(FEATURE_DIM + 4 * width, 8 * width, 8 * width)
        self.head = nn.Linear(8 * width, 1, bias=False)
        init_weights(self)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = conv(x)
        return self.head(self.joint(torch.cat([self.features(x), self.code(z)], dim=1)))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution."""
        return ["conv1", "conv2", "conv3", "features", "code", "joint", "head"]


class Config(NetworkConfig):
    """A quarter of the paper's width."""

    width: int = Field(32, ge=1, description="channels of the first convolution; 128 in the paper")


class DCGAN(Family):
    """Discriminators and generators, and the encoders and decoders made of the same layers."""

    settings: ClassVar[type[NetworkConfig]] = Config
    config: Config

    @property
    def _channels(self) -> int:
        """Channels of a critic's first convolution, and of a generator's last hidden layer."""
        return self.config.width

    def encoder(self, spec: ImageSpec, features: int | None = None) -> nn.Module:
        code = FEATURE_DIM if features is None else features
        return Encoder(spec.channels, self.config.width, code, size=spec.size)

    def decoder(self, spec: ImageSpec, features: int) -> Decoder:
        return Decoder(spec.channels, self._channels, features, size=spec.size)

    def generator(self, spec: ImageSpec, latent: int = LATENT, count: int = 1) -> Generator:
        return Generator(spec.channels, self._channels, count, size=spec.size, latent=latent)

    def critic(
        self,
        spec: ImageSpec,
        outputs: int = 1,
        *,
        norm: Norm = "batch",
        shared: nn.Module | None = None,
        share: int = 0,
    ) -> Discriminator:
        return Discriminator(
            spec.channels,
            outputs,
            self._channels,
            norm=norm,
            shared=shared,
            share=share,
            size=spec.size,
        )

    def joint_critic(
        self, spec: ImageSpec, latent: int = LATENT, *, norm: Norm = "batch"
    ) -> JointCritic:
        return JointCritic(spec.channels, latent, self._channels, norm=norm, size=spec.size)


FAMILY = DCGAN
