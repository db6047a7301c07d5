"""Convolutional networks of Mao et al. (2019, Table 1), after DCGAN (Radford et al. 2016).

For images of any height and width from 8 pixels; by default 32 x 32, as in the paper. Three
convolutions halve the maps, and the kernel of the fourth covers what is left of them: 4 x 4 in the
paper. Generators go the same way back. No layer has a bias; weights start from N(0, 0.02).

Addresses: ``conv1`` to ``conv3``, ``features`` and ``head`` of the discriminator; ``code`` instead
of ``features`` of the encoder; ``up1`` to ``up3`` and ``image`` of the decoder.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from repsim.errors import UsageError

LATENT = 128
FEATURE_DIM = 128
#: Height and width of the paper's images.
SIZE = (32, 32)

Norm = Literal["batch", "layer"]
Size = tuple[int, int]


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

    def sample(self, n: int) -> Tensor:
        """``n`` images of each generator in turn, (K n, channels, height, width).

        Noise is drawn on the CPU, from torch's global random numbers, whatever the device.
        """
        z = torch.randn(self.generators * n, *self.input_shape)
        return self(z.to(next(self.parameters()).device))


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


def halvings(size: Size) -> tuple[Size, Size, Size, Size]:
    """Height and width, whole and after one, two and three convolutions that halve them.

    Raises:
        UsageError: nothing is left for the fourth.
    """
    height, width = size
    if min(size) < 8:
        raise UsageError(
            f"images are {height} x {width}; a dcgan network needs at least 8 pixels each way"
        )
    one, two, three, four = ((height // by, width // by) for by in (1, 2, 4, 8))
    return one, two, three, four


def down(inputs: int, outputs: int, *, norm: Norm | None = "batch") -> nn.Sequential:
    """A 4 x 4 convolution of stride 2, normalisation if any, and LeakyReLU: halves the side."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, outputs))  # one group: over channels and positions
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


def close(inputs: int, outputs: int, size: Size) -> nn.Conv2d:
    """The convolution that covers what three halvings leave of images of ``size``."""
    return nn.Conv2d(inputs, outputs, halvings(size)[-1], 1, 0, bias=False)


def open_up(inputs: int, outputs: int, size: Size) -> nn.Sequential:
    """A transposed convolution from one position to maps of ``size``, BN and ReLU."""
    conv = nn.ConvTranspose2d(inputs, outputs, size, 1, 0, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def up(inputs: int, outputs: int, small: Size, large: Size) -> nn.Sequential:
    """``double``, BN and ReLU."""
    return nn.Sequential(double(inputs, outputs, small, large), nn.BatchNorm2d(outputs), nn.ReLU())


def double(inputs: int, outputs: int, small: Size, large: Size) -> nn.ConvTranspose2d:
    """A transposed 4 x 4 convolution of stride 2: doubles each side, plus one where it is odd."""
    missing = large[0] - 2 * small[0], large[1] - 2 * small[1]
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, missing, bias=False)


def init_weights(network: nn.Module) -> None:
    """Weights from N(0, 0.02), scales of norms from N(1, 0.02), as in DCGAN."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
