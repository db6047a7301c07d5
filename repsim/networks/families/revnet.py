"""Reversible residual networks (Gomez et al. 2017).

After Kolesnikov et al. (2019): a stem of four times ``width`` channels, without BN and ReLU; four
groups of reversible units, whose residual part is a bottleneck with pre-activation on half of the
channels; between the groups an average pool of stride 2, and zeros for as many channels again, half
of them on either side; a last BN and ReLU, and the global average. Without ``last_relu``, this is
their RevNet50 (-). Addresses: ``stem``, ``block1`` to ``block4``, ``pre_logits``, ``head``.

``network.block1.inverse(maps)`` gives the input of a group from its output. Training keeps the
output of each group alone, and computes the activations before it again in the backward pass.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from repsim.networks.family import Family
from repsim.networks.image_spec import ImageSpec
from repsim.networks.residual import (
    BOTTLENECKS,
    PreactivationConfig,
    first_layers,
    group_strides,
    pooled,
)
from repsim.networks.reversible import ReversibleGroup
from repsim.networks.tapped import Tapped


class Config(PreactivationConfig):
    """A network that trains on a laptop; 50 layers of width 64 are usual."""

    recompute: bool = Field(
        True, description="compute activations again in backward passes, rather than keep them"
    )


class Downsample(nn.Module):
    """Maps of twice the channels, and with a stride of 2 of half the side, without weights."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        more = x.shape[1] // 2
        return F.pad(self.pool(x), (0, 0, 0, 0, more, more))


class RevNet(Tapped):
    """A reversible residual network of four groups.

    Args:
        channels: of the images.
        config: the settings of the family.
        representation: size of ``pre_logits``; 0 for that of the pooled features.
    """

    def __init__(self, channels: int, config: Config, representation: int) -> None:
        outputs = 4 * config.width
        parts: dict[str, nn.Module] = {"stem": first_layers(config.stem, channels, outputs)}
        strides = group_strides(config.last_stride)
        for group, count in enumerate(BOTTLENECKS[config.depth], start=1):
            empty = 0
            if group > 1:
                parts[f"down{group}"] = Downsample(strides[group - 1])
                outputs, empty = 2 * outputs, outputs // 2
            units = ReversibleGroup(outputs, count, empty=empty, recompute=config.recompute)
            parts[f"block{group}"] = units
        parts["pooled"] = pooled(outputs, last_relu=config.last_relu)
        super().__init__(parts, outputs, representation)


class RevNetFamily(Family):
    """Reversible residual networks, as encoders."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> RevNet:
        size = self.config.representation if features is None else features
        return RevNet(spec.channels, self.config, size)


FAMILY = RevNetFamily
