"""The papers' networks: sizes by arithmetic, addresses in order of execution, shared layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.networks import (
    Decoder,
    Discriminator,
    Encoder,
    Generator,
    ImageSpec,
    ProjectionHead,
    ResNet,
)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def executed(network: nn.Module, x: Tensor) -> tuple[list[str], dict[str, Tensor]]:
    """Addresses in the order in which they gave an output, and the outputs."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: outputs.__setitem__(name, output.detach().clone())

    handles = [m.register_forward_hook(keep(name)) for name, m in network.named_modules() if name]
    network(x)
    for handle in handles:
        handle.remove()
    return list(outputs), outputs


# --- residual networks


def conv(inputs: int, outputs: int, size: int) -> int:
    """Parameters of a convolution without bias and of the BN after it."""
    return size * size * inputs * outputs + 2 * outputs


BLOCKS = {
    **{10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)},
    **{14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3)},
}


def resnet_size(depth: int, channels: int, width: int, classes: int, stem: int = 3) -> int:
    blocks = BLOCKS[depth]
    expansion = 4 if depth in (14, 26, 50) else 1
    total, inputs = conv(channels, width, stem), width
    for group, repeats in enumerate(blocks):
        inner = width * 2**group
        outputs = inner * expansion
        for block in range(repeats):
            if expansion == 4:
                total += conv(inputs, inner, 1) + conv(inner, inner, 3) + conv(inner, outputs, 1)
            else:
                total += conv(inputs, outputs, 3) + conv(outputs, outputs, 3)
            if block == 0 and (group > 0 or inputs != outputs):
                total += conv(inputs, outputs, 1)
            inputs = outputs
    return total + inputs * classes + classes


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_173_962), (50, 23_520_842)])
def test_cifar_networks_have_their_published_size(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = ResNet(depth=depth)
        network.head = nn.Linear(network.feature_dim, 10)
    assert count(network) == resnet_size(depth, 3, 64, 10) == parameters


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)]
)
def test_imagenet_networks_have_their_published_size(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        network = ResNet(depth=depth, stem="imagenet")
        network.head = nn.Linear(network.feature_dim, 1000)
    assert count(network) == resnet_size(depth, 3, 64, 1000, stem=7) == parameters


@pytest.mark.parametrize("depth", [10, 14, 18, 26, 34, 50])
def test_sizes_follow_depth_width_and_channels(depth: int) -> None:
    with torch.device("meta"):
        network = ResNet(1, depth, 12)
        network.head = nn.Linear(network.feature_dim, 7)
    assert count(network) == resnet_size(depth, 1, 12, 7)


@pytest.mark.parametrize(
    ("depth", "points"), [(10, 10), (14, 10), (18, 18), (26, 18), (34, 34), (50, 34)]
)
def test_layers_are_addresses_in_order_of_execution(depth: int, points: int) -> None:
    network = ResNet(3, depth, 4).eval()
    order, _ = executed(network, torch.randn(2, 3, 8, 8))
    names = network.layer_names()
    assert len(names) == points
    assert names == [name for name in order if name in set(names)]
    assert (names[0], names[-1]) == ("stem", "pooled")
    network.head = nn.Linear(network.feature_dim, 10)
    assert network.layer_names() == [*names, "head"]


def test_even_is_the_rectified_sum_of_odd_and_shortcut() -> None:
    network = ResNet(3, 50, 4).eval()
    for module in network.modules():  # statistics of an untrained BN would hide a missing one
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.bias)
    _, outputs = executed(network, torch.randn(2, 3, 8, 8))
    before = outputs["stem"]
    for name in network.layer_names():
        if not name.endswith(".odd"):
            continue
        block = name.removesuffix(".odd")
        with torch.no_grad():
            shortcut = network.get_submodule(f"{block}.shortcut")(before)
            last_bn = network.get_submodule(f"{block}.residual")(before)
        assert torch.equal(outputs[name], last_bn)
        assert bool((outputs[name] < 0).any())  # no ReLU yet
        assert torch.equal(outputs[f"{block}.even"], (outputs[name] + shortcut).relu())
        before = outputs[f"{block}.even"]
    assert torch.allclose(outputs["pooled"], before.mean((2, 3)), atol=1e-6)


def test_maps_halve_from_the_second_group_on_and_the_stem_keeps_its_size() -> None:
    network = ResNet(3, 18, 4).eval()
    _, outputs = executed(network, torch.randn(2, 3, 32, 32))
    shapes = {name: tuple(outputs[name].shape[1:]) for name in network.layer_names()}
    assert shapes["stem"] == (4, 32, 32)
    sides = [shapes[f"bg{g}.b1.even"] for g in (1, 2, 3, 4)]
    assert sides == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    assert shapes["pooled"] == (network.feature_dim,) == (32,)


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (34, 1), (50, 4)])
def test_the_imagenet_stem_shrinks_images_to_a_quarter(depth: int, expansion: int) -> None:
    network = ResNet(3, depth, 4, stem="imagenet").eval()
    order, outputs = executed(network, torch.randn(2, 3, 64, 64))
    names = network.layer_names()
    assert names == [name for name in order if name in set(names)]
    assert outputs["stem.0"].shape == (2, 4, 32, 32)
    assert torch.equal(outputs["stem"], nn.functional.max_pool2d(outputs["stem.2"], 3, 2, 1))
    for group, side in enumerate((16, 8, 4, 2)):
        point = outputs[f"bg{group + 1}.b0.even"]
        assert point.shape == (2, 4 * 2**group * expansion, side, side)
        assert outputs[f"bg{group + 1}.b0.odd"].shape == point.shape
    assert outputs["pooled"].shape == (2, 32 * expansion)


@pytest.mark.parametrize("depth", [18, 50])
def test_with_zero_init_every_block_begins_as_its_rectified_shortcut(depth: int) -> None:
    torch.manual_seed(0)
    network = ResNet(3, depth, 4, zero_init=True)
    torch.manual_seed(0)
    plain = ResNet(3, depth, 4)
    _, outputs = executed(network, torch.randn(2, 3, 8, 8))
    before = outputs["stem"]
    for name in network.layer_names():
        if name.endswith(".odd"):
            block = name.removesuffix(".odd")
            assert not outputs[name].any()
            shortcut = network.get_submodule(f"{block}.shortcut")(before).detach()
            assert torch.equal(outputs[f"{block}.even"], shortcut.relu())
            before = outputs[f"{block}.even"]
    # Nothing else differs: a convolution still has the weights it would have had.
    pairs = zip(network.named_parameters(), plain.parameters(), strict=True)
    changed = {name.rpartition(".residual.")[2] for (name, p), q in pairs if not torch.equal(p, q)}
    assert changed == {"7.weight" if depth == 50 else "4.weight"}


def test_the_representation_has_its_size_whatever_the_width() -> None:
    for width in (4, 12):
        network = ResNet(1, 10, width, representation=20).eval()
        _, outputs = executed(network, torch.randn(2, 1, 8, 8))
        assert outputs["pooled"].shape == (2, 8 * width)
        assert outputs["representation"].shape == (2, 20)
        expected = nn.functional.linear(outputs["pooled"], *network.representation.parameters())
        assert torch.equal(outputs["representation"], expected)  # no activation
        network.head = nn.Linear(network.feature_dim, 3)
        assert network.layer_names()[-3:] == ["pooled", "representation", "head"]
        assert network.head_input == "representation"
        more = 8 * width * 20 + 20 + (20 * 3 + 3)
        assert count(network) == resnet_size(10, 1, width, 0) + more
    plain = ResNet(1, 10, 4)
    assert plain.head_input == "pooled"
    assert "representation" not in plain.layer_names()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth is 20; expected one of 10, 14, 18, 26, 34, 50"),
        ({"width": 0}, "width is 0; expected at least 1"),
        ({"representation": -1}, "representation is -1; expected 0"),
        ({"stem": "resnet"}, "stem is 'resnet'; expected cifar, imagenet or patches"),
        ({"last_stride": 3}, "last_stride is 3; expected 1 or 2"),
    ],
)
def test_networks_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ResNet(**options)


def test_the_projection_head_is_linear_bn_relu_linear() -> None:
    head = ProjectionHead(16, 8)
    order, outputs = executed(head, torch.randn(4, 16))
    assert order == ["hidden", "norm", "relu", "out"]
    assert outputs["out"].shape == (4, 8)
    assert count(head) == 16 * 16 + 2 * 16 + 16 * 8


def test_a_third_layer_repeats_the_first_three_parts() -> None:
    head = ProjectionHead(16, 8, layers=3)
    order, outputs = executed(head, torch.randn(4, 16))
    assert order == ["hidden", "norm", "relu", "hidden2", "norm2", "relu2", "out"]
    assert outputs["out"].shape == (4, 8)
    assert count(head) == 2 * (16 * 16 + 2 * 16) + 16 * 8
    with pytest.raises(UsageError, match="at least 2 layers, got 1"):
        ProjectionHead(16, 8, layers=1)


# --- generator and discriminator (Mao et al., Table 1)


def test_the_discriminator_has_the_tables_shapes() -> None:
    network = Discriminator(3, 10).eval()
    order, outputs = executed(network, torch.randn(2, 3, 32, 32))
    shapes = {name: tuple(outputs[name].shape[1:]) for name in (*network.layer_names(), "conv4")}
    assert shapes == {
        "conv1": (128, 16, 16),
        "conv2": (256, 8, 8),
        "conv3": (512, 4, 4),
        "conv4": (128, 1, 1),
        "features": (128,),
        "head": (10,),
    }
    names = network.layer_names()
    assert names == [name for name in order if name in set(names)]
    convolutions = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 128)
    assert count(network) == convolutions + 2 * (256 + 512) + 128 * 10
    # Only the second and third convolution are normalised, and nothing follows the fourth.
    kinds = {name: [type(m) for m in network.get_submodule(name)] for name in names[:3]}
    assert kinds["conv1"] == [nn.Conv2d, nn.LeakyReLU]
    assert kinds["conv2"] == kinds["conv3"] == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert type(network.conv4) is nn.Conv2d
    assert torch.equal(outputs["features"], outputs["conv4"].flatten(1))
    assert torch.allclose(outputs["head"], outputs["features"] @ network.head.weight.T)


def test_the_generator_has_the_tables_shapes() -> None:
    network = Generator(3).eval()
    _, outputs = executed(network, torch.randn(2, 128))
    assert [tuple(outputs[name].shape[1:]) for name in ("project.0", "trunk.0", "trunk.1")] == [
        (512, 4, 4),
        (256, 8, 8),
        (128, 16, 16),
    ]
    images = outputs["trunk"]
    assert images.shape == (2, 3, 32, 32)
    assert float(images.abs().max()) <= 1
    transposed = 16 * (128 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert count(network) == transposed + 2 * (512 + 256 + 128)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Generator(3, generators=2),
        lambda: Discriminator(3),
        lambda: Encoder(3),
        lambda: Decoder(3),
    ],
)
def test_weights_start_from_normals_of_deviation_two_hundredths(make: Any) -> None:
    torch.manual_seed(0)
    for module in make().modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            assert module.bias is None
            weight = module.weight.detach()
            n = weight.numel()
            assert float(weight.std()) == pytest.approx(0.02, rel=5 / (2 * n) ** 0.5)
            assert abs(float(weight.mean())) < 5 * 0.02 / n**0.5
        elif isinstance(module, nn.BatchNorm2d):
            scale, n = module.weight.detach(), module.num_features
            assert float(scale.mean()) == pytest.approx(1, abs=5 * 0.02 / n**0.5)
            assert float(scale.std()) == pytest.approx(0.02, rel=5 / (2 * n) ** 0.5)
            assert not module.bias.any()


def test_with_layer_norm_no_image_changes_the_logit_of_another() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 1, 32, 32)
    other = torch.cat([x[:1], torch.randn(3, 1, 32, 32)])
    for norm, same in (("layer", True), ("batch", False)):
        network = Discriminator(1, width=4, norm=norm)
        assert torch.allclose(network(x)[0], network(other)[0], rtol=0, atol=1e-6) == same
    network = Discriminator(1, width=4, norm="layer")
    _, outputs = executed(network, x)
    normed = nn.functional.layer_norm(outputs["conv2.0"], (8, 8, 8))
    scale = network.conv2[1].weight.detach()[:, None, None]
    assert torch.allclose(outputs["conv2.1"], scale * normed, atol=1e-5)
    layer, batch = (count(Discriminator(3, norm=norm)) for norm in ("layer", "batch"))
    assert layer == batch


def test_generators_differ_in_their_first_layer_and_share_the_others() -> None:
    network = Generator(1, width=4, generators=3).eval()
    z = torch.randn(2, 128)
    thrice = network(z.repeat(3, 1)).chunk(3)
    assert not torch.allclose(thrice[0], thrice[1])
    assert not torch.allclose(thrice[1], thrice[2])
    for k, images in enumerate(thrice):
        alone = network.trunk(network.project[k](z[:, :, None, None]))
        assert torch.allclose(images, alone, atol=1e-6)
    single = Generator(1, width=4)
    first = count(single.project)
    assert count(network) == count(single) + 2 * first


@pytest.mark.parametrize("share", range(5))
def test_shared_convolutions_are_the_same_parameters(share: int) -> None:
    discriminator = Discriminator(1, 1, 4)
    before = [p.clone() for p in discriminator.parameters()]
    classifier = Discriminator(1, 10, 4, shared=discriminator, share=share)
    for k, name in enumerate(("conv1", "conv2", "conv3", "conv4")):
        mine, theirs = classifier.get_submodule(name), discriminator.get_submodule(name)
        assert (mine is theirs) == (k < share)
    assert classifier.head is not discriminator.head
    assert all(torch.equal(p, q) for p, q in zip(before, discriminator.parameters(), strict=True))
    order, _ = executed(classifier.eval(), torch.randn(2, 1, 32, 32))
    names = classifier.layer_names()
    assert names == [name for name in order if name in set(names)]


def test_a_step_on_a_shared_convolution_moves_both_networks() -> None:
    discriminator = Discriminator(1, 1, 4).eval()
    classifier = Discriminator(1, 10, 4, shared=discriminator, share=1).eval()
    x = torch.randn(2, 1, 32, 32)
    before = discriminator(x).detach()
    classifier(x).square().sum().backward()
    with torch.no_grad():
        for p in classifier.conv1.parameters():
            p -= 0.1 * p.grad.sign()
    assert not torch.allclose(discriminator(x), before)


@pytest.mark.parametrize("width", [4, 6, 8, 20])
def test_narrow_networks_train_without_harm(width: int) -> None:
    """Channels that fill no whole vector once crashed torch's channels-last backward pass."""
    torch.manual_seed(0)
    network = ResNet(3, depth=10, width=width)
    for _ in range(2):
        network(torch.randn(16, 3, 32, 32)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


# --- encoder and decoder


def test_the_encoder_is_a_discriminator_without_head_and_the_decoder_a_generator() -> None:
    encoder, decoder = Encoder(3, code=100).eval(), Decoder(3, code=100).eval()
    order, outputs = executed(encoder, torch.randn(2, 3, 32, 32))
    names = encoder.layer_names()
    assert names == [name for name in order if name in set(names)]
    assert {name: tuple(outputs[name].shape[1:]) for name in names} == {
        "conv1": (128, 16, 16),
        "conv2": (256, 8, 8),
        "conv3": (512, 4, 4),
        "code": (100,),
    }
    convolutions = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 100)
    assert count(encoder) == convolutions + 2 * (256 + 512)

    order, back = executed(decoder, outputs["code"])
    names = decoder.layer_names()
    assert names == [name for name in order if name in set(names)]
    assert {name: tuple(back[name].shape[1:]) for name in names} == {
        "up1": (512, 4, 4),
        "up2": (256, 8, 8),
        "up3": (128, 16, 16),
        "image": (3, 32, 32),
    }
    assert float(back["image"].abs().max()) <= 1
    transposed = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert count(decoder) == transposed + 2 * (512 + 256 + 128)
    assert count(Encoder(3)) == count(Discriminator(3, 10)) - 128 * 10
    assert count(Decoder(3)) == count(Generator(3))


# --- any height and width


SIZES = [(8, 8), (28, 28), (28, 56), (33, 47), (9, 15), (64, 32)]


@pytest.mark.parametrize("size", SIZES)
def test_convolutional_networks_fit_images_of_any_height_and_width(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    generator = Generator(3, 4, 2, size=size, latent=10).eval()
    assert generator(torch.randn(2, 10)).shape == images.shape
    assert Discriminator(3, 5, 4, size=size).eval()(images).shape == (2, 5)
    encoder, decoder = Encoder(3, 4, 7, size=size).eval(), Decoder(3, 4, 7, size=size).eval()
    code = encoder(images)
    assert code.shape == (2, 7)
    assert decoder(code).shape == images.shape
    _, outputs = executed(encoder, images)
    for by, name in ((2, "conv1"), (4, "conv2"), (8, "conv3")):
        assert outputs[name].shape[2:] == (size[0] // by, size[1] // by)
    _, outputs = executed(decoder, code)
    for by, name in ((8, "up1"), (4, "up2"), (2, "up3")):
        assert outputs[name].shape[2:] == (size[0] // by, size[1] // by)


def test_every_pixel_of_a_generated_image_depends_on_the_noise() -> None:
    """Output padding must not leave a border that no weight reaches."""
    torch.manual_seed(0)
    decoder = Decoder(1, 4, 6, size=(33, 47))
    assert bool((decoder(torch.randn(8, 6)).std(0) > 0).all())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_residual_networks_fit_images_of_any_height_and_width(
    size: tuple[int, int], stem: Any
) -> None:
    assert ResNet(3, 10, 4, stem=stem).eval()(torch.randn(2, 3, *size)).shape == (2, 32)


@pytest.mark.parametrize("size", [(7, 32), (32, 7)])
def test_images_that_three_halvings_leave_nothing_of_are_refused(size: tuple[int, int]) -> None:
    for make in (Generator, Discriminator, Encoder, Decoder):
        with pytest.raises(UsageError, match=f"images are {size[0]} x {size[1]}; .* 8 pixels"):
            make(1, 4, size=size)


def test_the_facts_of_images_have_their_size_and_shape() -> None:
    spec = ImageSpec(channels=1, classes=10, height=28, width=56, flips=False)
    assert (spec.size, spec.shape) == ((28, 56), (1, 28, 56))
