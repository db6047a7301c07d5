"""Batch normalisation merged into the layer before it: addresses and values stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.networks.families import find_family
from repsim.networks.image_spec import ImageSpec
from repsim.networks.merging import merge_norms

SPEC = ImageSpec(1, 10, 32, 32, flips=False)
FAMILIES: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 1, "beside": 4},
    "dcgan": {"width": 4},
    "mlp": {"width": 16},
    "nin": {"blocks": 3, "width": 6},
    "resnet": {"depth": 10, "width": 4},
    "vgg": {"width": 1},
}


def used(network: nn.Module, *shape: int) -> tuple[nn.Module, Tensor]:
    """A network whose statistics, scales and shifts are other than at the start, and inputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, *shape, generator=generator) * 2 - 1
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -1.0, 1.0)
    for _ in range(3):
        network.train()(x)
    return network.eval(), x


def norms(network: nn.Module) -> list[nn.Module]:
    return [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]


def layers(network: nn.Module, x: Tensor, names: list[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(
            lambda module, inputs, output, name=name: found.update({name: output.detach()})
        )
    with torch.no_grad():
        network(x)
    return found


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize("name", FAMILIES)
def test_merging_changes_no_layer(name: str, role: str) -> None:
    torch.manual_seed(0)
    family = find_family(name)(find_family(name).settings(**FAMILIES[name]))
    if role not in family.roles():
        pytest.skip(f"{name} has no {role}")
    built = family.encoder(SPEC) if role == "encoder" else family.decoder(SPEC, 6)
    network, x = used(built, *(SPEC.shape if role == "encoder" else (6,)))
    merged = merge_norms(network)
    assert norms(network)
    assert not norms(merged)
    names = network.layer_names()
    before, after = layers(network, x, names), layers(merged, x, names)
    for layer in names:
        scale = float(before[layer].abs().max())
        assert torch.allclose(before[layer], after[layer], atol=1e-5 * scale), layer
    assert not torch.equal(before[names[-1]], torch.zeros_like(before[names[-1]]))


def test_a_norm_that_follows_no_layer_stays() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    merged = merge_norms(network)
    assert len(norms(merged)) == 2
    assert isinstance(merged[1], nn.Conv2d)
