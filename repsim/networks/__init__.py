"""The papers' networks. Each names its layers, as module addresses, in the papers' terms."""

from repsim.networks.autoencoder import Decoder, Encoder
from repsim.networks.dcgan import Discriminator, Generator
from repsim.networks.describe import describe
from repsim.networks.heads import ProjectionHead
from repsim.networks.resnet import ResNet

__all__ = [
    "Decoder",
    "Discriminator",
    "Encoder",
    "Generator",
    "ProjectionHead",
    "ResNet",
    "describe",
]
