"""Residual networks with a CIFAR stem (He et al. 2016; the stem of Chen et al. 2020, B.9).

Addresses of the points that Grigg et al. (2021) compare, which are modules here:

    stem                after the stem's ReLU
    bg{i}.b{j}.odd      block j of group i: the last BN's output, before the addition
    bg{i}.b{j}.even     the same block: after the addition and ReLU
    pooled              global average, the features that the head takes
    head                the head's output
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repsim.errors import UsageError

#: Depth to blocks in each of the four groups. 10 has one basic block a group.
DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK_DEPTHS = (50,)


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
    """A residual network for small images: 3 x 3 stem of stride 1, no max-pool, four groups.

    Args:
        channels: of the input images.
        depth: 10, 18, 34 (basic blocks) or 50 (bottlenecks).
        width: channels of the stem and first group; 64 is the standard network.

    Maps (n, channels, h, w) float in [-1, 1] to the pooled features (n, ``feature_dim``), or to
    what a module assigned to ``head`` makes of them.
    """

    head_input = "pooled"

    def __init__(self, channels: int = 3, depth: int = 18, width: int = 64) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise UsageError(f"depth is {depth}; expected one of {', '.join(map(str, DEPTHS))}")
        if width < 1:
            raise UsageError(f"width is {width}; expected at least 1")
        bottleneck = depth in BOTTLENECK_DEPTHS
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.groups = tuple(f"bg{group}" for group in range(1, 1 + len(DEPTHS[depth])))
        inputs = width
        for group, (name, blocks) in enumerate(zip(self.groups, DEPTHS[depth], strict=True)):
            outputs = width * 2**group * (4 if bottleneck else 1)
            stride = 1 if group == 0 else 2
            stack = nn.Sequential()
            for index in range(blocks):
                block = Block(inputs, outputs, stride if index == 0 else 1, bottleneck=bottleneck)
                stack.add_module(f"b{index}", block)
                inputs = outputs
            self.add_module(name, stack)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.feature_dim = inputs
        # A third faster on CPUs; but with channels that do not fill eight lanes, the backward pass
        # of torch 2.13's CPU convolutions writes past its buffers in this layout.
        lanes = width % 8 == 0
        self.memory_format = torch.channels_last if lanes else torch.contiguous_format
        self.head: nn.Module = nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.contiguous(memory_format=self.memory_format))
        for group in self.groups:
            x = self.get_submodule(group)(x)
        return self.head(self.pooled(x))

    def layer_names(self) -> list[str]:
        """Addresses of the points above, in order of execution."""
        points = [name for name, _ in self.named_modules() if name.endswith((".odd", ".even"))]
        head = [] if isinstance(self.head, nn.Identity) else ["head"]
        return ["stem", *points, "pooled", *head]
