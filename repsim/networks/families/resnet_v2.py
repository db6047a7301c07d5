"""Residual networks v2, with pre-activation (He et al. 2016b).

After Kolesnikov et al. (2019): a stem of ``width`` channels without BN and ReLU, four groups of
bottlenecks with 4, 8, 16 and 32 times as many outputs, a last BN and ReLU, and the global average.
BN and ReLU stand before each convolution; the shortcut of a unit that changes the shape is a
convolution of what they give, any other is the input itself. Without ``last_relu``, this is
their ResNet50 v2 (-). Addresses: ``stem``, ``block1`` to ``block4``, ``pre_logits``, ``head``.
"""

from __future__ import annotations

from torch import Tensor, nn

from repsim.networks.family import Family
from repsim.networks.image_spec import ImageSpec
from repsim.networks.residual import (
    BOTTLENECKS,
    PreactivationConfig,
    first_layers,
    group_strides,
    pooled,
    preactivated,
)
from repsim.networks.tapped import Tapped


class Unit(nn.Module):
    """A bottleneck with pre-activation: ``residual(h) + shortcut``, h being ``relu(bn(x))``."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        norm, relu, *others = preactivated(inputs, outputs, stride)
        self.preactivation, self.residual = nn.Sequential(norm, relu), nn.Sequential(*others)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.preactivation(x)
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(h)
        return shortcut + self.residual(h)


class ResNetV2(Tapped):
    """A residual network with pre-activation, of four groups of bottlenecks.

    Args:
        channels: of the images.
        config: the settings of the family.
        representation: size of ``pre_logits``; 0 for that of the pooled features.
    """

    def __init__(self, channels: int, config: PreactivationConfig, representation: int) -> None:
        inputs = config.width
        parts: dict[str, nn.Module] = {"stem": first_layers(config.stem, channels, inputs)}
        strides = group_strides(config.last_stride)
        for group, count in enumerate(BOTTLENECKS[config.depth]):
            outputs = 4 * config.width * 2**group
            first = Unit(inputs, outputs, strides[group])
            others = (Unit(outputs, outputs, 1) for _ in range(count - 1))
            parts[f"block{group + 1}"] = nn.Sequential(first, *others)
            inputs = outputs
        parts["pooled"] = pooled(inputs, last_relu=config.last_relu)
        super().__init__(parts, inputs, representation)


class ResNetV2Family(Family):
    """Residual networks with pre-activation, as encoders."""

    settings = PreactivationConfig
    config: PreactivationConfig

    def encoder(self, spec: ImageSpec, features: int | None = None) -> ResNetV2:
        size = self.config.representation if features is None else features
        return ResNetV2(spec.channels, self.config, size)


FAMILY = ResNetV2Family
