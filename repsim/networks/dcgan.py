"""The generator and extractor of Mao et al. (Table 1), after DCGAN (Radford et al. 2016).

For 32 x 32 images. No layer has a bias; convolution weights start from N(0, 0.02).
Addresses: ``conv1`` to ``conv4``, ``features`` and ``head`` of the discriminator.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

LATENT = 128
FEATURE_DIM = 128


class Generator(nn.Module):
    """K generators that differ in their first layer and share the others; K = 1 is a plain one.

    Maps z (n, 128), the same number of rows for each generator in turn, to images
    (n, channels, 32, 32) in [-1, 1].

    Args:
        channels: of the images.
        width: channels of the last hidden layer; 128 in the paper, where the others have 512, 256.
        generators: K; 10 in the paper.
    """

    def __init__(self, channels: int, width: int = 128, generators: int = 1) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            _up(LATENT, 4 * width, stride=1, padding=0) for _ in range(generators)
        )
        self.trunk = nn.Sequential(
            _up(4 * width, 2 * width),
            _up(2 * width, width),
            nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
            nn.Tanh(),
        )
        init_weights(self)

    def forward(self, z: Tensor) -> Tensor:
        parts = z[:, :, None, None].chunk(len(self.project))
        return self.trunk(
            torch.cat([first(part) for first, part in zip(self.project, parts, strict=True)])
        )


class Discriminator(nn.Module):
    """Images (n, channels, 32, 32) in [-1, 1] to logits (n, out) of a linear head.

    Four convolutions; the last has neither BN nor activation and gives the features f (n, 128)
    that the head multiplies by its matrix A, without bias. ``width`` is the first's channels.

    Args:
        channels: of the images.
        out: 1 for real against generated, K for the classifier of K generators.
        width: 128 in the paper.
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
        shared: Discriminator | None = None,
        share: int = 0,
    ) -> None:
        super().__init__()
        blocks = OrderedDict(
            conv1=_down(channels, width, norm=False),
            conv2=_down(width, 2 * width),
            conv3=_down(2 * width, 4 * width),
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


def _up(inputs: int, outputs: int, *, stride: int = 2, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _down(inputs: int, outputs: int, *, norm: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2))


def init_weights(network: nn.Module) -> None:
    """Weights from N(0, 0.02), BN scales from N(1, 0.02), as in DCGAN."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
