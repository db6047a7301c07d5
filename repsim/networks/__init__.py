"""The papers' networks. Each names its layers, as module addresses, in the papers' terms."""

from repsim.networks.describe import describe
from repsim.networks.families.dcgan import Decoder, Discriminator, Encoder, Generator
from repsim.networks.families.resnet import ResNet
from repsim.networks.heads import ProjectionHead
from repsim.networks.image_spec import ImageSpec

__all__ = [
    "Decoder",
    "Discriminator",
    "Encoder",
    "Generator",
    "ImageSpec",
    "ProjectionHead",
    "ResNet",
    "describe",
]
