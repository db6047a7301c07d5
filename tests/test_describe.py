"""Tables of networks: sums of parameters, shapes of real outputs, Table 1 of Mao et al."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.errors import ShapeError
from repsim.networks import (
    Decoder,
    Discriminator,
    Encoder,
    Generator,
    ProjectionHead,
    ResNet,
    describe,
)

NETWORKS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (Generator(3, 4, generators=5), (128,)),
    (Generator(1, 4), (128,)),
    (Discriminator(3, 10, 4), (3, 32, 32)),
    (Discriminator(1, 1, 4, norm="layer"), (1, 32, 32)),
    (Encoder(1, 4, 16), (1, 32, 32)),
    (Decoder(3, 4, 16), (16,)),
    (ProjectionHead(12, 7, layers=3), (12,)),
    (ResNet(1, 10, 4, representation=6), (1, 20, 20)),
    (ResNet(3, 50, 4, stem="imagenet"), (3, 64, 64)),
]


def table(network: nn.Module, shape: tuple[int, ...], *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(layer[key] for key in keys) for layer in describe(network, shape)]


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_parameters_add_up_to_those_of_the_network(
    network: nn.Module, shape: tuple[int, ...]
) -> None:
    total = sum(p.numel() for p in network.parameters())
    assert sum(layer["parameters"] for layer in describe(network, shape)) == total


@pytest.mark.parametrize(("network", "shape"), NETWORKS)
def test_layers_are_in_order_of_execution_with_the_shapes_they_give(
    network: nn.Module, shape: tuple[int, ...]
) -> None:
    expected: dict[str, str] = {}

    def keep(name: str) -> Any:
        def after(module: nn.Module, inputs: Any, output: Tensor) -> None:
            expected[name] = "x".join(map(str, output.shape[1:]))

        return after

    handles = [
        module.register_forward_hook(keep(name))
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
    ]
    with torch.no_grad():
        network(torch.zeros(10, *shape))
    for handle in handles:
        handle.remove()
    if isinstance(network, Generator) and len(network.project) > 1:
        privates = {expected.pop(f"project.{k}.0") for k in range(len(network.project))}
        expected = {"project.*.0": privates.pop(), **expected}
        assert not privates
    assert table(network, shape, "layer", "output") == list(expected.items())


def test_the_generator_is_that_of_table_1() -> None:
    keys = ("copies", "operation", "kernel", "stride", "padding", "inputs", "outputs")
    network = Generator(3, 128, generators=10)
    assert table(network, (128,), *keys, "normalisation", "activation", "bias", "output") == [
        (10, "TransposedConv", "4x4", 1, 0, 128, 512, "BN", "ReLU", False, "512x4x4"),
        (1, "TransposedConv", "4x4", 2, 1, 512, 256, "BN", "ReLU", False, "256x8x8"),
        (1, "TransposedConv", "4x4", 2, 1, 256, 128, "BN", "ReLU", False, "128x16x16"),
        (1, "TransposedConv", "4x4", 2, 1, 128, 3, "none", "tanh", False, "3x32x32"),
    ]
    private = 10 * (16 * 128 * 512 + 2 * 512)
    assert table(network, (128,), "parameters")[0] == (private,)


def test_the_extractor_is_that_of_table_1() -> None:
    keys = ("operation", "kernel", "stride", "padding", "inputs", "outputs")
    network = Discriminator(3, 10, 128)
    leaky = "LeakyReLU 0.2"
    assert table(network, (3, 32, 32), *keys, "normalisation", "activation", "bias", "output") == [
        ("Conv", "4x4", 2, 1, 3, 128, "none", leaky, False, "128x16x16"),
        ("Conv", "4x4", 2, 1, 128, 256, "BN", leaky, False, "256x8x8"),
        ("Conv", "4x4", 2, 1, 256, 512, "BN", leaky, False, "512x4x4"),
        ("Conv", "4x4", 1, 0, 512, 128, "none", "none", False, "128x1x1"),
        ("Linear", None, None, None, 128, 10, "none", "none", False, "10"),
    ]


def test_the_critic_of_the_gradient_penalty_has_layer_normalisation() -> None:
    network = Discriminator(1, width=4, norm="layer")
    kinds = [("none",), ("LN",), ("LN",), ("none",), ("none",)]
    assert table(network, (1, 32, 32), "normalisation") == kinds


def test_a_residual_sum_has_no_row_and_a_shortcut_one() -> None:
    network = ResNet(1, 10, 8)
    network.head = nn.Linear(network.feature_dim, 3)
    rows = table(network, (1, 16, 16), "layer", "normalisation", "activation", "bias")
    assert len(rows) == 1 + 2 * 4 + 3 + 1
    assert rows[1:3] == [
        ("bg1.b0.residual.0", "BN", "ReLU", False),
        ("bg1.b0.residual.3", "BN", "none", False),  # the ReLU takes the sum
    ]
    assert ("bg2.b0.shortcut.0", "BN", "none", False) in rows
    assert rows[-1] == ("head", "none", "none", True)


class Odd(nn.Module):
    """Normalisation first, an activation used twice, a layer without a table's terms."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 4)
        self.conv = nn.Conv2d(4, 6, (3, 1), (2, 1), (1, 0))
        self.act = nn.GELU()
        self.scale = nn.PReLU(6)
        self.after = nn.InstanceNorm2d(6, affine=True)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.scale(self.act(self.conv(self.norm(x)))))


def test_what_does_not_follow_its_layer_has_a_row() -> None:
    keys = ("layer", "operation", "kernel", "stride", "padding", "activation", "parameters")
    assert table(Odd(), (4, 8, 8), *keys) == [
        ("norm", "GroupNorm", None, None, None, "none", 8),
        ("conv", "Conv", "3x1", "2x1", "1x0", "GELU", 4 * 6 * 3 + 6),
        ("scale", "PReLU", None, None, None, "none", 6),
        ("after", "InstanceNorm2d", None, None, None, "none", 12),
    ]


def test_a_layer_that_runs_twice_has_one_row() -> None:
    layer = nn.Linear(4, 4)
    assert table(nn.Sequential(layer, nn.ReLU(), layer), (4,), "layer", "activation") == [
        ("0", "ReLU")
    ]


def test_the_network_stays_as_it_is() -> None:
    network = Discriminator(1, width=4).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    describe(network, (1, 32, 32))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_an_input_that_does_not_fit_is_named_in_one_line() -> None:
    with pytest.raises(ShapeError, match=r"^ProjectionHead takes no input of shape \(5,\): .*$"):
        describe(ProjectionHead(4, 3), (5,))
