"""Convolutions that halve maps of any height and width, and their counterparts that double them.

After DCGAN (Radford et al. 2016): kernels of 4 x 4 and stride 2, no biases, and weights from
N(0, 0.02).
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from repsim.errors import UsageError
from repsim.networks.family import Norm

#: Height and width.
Size = tuple[int, int]


def halvings(size: Size) -> tuple[Size, Size, Size, Size]:
    """Height and width, whole and after one, two and three convolutions that halve them.

    Raises:
        UsageError: nothing is left for the fourth.
    """
    height, width = size
    if min(size) < 8:
        raise UsageError(
            f"images are {height} x {width}; a network that halves them three times needs at "
            "least 8 pixels each way"
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


def dense(*widths: int) -> nn.Sequential:
    """Linear layers from each width to the next, each with LeakyReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


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
    """Weights from N(0, 0.02), scales of norms from N(1, 0.02), biases of 0, as in DCGAN."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
