"""Residual networks, v1 (He et al. 2016), with their own stem or that of Chen et al. (2020, B.9).

Addresses of the points that Grigg et al. (2021) compare, which are modules here:

    stem                what the first block takes: after the stem's ReLU, and max-pool if any
    bg{i}.b{j}.odd      block j of group i: the last BN's output, before the addition
    bg{i}.b{j}.even     the same block: after the addition and ReLU
    pooled              global average
    representation      its linear map to another number of features, if that is given
    head                what the head makes of the last of these

Beside them, and not harvested unless they are asked for, the taps of Kolesnikov et al. (2019), as
in ``resnet_v2`` and others: ``block1`` to ``block4``, the output of each group, and ``pre_logits``,
the input of the head. With bottlenecks, this is their ResNet50 v1.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.networks.family import Family, NetworkConfig
from repsim.networks.image_spec import ImageSpec
from repsim.networks.residual import (
    BOTTLENECKS,
    LAST_STRIDE,
    STEM,
    Stem,
    first_layers,
    group_strides,
)

#: Depth to basic blocks in each of the four groups.
BASIC = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
DEPTHS = dict(sorted({**BASIC, **BOTTLENECKS}.items()))


class Block(nn.Module):
    """A residual block: ``even = relu(odd + shortcut)``.

    ``odd`` and ``even`` are modules of their own, so that an address names each point.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        inner = outputs // 4 if bottleneck else outputs
        # A bottleneck strides in its 3 x 3 convolution, a basic block in its first one.
        sizes = [1, 3, 1] if bottleneck else [3, 3]
        widths = [inputs] + [inner] * (len(sizes) - 1) + [outputs]
        strided = 1 if bottleneck else 0
        layers: list[nn.Module] = []
        for k, size in enumerate(sizes):
            step = stride if k == strided else 1
            layers.append(nn.Conv2d(widths[k], widths[k + 1], size, step, size // 2, bias=False))
            layers.append(nn.BatchNorm2d(widths[k + 1]))
            layers.append(nn.ReLU())
        self.residual = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.odd = nn.Identity()
        self.even = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.even(self.odd(self.residual(x)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of four groups of blocks.

    Args:
        channels: of the input images.
        depth: 10, 18, 34 (basic blocks), or 14, 26, 50 (bottlenecks).
        width: channels of the stem and the first group's 3 x 3 convolutions; 64 is the standard
            network, 16 k that of width factor k in Kolesnikov et al. (2019).
        stem: ``cifar``, a 3 x 3 convolution of stride 1 for small images; ``imagenet``, a 7 x 7
            convolution and a max-pool, each of stride 2; or ``patches``, the same with a
            convolution of stride 1.
        representation: features that the pooled ones are mapped to linearly, so that their number
            does not depend on the width (Kolesnikov et al. 2019); 0 for no such map.
        zero_init: start the last BN of each block at scale 0, so that every block begins as
            ``relu(shortcut)`` (Goyal et al. 2017, section 5.1).
        last_stride: of the last group, 1 or 2.

    Maps (n, channels, h, w) float in [-1, 1] to the features (n, ``feature_dim``), or to what a
    module assigned to ``head`` makes of them.

    Raises:
        UsageError: no such depth, width, stem, representation or stride.
    """

    def __init__(
        self,
        channels: int = 3,
        depth: int = 18,
        width: int = 64,
        *,
        stem: Stem = "cifar",
        representation: int = 0,
        zero_init: bool = False,
        last_stride: int = 2,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise UsageError(f"depth is {depth}; expected one of {', '.join(map(str, DEPTHS))}")
        if width < 1:
            raise UsageError(f"width is {width}; expected at least 1")
        if representation < 0:
            raise UsageError(f"representation is {representation}; expected 0 (none) or more")
        bottleneck = depth in BOTTLENECKS
        self.stem = first_layers(stem, channels, width, nn.BatchNorm2d(width), nn.ReLU())
        self.groups = tuple(f"bg{group}" for group in range(1, 1 + len(DEPTHS[depth])))
        inputs, strides = width, group_strides(last_stride)
        for group, (name, blocks) in enumerate(zip(self.groups, DEPTHS[depth], strict=True)):
            outputs = width * 2**group * (4 if bottleneck else 1)
            stack = nn.Sequential()
            for index in range(blocks):
                stride = strides[group] if index == 0 else 1
                block = Block(inputs, outputs, stride, bottleneck=bottleneck)
                stack.add_module(f"b{index}", block)
                inputs = outputs
            self.add_module(name, stack)
            self.add_module(f"block{group + 1}", nn.Identity())
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.representation: nn.Module = nn.Identity()
        self.feature_dim, self.head_input = inputs, "pooled"
        if representation:
            self.representation = nn.Linear(inputs, representation)
            self.feature_dim, self.head_input = representation, "representation"
        self.pre_logits = nn.Identity()
        # A third faster on CPUs; but with channels that do not fill eight lanes, the backward pass
        # of torch 2.13's CPU convolutions writes past its buffers in this layout.
        lanes = width % 8 == 0
        self.memory_format = torch.channels_last if lanes else torch.contiguous_format
        self.head: nn.Module = nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init and isinstance(module, Block):
                nn.init.zeros_(module.residual[-1].get_parameter("weight"))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.contiguous(memory_format=self.memory_format))
        for k, group in enumerate(self.groups, start=1):
            x = self.get_submodule(f"block{k}")(self.get_submodule(group)(x))
        return self.head(self.pre_logits(self.representation(self.pooled(x))))

    def layer_names(self) -> list[str]:
        """Addresses of the points above, in order of execution."""
        points = [name for name, _ in self.named_modules() if name.endswith((".odd", ".even"))]
        ends = {"representation": self.representation, "head": self.head}
        present = [name for name, end in ends.items() if not isinstance(end, nn.Identity)]
        return ["stem", *points, "pooled", *present]


class Config(NetworkConfig):
    """A network that trains on a laptop; 18 layers of width 64 are usual."""

    depth: Literal[10, 14, 18, 26, 34, 50] = Field(18, description="layers of the residual network")
    width: int = Field(16, ge=1, description="channels of its first block group; 64 is standard")
    stem: Stem = Field("cifar", description=STEM)
    last_stride: Literal[1, 2] = Field(2, description=LAST_STRIDE, json_schema_extra={"before": 2})
    representation: int = Field(
        0, ge=0, description="size of a linear layer after pooling; 0 for none"
    )
    zero_init: bool = Field(False, description="start the last BN of each block at 0")


class ResNetFamily(Family):
    """Residual networks as encoders."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> ResNet:
        c = self.config
        return ResNet(
            spec.channels,
            c.depth,
            c.width,
            stem=c.stem,
            representation=c.representation if features is None else features,
            zero_init=c.zero_init,
            last_stride=c.last_stride,
        )


FAMILY = ResNetFamily
