"""The generator and extractor of Mao et al. (Table 1), after DCGAN (Radford et al. 2016).

For 32 x 32 images. No layer has a bias; convolution weights start from N(0, 0.02).
Addresses: ``conv1`` to ``conv4``, ``features`` and ``head`` of the discriminator.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

LATENT = 128
FEATURE_DIM = 128

Norm = Literal["batch", "layer"]


class Generator(nn.Module):
    """K generators that differ in their first layer and share the others; K = 1 is a plain one.

    Maps z (n, 128), the same number of rows for each generator in turn, to images
    (n, channels, 32, 32) in [-1, 1].

    Args:
        channels: of the images.
        width: channels of the last hidden layer; 128 in the paper, where the others have 512, 256.
        generators: K; 10 in the paper.
    """

    input_shape = (LATENT,)

    def __init__(self, channels: int, width: int = 128, generators: int = 1) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            up(LATENT, 4 * width, stride=1, padding=0) for _ in range(generators)
        )
        self.trunk = nn.Sequential(
            up(4 * width, 2 * width),
            up(2 * width, width),
            nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
            nn.Tanh(),
        )
        init_weights(self)

    def forward(self, z: Tensor) -> Tensor:
        parts = z[:, :, None, None].chunk(len(self.project))
        return self.trunk(
            torch.cat([first(part) for first, part in zip(self.project, parts, strict=True)])
        )

    def sample(self, n: int) -> Tensor:
        """``n`` images of each generator in turn, (K n, channels, 32, 32).

        Noise is drawn on the CPU, from torch's global random numbers, whatever the device.
        """
        z = torch.randn(len(self.project) * n, LATENT)
        return self(z.to(next(self.parameters()).device))


class Discriminator(nn.Module):
    """Images (n, channels, 32, 32) in [-1, 1] to logits (n, out) of a linear head.

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
    """

    head_input = "features"

    def __init__(
        self,
        channels: int,
        out: int = 1,
        width: int = 128,
        *,
        norm: Norm = "batch",
        shared: Discriminator | None = None,
        share: int = 0,
    ) -> None:
        super().__init__()
        blocks = OrderedDict(
            conv1=down(channels, width, norm=None),
            conv2=down(width, 2 * width, norm=norm),
            conv3=down(2 * width, 4 * width, norm=norm),
            conv4=nn.Conv2d(4 * width, FEATURE_DIM, 4, 1, 0, bias=False),
        )
        for name, block in blocks.items():
            self.add_module(name, block)
        self.features = nn.Flatten()
        self.head = nn.Linear(FEATURE_DIM, out, bias=False)
        init_weights(self)
        if shared is not None:
            for name in list(blocks)[:share]:
                self.add_module(name, getattr(shared, name))

    def forward(self, x: Tensor) -> Tensor:
        for conv in ("conv1", "conv2", "conv3", "conv4"):
            x = self.get_submodule(conv)(x)
        return self.head(self.features(x))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv4`` flattened is ``features``."""
        return ["conv1", "conv2", "conv3", "features", "head"]


def up(inputs: int, outputs: int, *, stride: int = 2, padding: int = 1) -> nn.Sequential:
    """A transposed 4 x 4 convolution, BN and ReLU: doubles the side, as by default."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def down(inputs: int, outputs: int, *, norm: Norm | None = "batch") -> nn.Sequential:
    """A 4 x 4 convolution of stride 2, normalisation if any, and LeakyReLU: halves the side."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, outputs))  # one group: over channels and positions
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


def init_weights(network: nn.Module) -> None:
    """Weights from N(0, 0.02), scales of norms from N(1, 0.02), as in DCGAN."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
