"""Encoder and decoder: the discriminator and generator of Mao et al. (Table 1) around a code.

As in the baselines of Donahue et al. (2017), who train an autoencoder with the networks of the
GAN beside it. For 32 x 32 images. Addresses: ``conv1`` to ``conv3`` and ``code`` of the encoder,
``up1`` to ``up3`` and ``image`` of the decoder.
"""

from __future__ import annotations

from torch import nn

from repsim.networks.dcgan import FEATURE_DIM, down, init_weights, up


class Encoder(nn.Sequential):
    """Images (n, channels, 32, 32) in [-1, 1] to codes (n, code): a discriminator without its head.

    Args:
        channels: of the images.
        width: channels of the first convolution; the others have 2 and 4 times as many.
        code: features of the code.
    """

    def __init__(self, channels: int, width: int = 128, code: int = FEATURE_DIM) -> None:
        super().__init__()
        self.conv1 = down(channels, width, norm=None)
        self.conv2 = down(width, 2 * width)
        self.conv3 = down(2 * width, 4 * width)
        self.conv4 = nn.Conv2d(4 * width, code, 4, 1, 0, bias=False)
        self.code = nn.Flatten()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``conv4`` flattened is ``code``."""
        return ["conv1", "conv2", "conv3", "code"]


class Decoder(nn.Sequential):
    """Codes (n, code) to images (n, channels, 32, 32) in [-1, 1]: a generator.

    Args:
        channels: of the images.
        width: channels of the last hidden layer; those before have 2 and 4 times as many.
        code: features of the code.
    """

    def __init__(self, channels: int, width: int = 128, code: int = FEATURE_DIM) -> None:
        super().__init__()
        self.input_shape = (code,)
        self.unflatten = nn.Unflatten(1, (code, 1, 1))
        self.up1 = up(code, 4 * width, stride=1, padding=0)
        self.up2 = up(4 * width, 2 * width)
        self.up3 = up(2 * width, width)
        self.up4 = nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False)
        self.image = nn.Tanh()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution; ``up4`` within [-1, 1] is ``image``."""
        return ["up1", "up2", "up3", "image"]
