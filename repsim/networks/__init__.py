"""The papers' networks. Each names its layers, as module addresses, in the papers' terms.

The public names. Each is imported from its home when it is first used, so that code beside them,
such as the digests of weights, does not need the library of their settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim import lazy
from repsim.networks.describe import describe  # at once: its module has its name

if TYPE_CHECKING:
    from repsim.networks.families.dcgan import Decoder as Decoder
    from repsim.networks.families.dcgan import Discriminator as Discriminator
    from repsim.networks.families.dcgan import Encoder as Encoder
    from repsim.networks.families.dcgan import Generator as Generator
    from repsim.networks.families.resnet import ResNet as ResNet
    from repsim.networks.heads import ProjectionHead as ProjectionHead
    from repsim.networks.image_spec import ImageSpec as ImageSpec

_HOMES = {
    "Decoder": "repsim.networks.families.dcgan",
    "Discriminator": "repsim.networks.families.dcgan",
    "Encoder": "repsim.networks.families.dcgan",
    "Generator": "repsim.networks.families.dcgan",
    "ImageSpec": "repsim.networks.image_spec",
    "ProjectionHead": "repsim.networks.heads",
    "ResNet": "repsim.networks.families.resnet",
}

__all__ = [*_HOMES, "describe"]

__getattr__ = lazy.attach(__name__, _HOMES)
