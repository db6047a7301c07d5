"""A network of each role that a family has, as built for given images: layers and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from repsim.networks.describe import describe
from repsim.networks.family import Family
from repsim.networks.image_spec import ImageSpec

#: Numbers of noise, or of a code, that generators and joint critics take, as in Mao et al. (2019).
LATENT = 128


@dataclass(frozen=True)
class Overview:
    """A network in one role.

    Attributes:
        role: of the family.
        layers: addresses of the layers that are harvested, in order; none where it names none.
        records: of the layers with parameters, see ``describe``.
    """

    role: str
    layers: tuple[str, ...]
    records: list[dict[str, Any]]

    @property
    def parameters(self) -> int:
        """Number of parameters of the network."""
        return sum(record["parameters"] for record in self.records)


def overview(family: Family, spec: ImageSpec) -> list[Overview]:
    """A network of each role, in the order of ``ROLES``; nothing is computed or initialised.

    Raises:
        UsageError: the family has no network for such images.
    """
    with torch.device("meta"):
        built = {role: _built(family, role, spec) for role in family.roles()}
    return [
        Overview(role, _layers(network), describe(network, *shapes))
        for role, (network, shapes) in built.items()
    ]


def _built(family: Family, role: str, spec: ImageSpec) -> tuple[nn.Module, list[tuple[int, ...]]]:
    """The network of a role, and the shapes of the tensors that it takes."""
    if role == "encoder":
        return family.encoder(spec), [spec.shape]
    if role == "decoder":
        return family.decoder(spec, LATENT), [(LATENT,)]
    if role == "generator":
        return family.generator(spec, LATENT), [(LATENT,)]
    if role == "critic":
        return family.critic(spec), [spec.shape]
    return family.joint_critic(spec, LATENT), [spec.shape, (LATENT,)]


def _layers(network: nn.Module) -> tuple[str, ...]:
    names = getattr(network, "layer_names", None)
    return () if names is None else tuple(names())
