"""AlexNet for small images, as the encoder of Donahue et al. (2017, section 4.2).

Five convolutions with batch normalisation and LeakyReLU 0.2, no local response normalisation, and
overlapping max-pools after the first, the second and the fifth. The first kernels are 5 x 5 of
stride 1, so that filters can be looked at; channels are in AlexNet's proportions, 3, 8, 12, 12 and
8 times the width. Weights start from N(0, 0.02). The generators, decoders and critics are those of
``dcgan``.

Addresses: ``conv1`` to ``conv5``, each after its activation and pool, ``features``, the last one
flattened, ``code`` of an encoder of so many features, and ``head``.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from repsim.networks.convolutions import Size, init_weights
from repsim.networks.families import dcgan
from repsim.networks.image_spec import ImageSpec

#: Channels of each convolution as multiples of the width, its kernel, and if a pool follows.
LAYERS = ((3, 5, True), (8, 5, True), (12, 3, False), (12, 3, False), (8, 3, True))


def _conv(inputs: int, outputs: int, kernel: int, *, pool: bool) -> nn.Sequential:
    """A convolution of stride 1, BN, LeakyReLU, and a max-pool that halves maps, rounding up."""
    conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2, 1)] if pool else []))


class AlexNet(nn.Sequential):
    """Images (n, channels, height, width) in [-1, 1] to the flattened maps of the last convolution,
    to a code (n, code), or to what a module assigned to ``head`` makes of them.

    Args:
        channels: of the images.
        width: 32 for the channels of AlexNet.
        code: features of a linear layer after the convolutions; None for no such layer.
        size: height and width of the images.
    """

    def __init__(
        self, channels: int, width: int = 8, code: int | None = None, *, size: Size
    ) -> None:
        super().__init__()
        height, across = size
        for k, (times, kernel, pool) in enumerate(LAYERS, start=1):
            outputs = times * width
            self.add_module(f"conv{k}", _conv(channels, outputs, kernel, pool=pool))
            channels = outputs
            if pool:
                height, across = (height + 1) // 2, (across + 1) // 2
        self.features = nn.Flatten()
        self.feature_dim, self.head_input = channels * height * across, "features"
        if code is not None:
            self.code = nn.Linear(self.feature_dim, code)
            self.feature_dim, self.head_input = code, "code"
        self.head: nn.Module = nn.Identity()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv5`` flattened is ``features``."""
        convs = [f"conv{k}" for k in range(1, len(LAYERS))]
        head = [] if isinstance(self.head, nn.Identity) else ["head"]
        return list(dict.fromkeys([*convs, "features", self.head_input, *head]))


class Config(dcgan.Config):
    """A quarter of AlexNet's channels, and the widths of ``dcgan`` beside it."""

    width: int = Field(
        8, ge=1, description="the encoder's channels are 3, 8, 12, 12 and 8 times it; 32 in AlexNet"
    )
    beside: int = Field(
        32, ge=1, description="channels of a generator's last hidden layer and a critic's first"
    )


class AlexNetFamily(dcgan.DCGAN):
    """Encoders of five convolutions, and the networks of ``dcgan`` beside them."""

    settings = Config
    config: Config

    @property
    def _channels(self) -> int:
        return self.config.beside

    def encoder(self, spec: ImageSpec, features: int | None = None) -> AlexNet:
        return AlexNet(spec.channels, self.config.width, features, size=spec.size)


FAMILY = AlexNetFamily
