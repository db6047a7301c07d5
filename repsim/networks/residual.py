"""Parts of residual networks: stems, bottlenecks with pre-activation, and the pooling at the end.

Kolesnikov et al. (2019) compare three such networks. Their bottlenecks have a quarter of the output
channels inside, and the stride in the 3 x 3 convolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import nn

from repsim.errors import UsageError
from repsim.networks.family import NetworkConfig

#: Bottlenecks in each of the four groups, by the number of layers.
BOTTLENECKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3)}

Stem = Literal["cifar", "imagenet", "patches"]

#: The settings of every residual network: of its stem, and of the stride of its last group.
STEM = "3 x 3; imagenet: 7 x 7 of stride 2, max-pool; patches: 7 x 7, max-pool"
LAST_STRIDE = "stride of the last group; 1 for patches in Kolesnikov et al. (2019)"


class PreactivationConfig(NetworkConfig):
    """A network that trains on a laptop; 50 layers of width 64 are usual."""

    depth: Literal[14, 26, 50] = Field(14, description="layers, of 1, 2 or 3/4/6/3 bottlenecks")
    width: int = Field(16, ge=2, description="16 times the width factor k; 64 is standard")
    stem: Stem = Field("cifar", description=STEM)
    last_stride: Literal[1, 2] = Field(2, description=LAST_STRIDE, json_schema_extra={"before": 2})
    representation: int = Field(0, ge=0, description="size of a linear pre_logits; 0: as pooled")
    last_relu: bool = Field(True, description="rectify before pooling; the (-) networks do not")


def first_layers(kind: Stem, channels: int, width: int, *after: nn.Module) -> nn.Sequential:
    """The first convolution, the modules ``after`` it, and a max-pool where images are large.

    Raises:
        UsageError: no such stem.
    """
    if kind == "cifar":
        return nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), *after)
    if kind in ("imagenet", "patches"):
        conv = nn.Conv2d(channels, width, 7, 2 if kind == "imagenet" else 1, 3, bias=False)
        return nn.Sequential(conv, *after, nn.MaxPool2d(3, 2, 1))
    raise UsageError(f"stem is {kind!r}; expected cifar, imagenet or patches")


def group_strides(last: int) -> tuple[int, int, int, int]:
    """The strides of the four groups, the last one as chosen.

    Raises:
        UsageError: a last stride other than 1 or 2.
    """
    if last not in (1, 2):
        raise UsageError(f"last_stride is {last}; expected 1 or 2")
    return 1, 2, 2, last


def preactivated(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """BN, ReLU and a convolution, three times: a bottleneck without its shortcut."""
    widths = (inputs, outputs // 4, outputs // 4, outputs)
    layers: list[nn.Module] = []
    for (before, after), size in zip(pairwise(widths), (1, 3, 1), strict=True):
        step = stride if size == 3 else 1
        conv = nn.Conv2d(before, after, size, step, size // 2, bias=False)
        layers += [nn.BatchNorm2d(before), nn.ReLU(), conv]
    return layers


def pooled(channels: int, *, last_relu: bool) -> nn.Sequential:
    """The last BN, ReLU if there is one, and the global average."""
    rectified = [nn.ReLU()] if last_relu else []
    pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.BatchNorm2d(channels), *rectified, *pool)
