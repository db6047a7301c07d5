"""Networks of Kolesnikov et al. (2019): sizes by arithmetic, and taps under one naming."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.activations.capture.hooks import Capture
from repsim.errors import UsageError
from repsim.networks import ImageSpec
from repsim.networks.families import find_family
from repsim.training.compose import configure

TAPS = ["block1", "block2", "block3", "block4", "pre_logits"]
FULL: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 50, "width": 64},
    "resnet_v2": {"depth": 50, "width": 64},
    "revnet": {"depth": 50, "width": 64},
    "vgg": {"width": 64},
    "nin": {"width": 192},
}


def build(name: str, size: int = 32, **settings: Any) -> Any:
    kind = find_family(name)
    return kind(kind.settings(**settings)).encoder(ImageSpec(3, 10, size, size, flips=True))


def full(name: str, size: int, **settings: Any) -> Any:
    with torch.device("meta"):
        return build(name, size, **{**FULL[name], **settings})


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def outputs(network: nn.Module, layers: Any, x: Tensor) -> dict[str, Tensor]:
    with Capture(network, layers) as capture:
        network(x)
        taken: dict[str, Tensor] = capture.take()
    return taken


def shapes(name: str, size: int, **settings: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the taps at full size, of one image."""
    network = full(name, size, **settings)
    x = torch.empty(2, 3, size, size, device="meta")
    return {tap: tuple(value.shape[1:]) for tap, value in outputs(network, TAPS, x).items()}


def used(network: nn.Module) -> Any:
    """A network in evaluation mode whose statistics, scales and shifts are not the first ones."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


# --- parameters at full size, by hand


def bottleneck(inputs: int, outputs: int, *, norms: tuple[int, ...]) -> int:
    """Three convolutions without bias, and two numbers a channel of each BN."""
    inner = outputs // 4
    return inputs * inner + 9 * inner * inner + inner * outputs + 2 * sum(norms)


def resnet_v1(k: int, blocks: tuple[int, ...], stem: int) -> int:
    total, inputs = stem * stem * 3 * 16 * k + 2 * 16 * k, 16 * k
    for group, repeats in enumerate(blocks):
        outputs = 64 * k * 2**group
        inner = outputs // 4
        for unit in range(repeats):
            total += bottleneck(inputs, outputs, norms=(inner, inner, outputs))
            total += (inputs * outputs + 2 * outputs) * (unit == 0)
            inputs = outputs
    return total


def resnet_v2(k: int, blocks: tuple[int, ...], stem: int) -> int:
    total, inputs = stem * stem * 3 * 16 * k, 16 * k  # no BN in the stem
    for group, repeats in enumerate(blocks):
        outputs = 64 * k * 2**group
        inner = outputs // 4
        for unit in range(repeats):
            total += bottleneck(inputs, outputs, norms=(inputs, inner, inner))
            total += inputs * outputs * (unit == 0)  # no BN in the shortcut
            inputs = outputs
    return total + 2 * inputs  # the last BN


def revnet(k: int, blocks: tuple[int, ...], stem: int) -> int:
    total = stem * stem * 3 * 64 * k
    for group, repeats in enumerate(blocks):
        half = 32 * k * 2**group  # and no shortcut
        total += repeats * bottleneck(half, half, norms=(half, half // 4, half // 4))
    return total + 2 * 512 * k


def vgg19(k: int, side: int) -> int:
    counts, times = (2, 2, 4, 4, 4), (1, 2, 4, 8, 8)
    widths = [3, *(8 * k * t for n, t in zip(counts, times, strict=True) for _ in range(n))]
    convs = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    left = side // 32
    linear = 64 * k * left * left * 512 * k + (512 * k) ** 2 + 2 * 2 * 512 * k
    return convs + linear


def nin(blocks: int) -> int:
    layers = [(25, 3, 192), (1, 192, 160), (1, 160, 96), (25, 96, 192)]
    layers += [(1, 192, 192)] * 2 + [(9, 192, 192), (1, 192, 192), (1, 192, 192)] * (blocks - 2)
    return sum(area * a * b + 2 * b for area, a, b in layers)


FIFTY, FOURTEEN = (3, 4, 6, 3), (1, 1, 1, 1)


def test_the_sums_are_those_of_published_networks() -> None:
    """ImageNet's networks with 1,000 classes, as other libraries count them."""
    assert resnet_v1(4, FIFTY, 7) + 2049 * 1000 == 25_557_032  # torchvision's resnet50
    assert resnet_v2(4, FIFTY, 7) + 2049 * 1000 == 25_549_352  # timm's resnetv2_50
    # torchvision's vgg19_bn has biases in all layers, and no BN after the linear ones.
    biases = 2 * 64 + 2 * 128 + 4 * 256 + 8 * 512 + 2 * 4096
    assert vgg19(8, 224) + 4097 * 1000 == 143_678_248 - biases + 2 * 2 * 4096


@pytest.mark.parametrize("k", [4, 8, 16])
def test_sizes_with_the_stem_for_large_images(k: int) -> None:
    for name, sums in (("resnet", resnet_v1), ("resnet_v2", resnet_v2), ("revnet", revnet)):
        network = full(name, 224, width=16 * k, stem="imagenet")
        assert count(network) == sums(k, FIFTY, 7)
        assert network.feature_dim == 512 * k
    assert count(full("vgg", 224, width=8 * k)) == vgg19(k, 224)
    assert full("vgg", 224, width=8 * k).feature_dim == 512 * k


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sizes_with_the_stem_for_small_images(k: int) -> None:
    for depth, blocks in ((14, FOURTEEN), (26, (2, 2, 2, 2)), (50, FIFTY)):
        for name, sums in (("resnet", resnet_v1), ("resnet_v2", resnet_v2), ("revnet", revnet)):
            assert count(full(name, 32, width=16 * k, depth=depth)) == sums(k, blocks, 3)
    assert count(full("vgg", 32, width=8 * k)) == vgg19(k, 32)


def test_sizes_at_the_standard_width_in_figures() -> None:
    """Four numbers that are quoted in the documentation."""
    sizes = {name: count(full(name, 224, stem="imagenet")) for name in ("resnet_v2", "revnet")}
    sizes |= {"vgg": count(full("vgg", 224)), "nin": count(full("nin", 32))}
    assert sizes == {
        "resnet_v2": 23_500_352,
        "revnet": 5_408_640,
        "vgg": 139_583_936,
        "nin": 1_410_368,
    }


@pytest.mark.parametrize("blocks", [3, 4, 5])
def test_networks_in_networks_have_the_size_of_the_rotation_paper(blocks: int) -> None:
    assert count(full("nin", 32, blocks=blocks)) == nin(blocks)
    assert full("nin", 32, blocks=blocks).feature_dim == 192


@pytest.mark.parametrize("name", FULL)
def test_a_representation_is_one_linear_layer_whatever_the_width(name: str) -> None:
    features = 192 if name == "nin" else 64 * 64 if name == "vgg" else 32 * 64
    network, plain = full(name, 32, representation=100), full(name, 32)
    assert count(network) == count(plain) + (features + 1) * 100
    assert (network.feature_dim, plain.feature_dim) == (100, features)
    assert shapes(name, 32, representation=100)["pre_logits"] == (100,)


# --- shapes at full size, by hand


@pytest.mark.parametrize("name", ["resnet", "resnet_v2", "revnet"])
def test_shapes_of_residual_networks(name: str) -> None:
    channels = (256, 512, 1024, 2048)
    for size, stem, first in ((224, "imagenet", 56), (32, "cifar", 32)):
        sides = [first // 2**k for k in range(4)]
        expected = [(c, side, side) for c, side in zip(channels, sides, strict=True)]
        found = shapes(name, size, stem=stem)
        assert found == dict(zip(TAPS, [*expected, (2048,)], strict=True))


@pytest.mark.parametrize("name", ["resnet", "resnet_v2", "revnet"])
def test_shapes_of_residual_networks_for_patches(name: str) -> None:
    """A stem of stride 1 and a max-pool, and no stride in the last group, as the authors have."""
    for size, stem, sides in ((64, "patches", (32, 16, 8, 8)), (9, "cifar", (9, 5, 3, 3))):
        expected = [(c, s, s) for c, s in zip((256, 512, 1024, 2048), sides, strict=True)]
        found = shapes(name, size, stem=stem, last_stride=1)
        assert found == dict(zip(TAPS, [*expected, (2048,)], strict=True))
        usual = count(full(name, size, stem="imagenet" if stem == "patches" else stem))
        assert count(full(name, size, stem=stem, last_stride=1)) == usual


def test_shapes_of_vgg() -> None:
    for size in (224, 32):
        sides = [size // 2**k for k in range(1, 5)]
        maps = [(c, s, s) for c, s in zip((128, 256, 512, 512), sides, strict=True)]
        assert shapes("vgg", size) == dict(zip(TAPS, [*maps, (4096,)], strict=True))


@pytest.mark.parametrize(
    ("blocks", "third_pool", "sides"),
    [(3, True, (16, 8, 8)), (4, False, (16, 8, 8, 8)), (5, True, (16, 8, 4, 4, 4))],
)
def test_shapes_of_networks_in_networks(
    blocks: int, third_pool: bool, sides: tuple[int, ...]
) -> None:
    network = full("nin", 32, blocks=blocks, third_pool=third_pool)
    taken = outputs(network, None, torch.empty(2, 3, 32, 32, device="meta"))
    channels = (96, *[192] * (blocks - 1))
    assert [tuple(value.shape[1:]) for value in taken.values()] == [
        *((c, s, s) for c, s in zip(channels, sides, strict=True)),
        (192,),
    ]


# --- taps


SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"depth": 14, "width": 8},
    "resnet_v2": {"depth": 14, "width": 8},
    "revnet": {"depth": 14, "width": 8},
    "vgg": {"width": 2},
    "nin": {"width": 12},
}


@pytest.mark.parametrize("name", SMALL)
def test_the_taps_of_all_networks_have_one_naming(name: str) -> None:
    torch.manual_seed(0)
    network = used(build(name, **SMALL[name]))
    network.head = nn.Linear(network.feature_dim, 3)
    x = torch.randn(2, 3, 32, 32)
    taken = outputs(network, "block*,pre_logits,head", x)
    assert list(taken) == [*TAPS, "head"]
    expected = nn.functional.linear(taken["pre_logits"], *network.head.parameters())
    assert torch.equal(taken["head"], expected)
    if name != "resnet":  # which names Grigg's points, and is harvested at them
        stem = [] if name == "nin" else ["stem"]
        assert network.layer_names() == [*stem, *TAPS, "head"]
        assert network.head_input == "pre_logits"


def test_the_taps_of_v1_are_the_ends_of_its_groups_and_change_nothing_else() -> None:
    torch.manual_seed(0)
    network = used(build("resnet", depth=26, width=4))
    x = torch.randn(2, 3, 32, 32)
    taken = outputs(network, ["block1", "bg1.b1.even", "block4", "bg4.b1.even"], x)
    assert torch.equal(taken["block1"], taken["bg1.b1.even"])
    assert torch.equal(taken["block4"], taken["bg4.b1.even"])
    assert not any("block" in name for name in network.layer_names())
    assert not any("block" in key or "logits" in key for key in network.state_dict())
    network = build("resnet", depth=26, width=4, representation=6)
    taken = outputs(network, ["representation", "pre_logits"], x)
    assert torch.equal(taken["representation"], taken["pre_logits"])


# --- v2


def test_a_unit_of_v2_is_written_by_hand() -> None:
    torch.manual_seed(0)
    network = used(build("resnet_v2", depth=26, width=4))
    taken = outputs(network, "stem,block1,block2,block2.0", torch.randn(2, 3, 8, 8))
    first, second = network.block2
    x = taken["block1"]
    with torch.no_grad():
        h = first.preactivation[0](x).relu()
        shortcut = nn.functional.conv2d(h, first.shortcut.weight, stride=2)
        for k, stride in ((0, 1), (3, 2), (6, 1)):
            weight = first.residual[k].weight
            h = nn.functional.conv2d(h, weight, stride=stride, padding=weight.shape[-1] // 2)
            if k < 6:
                h = first.residual[k + 1](h).relu()
        assert torch.allclose(taken["block2.0"], shortcut + h, atol=1e-6)
        changed = second.residual(second.preactivation[0](taken["block2.0"]).relu())
    assert second.shortcut is None
    assert torch.allclose(taken["block2"], taken["block2.0"] + changed, atol=1e-6)
    assert bool((taken["stem"] < 0).any())  # neither BN nor ReLU
    assert bool((taken["block2"] < 0).any())


@pytest.mark.parametrize("name", ["resnet_v2", "revnet"])
def test_the_last_relu_may_be_left_out(name: str) -> None:
    for last_relu in (True, False):
        torch.manual_seed(0)
        network = used(build(name, **SMALL[name], last_relu=last_relu))
        taken = outputs(network, ["block4", "pre_logits"], torch.randn(4, 3, 16, 16))
        with torch.no_grad():
            normed = network.pooled[0](taken["block4"])
        expected = (normed.relu() if last_relu else normed).mean((2, 3))
        assert torch.allclose(taken["pre_logits"], expected, atol=1e-6)
        assert bool((taken["pre_logits"] < 0).any()) != last_relu
        assert not any("relu" in key for key in network.state_dict())


def test_v1_cannot_do_without_its_last_relu() -> None:
    with pytest.raises(
        UsageError, match="last_relu is a setting of the network resnet_v2 and revnet"
    ):
        configure("supervised", {"network": "resnet", "last_relu": False})


# --- VGG and network in network


def test_vgg_has_a_norm_and_a_relu_after_every_layer_and_no_dropout() -> None:
    network = build("vgg", width=2)
    kinds = [type(m) for m in network.modules() if not list(m.children())]
    layers = [k for k, kind in enumerate(kinds) if kind in (nn.Conv2d, nn.Linear)]
    assert len(layers) == 16 + 2
    for k in layers:
        assert kinds[k + 1] in (nn.BatchNorm2d, nn.BatchNorm1d)
        assert kinds[k + 2] is nn.ReLU
    assert nn.Dropout not in kinds
    assert kinds.count(nn.MaxPool2d) == 5


def test_blocks_of_vgg_are_what_the_next_pool_takes() -> None:
    torch.manual_seed(0)
    network = used(build("vgg", width=2))
    taken = outputs(network, ["stem", *TAPS, "linear1@input", "linear1"], torch.randn(2, 3, 32, 32))
    with torch.no_grad():
        for before, after in pairwise(["stem", *TAPS[:4]]):
            value = nn.functional.max_pool2d(taken[before], 2)
            for layer in network.get_submodule(after)[1:]:
                value = layer(value)
            assert torch.equal(taken[after], value)
    assert torch.equal(taken["linear1@input"], taken["block4"])


def test_networks_in_networks_have_the_pools_of_the_authors_code() -> None:
    for blocks, third_pool, averages in ((3, True, 1), (4, False, 1), (4, True, 2)):
        network = build("nin", width=12, blocks=blocks, third_pool=third_pool)
        found = [m for m in network.modules() if isinstance(m, (nn.MaxPool2d, nn.AvgPool2d))]
        assert [type(m) for m in found] == [nn.MaxPool2d, *[nn.AvgPool2d] * averages]
        assert {(m.kernel_size, m.stride, m.padding) for m in found} == {(3, 2, 1)}
        convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert [m.kernel_size[0] for m in convs] == [5, 1, 1, 5, 1, 1] + [3, 1, 1] * (blocks - 2)
        assert [m.out_channels for m in convs[:4]] == [12, 10, 6, 12]


@pytest.mark.parametrize("name", ["resnet_v2", "revnet", "vgg", "nin"])
def test_convolutions_start_from_normals_by_their_outputs(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, **{**SMALL[name], "width": 24})
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            area = weight.shape[2] * weight.shape[3]
            expected = (2 / (area * weight.shape[0])) ** 0.5
            assert float(weight.std()) == pytest.approx(
                expected, rel=5 / (2 * weight.numel()) ** 0.5
            )
            assert module.bias is None
