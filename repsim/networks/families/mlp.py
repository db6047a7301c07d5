"""Permutation-invariant networks for digits (Donahue et al. 2017, appendix C.1).

Two hidden layers of 1024 units read the pixels in any order. In encoders and critics the second one
is normalised, in generators both are: batch normalisation without parameters, before the
activation. That is LeakyReLU 0.2 in encoders and critics and ReLU in generators. The code of a
joint critic, and the noise of a generator, enter again in every linear layer after the first.
Weights start from N(0, 0.02), biases from 0. Pixels are in [0, 1] inside.

Addresses: ``hidden1``, ``hidden2``, ``code`` of an encoder of so many features, and ``head``;
``project``, ``hidden2`` and ``image`` of generators.
"""

from __future__ import annotations

from math import prod

import torch
from pydantic import Field
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.networks.convolutions import init_weights
from repsim.networks.family import Family, NetworkConfig, Norm
from repsim.networks.image_spec import ImageSpec

#: The hidden layers, in order of execution.
HIDDEN = ("hidden1", "hidden2")


def _hidden(inputs: int, outputs: int, norm: Norm | None, activation: nn.Module) -> nn.Sequential:
    """A linear layer, normalisation without parameters if any, and an activation."""
    # A bias before batch normalisation is taken off again with the mean.
    layers: list[nn.Module] = [nn.Linear(inputs, outputs, bias=norm is None)]
    if norm == "batch":
        layers.append(nn.BatchNorm1d(outputs, affine=False))
    elif norm == "layer":
        layers.append(nn.LayerNorm(outputs, elementwise_affine=False))
    return nn.Sequential(*layers, activation)


class Pixels(nn.Module):
    """Images (n, channels, height, width) in [-1, 1] as rows of pixels in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) + 1) / 2


class Image(nn.Module):
    """Rows of logits as images in [-1, 1]: their pixels in [0, 1] are sigmoids."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, logits: Tensor) -> Tensor:
        return (logits / 2).tanh().view(-1, *self.shape)  # 2 sigmoid - 1


class Perceptron(nn.Sequential):
    """Images (n, channels, height, width) in [-1, 1] to the units (n, width) of the second hidden
    layer, to a code (n, code), or to what a module assigned to ``head`` makes of them.

    Args:
        pixels: of an image, over all channels.
        width: units of each hidden layer.
        code: features of a linear layer after these; None for no such layer.
        norm: normalisation of the second hidden layer.
    """

    def __init__(
        self, pixels: int, width: int = 1024, code: int | None = None, *, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.pixels = Pixels()
        self.hidden1 = _hidden(pixels, width, None, nn.LeakyReLU(0.2))
        self.hidden2 = _hidden(width, width, norm, nn.LeakyReLU(0.2))
        self.feature_dim, self.head_input = width, "hidden2"
        if code is not None:
            self.code = nn.Linear(width, code)
            self.feature_dim, self.head_input = code, "code"
        self.head: nn.Module = nn.Identity()
        init_weights(self)

    def layer_names(self) -> list[str]:
        """Addresses in order of execution."""
        head = [] if isinstance(self.head, nn.Identity) else ["head"]
        return list(dict.fromkeys([*HIDDEN, self.head_input, *head]))


class Generator(nn.Module):
    """K generators that differ in their first layer and share the others; K = 1 is a plain one.

    Maps z (n, latent), the same number of rows for each generator in turn, to images in [-1, 1].

    Args:
        shape: channels, height and width of an image.
        latent: numbers that an image is made from.
        width: units of each hidden layer.
        generators: K.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent: int, width: int = 1024, generators: int = 1
    ) -> None:
        super().__init__()
        self.generators, self.input_shape = generators, (latent,)
        self.project = nn.ModuleList(
            _hidden(latent, width, "batch", nn.ReLU()) for _ in range(generators)
        )
        self.hidden2 = _hidden(width + latent, width, "batch", nn.ReLU())
        self.image = nn.Sequential(nn.Linear(width + latent, prod(shape)), Image(shape))
        init_weights(self)

    def forward(self, z: Tensor) -> Tensor:
        parts = z.chunk(len(self.project))
        x = torch.cat([first(part) for first, part in zip(self.project, parts, strict=True)])
        x = self.hidden2(torch.cat([x, z], dim=1))
        return self.image(torch.cat([x, z], dim=1))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution."""
        return [*(f"project.{k}" for k in range(self.generators)), "hidden2", "image"]


class JointCritic(nn.Module):
    """Pairs of images and codes to logits (n, 1) of having come from the encoder.

    Args:
        pixels: of an image, over all channels.
        latent: numbers of a code.
        width: units of each hidden layer.
        norm: normalisation of the second hidden layer.
    """

    head_input = "hidden2"

    def __init__(
        self, pixels: int, latent: int, width: int = 1024, *, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.pixels = Pixels()
        self.hidden1 = _hidden(pixels, width, None, nn.LeakyReLU(0.2))
        self.hidden2 = _hidden(width + latent, width, norm, nn.LeakyReLU(0.2))
        self.head = nn.Linear(width + latent, 1)
        init_weights(self)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = self.hidden1(self.pixels(x))
        x = self.hidden2(torch.cat([x, z], dim=1))
        return self.head(torch.cat([x, z], dim=1))

    def layer_names(self) -> list[str]:
        """Addresses in order of execution."""
        return [*HIDDEN, "head"]


class Config(NetworkConfig):
    """The paper's width."""

    width: int = Field(1024, ge=1, description="units of each hidden layer")


class MLP(Family):
    """Perceptrons in every role."""

    settings = Config
    config: Config

    def encoder(self, spec: ImageSpec, features: int | None = None) -> Perceptron:
        return Perceptron(prod(spec.shape), self.config.width, features)

    def decoder(self, spec: ImageSpec, features: int) -> Generator:
        return Generator(spec.shape, features, self.config.width)

    def generator(self, spec: ImageSpec, latent: int, count: int = 1) -> Generator:
        return Generator(spec.shape, latent, self.config.width, count)

    def critic(
        self,
        spec: ImageSpec,
        outputs: int = 1,
        *,
        norm: Norm = "batch",
        shared: nn.Module | None = None,
        share: int = 0,
    ) -> Perceptron:
        if not 0 <= share <= len(HIDDEN):
            raise UsageError(
                f"{share} layers are to be shared; an mlp critic has {len(HIDDEN)} hidden ones: "
                f"expected 0 to {len(HIDDEN)}"
            )
        network = Perceptron(prod(spec.shape), self.config.width, norm=norm)
        network.head = nn.Linear(self.config.width, outputs)
        init_weights(network.head)
        if shared is not None:
            for name in HIDDEN[:share]:
                network.add_module(name, shared.get_submodule(name))
        return network

    def joint_critic(self, spec: ImageSpec, latent: int, *, norm: Norm = "batch") -> JointCritic:
        return JointCritic(prod(spec.shape), latent, self.config.width, norm=norm)


FAMILY = MLP
