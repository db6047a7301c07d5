"""Families of networks: their roles and settings, and any method with any family that fits."""

from __future__ import annotations

import importlib
import json
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command, train_before
from pydantic import Field
from torch import nn

from repsim.activations import ActivationStore
from repsim.data.sets import find_kind
from repsim.errors import UsageError
from repsim.files import sha256
from repsim.networks import families
from repsim.networks.families import families_for, family_names, family_summary, find_family
from repsim.networks.family import ROLES, Family, NetworkConfig
from repsim.networks.image_spec import ImageSpec
from repsim.training import compose
from repsim.training.compose import config_for, configure, networks_for
from repsim.training.config import TrainConfig
from repsim.training.loop import train
from repsim.training.method import Method
from repsim.training.methods import find_method, method_names
from repsim.training.presets import read_preset
from repsim.training.run import Run

#: Settings that make a family small.
SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 1, "beside": 4},
    "dcgan": {"width": 4},
    "halves": {"width": 2, "features": 3, "generator": 4},
    "mlp": {"width": 16},
    "nin": {"blocks": 3, "width": 6},
    "resnet": {"depth": 10, "width": 4},
    "resnet_v2": {"depth": 14, "width": 4},
    "revnet": {"depth": 14, "width": 4},
    "vgg": {"width": 1},
}
#: Settings that a method needs for a family, whose critics have fewer layers to share.
FITTED: dict[tuple[str, str], dict[str, Any]] = {("mgan", "mlp"): {"shared": 2}}
#: Small heads, and patches large enough to be halved three times.
PATCHES = {"embedding": 8, "hidden": 8, "cell": 20, "patch": 16}
ON_PATCHES = ("jigsaw", "relative_patch_location")
#: Methods that turn images or cut them into square cells, which have to be square.
SQUARE = ("rotation", *ON_PATCHES)
PAIRS = [(method, network) for method in method_names() for network in networks_for(method)]
SPECS = [ImageSpec(1, 10, *size, flips=False) for size in ((32, 32), (28, 56), (33, 47))]


def small(method: str, network: str, **settings: Any) -> TrainConfig:
    values = {"split": "train[:100]", "test": "test[:20]", "batch_size": 50, "epochs": 1}
    values |= {"sheet": 4, "coverage": 0, "network": network, **SMALL[network]}
    if "statistics_batches" in config_for(method).model_fields:
        values["statistics_batches"] = 3
    values |= PATCHES if method in ON_PATCHES else {}
    values |= {**FITTED.get((method, network), {}), **settings}
    return configure(method, values, "test")


def family(name: str) -> Family:
    kind = find_family(name)
    return kind(kind.settings(**SMALL[name]))


def test_every_family_is_tested_here() -> None:
    assert sorted(SMALL) == family_names()
    assert all(family_summary(name).endswith(").") for name in family_names())


def test_a_family_can_be_what_it_defines() -> None:
    assert find_family("resnet").roles() == ("encoder",)
    assert find_family("dcgan").roles() == ROLES
    assert find_family("halves").roles() == ("encoder", "decoder", "generator", "critic")
    assert find_family("mlp").roles() == find_family("alexnet").roles() == ROLES
    pretext = ["nin", "resnet", "resnet_v2", "revnet", "vgg"]
    assert all(find_family(name).roles() == ("encoder",) for name in pretext)
    assert families_for(["encoder"]) == ["alexnet", "dcgan", "halves", "mlp", *pretext]
    assert families_for(["critic", "generator"]) == ["alexnet", "dcgan", "halves", "mlp"]
    assert families_for(["joint_critic"]) == ["alexnet", "dcgan", "mlp"]


# --- roles


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.height}x{spec.width}")
@pytest.mark.parametrize("name", SMALL)
def test_every_role_takes_and_makes_images_of_any_size(name: str, spec: ImageSpec) -> None:
    built, images = family(name), torch.randn(4, *spec.shape)
    for role in built.roles():
        if role == "encoder":
            network = built.encoder(spec, 12).eval()
            assert network(images).shape == (4, network.feature_dim) == (4, 12)
            network.head = nn.Linear(12, 3)
            assert network.layer_names()[-2:] == [network.head_input, "head"]
            assert network(images).shape == (4, 3)
        elif role == "decoder":
            assert built.decoder(spec, 12).eval()(torch.randn(4, 12)).shape == images.shape
        elif role == "generator":
            assert built.generator(spec, 9, 2).eval()(torch.randn(4, 9)).shape == images.shape
        elif role == "critic":
            assert built.critic(spec, 5, norm="layer").eval()(images).shape == (4, 5)
        else:
            critic = built.joint_critic(spec, 9).eval()
            assert critic(images, torch.randn(4, 9)).shape == (4, 1)


def test_critics_share_their_first_layers() -> None:
    built = family("dcgan")
    first = built.critic(SPECS[1])
    second = built.critic(SPECS[1], 10, shared=first, share=2)
    assert second.conv2 is first.conv2
    assert second.conv3 is not first.conv3
    with pytest.raises(UsageError, match="5 convolutions are to be shared; .* has 4"):
        built.critic(SPECS[1], shared=first, share=5)


# --- halves


def test_each_half_of_the_features_is_of_its_half_of_the_image() -> None:
    """Exactly: changes of one half of the image leave the features of the other as they are."""
    torch.manual_seed(0)
    spec = ImageSpec(1, 10, 28, 56, flips=False)
    network = family("halves").encoder(spec).eval()
    images = torch.randn(5, *spec.shape)
    other = images.clone()
    other[..., 28:] = torch.randn(5, 1, 28, 28)
    with torch.no_grad():
        before, after = network(images), network(other)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).any()
    assert network(images)[:, :3].equal(network.left(images[..., :28]))


def test_the_halves_have_weights_of_their_own_and_nothing_is_normalised() -> None:
    built = family("halves")
    for network in (built.encoder(SPECS[0]), built.critic(SPECS[0])):
        left, right = (dict(half.named_parameters()) for half in (network.left, network.right))
        assert left.keys() == right.keys()
        assert not any(torch.equal(left[name], right[name]) for name in left)
        assert not any(
            isinstance(each, (nn.BatchNorm2d, nn.GroupNorm)) for each in network.modules()
        )
        names = network.layer_names()
        assert [name for name in names if "." not in name][:3] == ["left", "right", "features"]
        assert all(name in dict(network.named_modules()) for name in names)


def test_the_encoder_and_the_critic_are_one_network() -> None:
    built = family("halves")
    torch.manual_seed(3)
    encoder = built.encoder(SPECS[1])
    torch.manual_seed(3)
    critic = built.critic(SPECS[1], norm="layer")
    critic.head = nn.Identity()
    images = torch.randn(2, *SPECS[1].shape)
    assert torch.equal(encoder(images), critic(images))


def test_critics_of_halves_share_the_first_layers_of_both_halves() -> None:
    built = family("halves")
    first = built.critic(SPECS[1])
    second = built.critic(SPECS[1], 10, shared=first, share=2)
    for side in ("left", "right"):
        ours, theirs = getattr(second, side), getattr(first, side)
        assert ours.conv2 is theirs.conv2
        assert ours.conv3 is not theirs.conv3
    with pytest.raises(UsageError, match="5 convolutions are to be shared; .* has 4"):
        built.critic(SPECS[1], shared=first, share=5)


def test_codes_of_halves_have_two_parts_of_a_size() -> None:
    assert family("halves").encoder(SPECS[1], 12).feature_dim == 12
    with pytest.raises(UsageError, match="13 features are asked for; .* an even number"):
        family("halves").encoder(SPECS[1], 13)


def test_a_joint_critic_looks_at_the_image_and_at_the_code() -> None:
    torch.manual_seed(0)
    critic = family("dcgan").joint_critic(SPECS[0], 6, norm="layer")
    x, z = torch.randn(3, 1, 32, 32), torch.randn(3, 6)
    logits = critic(x, z)
    assert not torch.allclose(critic(x.roll(1, 0), z), logits)
    assert not torch.allclose(critic(x, z.roll(1, 0)), logits)
    names = critic.layer_names()
    assert all(name in dict(critic.named_modules()) for name in names)
    assert critic.head_input == names[-2]


# --- the networks of Donahue et al.

DIGITS = ImageSpec(1, 10, 28, 28, flips=False)


def test_the_perceptrons_are_those_of_the_paper() -> None:
    built = find_family("mlp")(find_family("mlp").settings())
    encoder, critic = built.encoder(DIGITS, 50), built.joint_critic(DIGITS, 50)
    generator = built.generator(DIGITS, 50)
    shapes = {
        name: {key: tuple(value.shape) for key, value in each.named_parameters()}
        for name, each in {"e": encoder, "d": critic, "g": generator}.items()
    }
    assert shapes["e"] == {
        "hidden1.0.weight": (1024, 784),
        "hidden1.0.bias": (1024,),
        "hidden2.0.weight": (1024, 1024),
        "code.weight": (50, 1024),
        "code.bias": (50,),
    }
    assert shapes["d"]["hidden2.0.weight"] == (1024, 1024 + 50)
    assert shapes["d"]["head.weight"] == (1, 1024 + 50)
    assert shapes["g"] == {
        "project.0.0.weight": (1024, 50),
        "hidden2.0.weight": (1024, 1024 + 50),
        "image.0.weight": (784, 1024 + 50),
        "image.0.bias": (784,),
    }
    assert encoder.layer_names() == ["hidden1", "hidden2", "code"]
    for weight in (encoder.hidden1[0].weight, generator.image[0].weight):
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_perceptrons_see_pixels_in_any_order() -> None:
    torch.manual_seed(0)
    network, images = family("mlp").encoder(DIGITS).eval(), torch.rand(3, 1, 28, 28) * 2 - 1
    order = torch.randperm(784)
    before = network(images)
    with torch.no_grad():
        network.hidden1[0].weight.copy_(network.hidden1[0].weight[:, order])
    shuffled = images.flatten(1)[:, order].view_as(images)
    assert torch.allclose(network(shuffled), before, atol=1e-6)


def test_a_perceptron_computes_what_is_written_by_hand() -> None:
    torch.manual_seed(1)
    critic = family("mlp").joint_critic(DIGITS, 6)
    x, z = torch.rand(9, 1, 28, 28) * 2 - 1, torch.rand(9, 6) * 2 - 1
    first, second, last = (
        layer.weight for layer in (critic.hidden1[0], critic.hidden2[0], critic.head)
    )
    h = nn.functional.leaky_relu(((x.flatten(1) + 1) / 2) @ first.T, 0.2)
    h = h @ second[:, :16].T + z @ second[:, 16:].T
    h = nn.functional.leaky_relu((h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt(), 0.2)
    expected = h @ last[:, :16].T + z @ last[:, 16:].T
    assert torch.allclose(critic(x, z), expected, atol=1e-5)
    generator = family("mlp").generator(DIGITS, 6)
    pixels = (generator(z).detach() + 1) / 2
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1


def test_critics_of_perceptrons_share_their_first_layers() -> None:
    built = family("mlp")
    first = built.critic(SPECS[1])
    second = built.critic(SPECS[1], 10, shared=first, share=1)
    assert second.hidden1 is first.hidden1
    assert second.hidden2 is not first.hidden2
    with pytest.raises(UsageError, match="4 layers are to be shared; .* expected 0 to 2"):
        built.critic(SPECS[1], shared=first, share=4)


def test_the_encoder_for_small_images_has_alexnets_proportions() -> None:
    kind = find_family("alexnet")
    spec = ImageSpec(3, 10, 32, 32, flips=True)
    network = kind(kind.settings(width=32)).encoder(spec, 200)
    convs = [network.get_submodule(f"conv{k}")[0] for k in range(1, 6)]
    assert [conv.out_channels for conv in convs] == [96, 256, 384, 384, 256]
    assert [conv.kernel_size for conv in convs] == [(5, 5), (5, 5), (3, 3), (3, 3), (3, 3)]
    assert network.code.in_features == 256 * 4 * 4
    names = ["conv1", "conv2", "conv3", "conv4", "features", "code"]
    assert network.layer_names() == names


# --- methods


@pytest.mark.parametrize(("method", "network"), PAIRS)
def test_a_method_trains_any_family_with_its_roles(
    method: str, network: str, tmp_path: Path
) -> None:
    train_before(method, small(method, network), tmp_path)
    run = train(method, small(method, network), tmp_path / "run")
    assert Run(run.path).config == small(method, network)
    assert run.describe()["config"]["network"] == network
    for name in run.extractors:
        extractor = run.load_extractor(name)
        assert extractor(torch.zeros(2, 1, 32, 32)).shape[0] == 2
        assert all(layer in dict(extractor.named_modules()) for layer in extractor.layer_names())


@pytest.mark.parametrize("spec", SPECS[1:], ids=lambda spec: f"{spec.height}x{spec.width}")
@pytest.mark.parametrize(("method", "network"), PAIRS)
def test_a_method_builds_and_steps_on_images_of_any_size(
    method: str, network: str, spec: ImageSpec
) -> None:
    from repsim.training.method import Batch, StepContext

    if method in SQUARE:
        with pytest.raises(UsageError, match="square"):
            find_method(method)(small(method, network), spec)
        return
    built = find_method(method)(small(method, network), spec)
    batch = Batch(torch.rand(50, *spec.shape) * 2 - 1, torch.arange(50) % 10)
    context = StepContext(built.networks, built.optimizers(), torch.Tensor.backward)
    assert all(value.isfinite() for value in built.step(batch, context).values())


def test_a_family_without_a_role_is_refused_with_those_that_fit() -> None:
    with pytest.raises(UsageError, match="'resnet', which has no critic and no generator for gan"):
        config_for("gan", "resnet")
    with pytest.raises(UsageError, match="no decoder for autoencoder; expected alexnet or dc"):
        configure("autoencoder", {"network": "resnet"})
    with pytest.raises(UsageError, match="unknown network 'dcgna'; did you mean 'dcgan'"):
        config_for("gan", "dcgna")
    with pytest.raises(UsageError, match="network = 3; expected the name of a network"):
        configure("gan", {"network": 3})


def test_the_settings_of_another_family_are_refused() -> None:
    with pytest.raises(
        UsageError, match="depth is a setting of the network resnet and .*, but .* dcgan"
    ):
        configure("supervised", {"network": "dcgan", "depth": 10}, "options")
    with pytest.raises(UsageError, match="unknown key 'dpeth'; did you mean 'depth'"):
        configure("supervised", {"dpeth": 10}, "options")


# --- configurations


def test_a_configuration_has_the_settings_of_its_method_and_its_family() -> None:
    config = configure("supervised", {"network": "dcgan", "width": 8, "lr": 0.3})
    assert isinstance(config, find_method("supervised").settings)
    assert isinstance(config, find_family("dcgan").settings)
    fields = list(type(config).model_fields)
    common = list(TrainConfig.model_fields)
    assert fields[: len(common)] == common
    assert fields[len(common) :][:3] == ["network", "width", "lr"]
    assert list(config.model_dump()) == fields
    assert config_for("supervised") is config_for("supervised", "resnet")
    assert pickle.loads(pickle.dumps(config)) == config


def test_a_setting_of_method_and_family_alike_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Config(NetworkConfig):
        lr: float = 1.0

    monkeypatch.setattr(find_family("resnet"), "settings", Config)
    with pytest.raises(UsageError, match="method simclr and network resnet both have a setting lr"):
        config_for("simclr")


def test_a_method_that_builds_its_networks_itself_has_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find_method("gan"), "network", None)
    assert "network" not in config_for("gan").model_fields
    with pytest.raises(UsageError, match="gan builds its networks itself; leave out network"):
        config_for("gan", "dcgan")


def test_the_class_of_configurations_under_its_old_name() -> None:
    with pytest.warns(FutureWarning, match="config_class of a method is now .*config_for"):
        kind = find_method("supervised").config_class
    assert kind is config_for("supervised")


#: First digits of the hash that the reproductions of 0.1.0 found a run by.
KEYS = {
    "simclr": ("54c5ec28", "47e6861d"),
    "supervised": ("31c2c904", "231d88e4"),
    "gan": ("1f99c29f", "ad8276f5"),
    "wgan": ("e408b2f2", "74a7313c"),
    "mgan": ("3d82c466", "94d4b1e6"),
    "autoencoder": ("964f702f", "b2eaba47"),
}


@pytest.mark.parametrize("method", KEYS)
def test_runs_that_were_made_before_there_was_a_network_are_found_again(method: str) -> None:
    def key(values: dict[str, Any]) -> str:
        settings = {"method": method, **configure(method, values).identity()}
        return sha256(json.dumps({"settings": settings, "needs": []}, sort_keys=True).encode())[:8]

    then = {"sharing": "sum"} if method == "mgan" else {}  # another default, of another training
    assert (key({**read_preset(method, "tiny"), **then}), key({"seed": 7, **then})) == KEYS[method]
    aside = {"device": "cpu", "workers": 0, "sheet": 1, "coverage": 2, "save_every": 1}
    assert key({"seed": 7, **aside}) == key({"seed": 7})


def test_another_network_or_setting_is_another_run() -> None:
    plain = configure("supervised", {}).identity()
    assert "network" not in plain
    assert configure("supervised", {"network": "resnet"}).identity() == plain
    assert configure("supervised", {"network": "dcgan"}).identity()["network"] == "dcgan"
    assert configure("supervised", {"depth": 34}).identity() != plain


@pytest.mark.parametrize(("method", "other"), [("supervised", "dcgan"), ("simclr", "dcgan")])
def test_another_default_network_is_another_run(
    method: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = configure(method, {}).identity()
    monkeypatch.setattr(find_method(method), "network", other)
    changed = configure(method, {}).identity()
    assert changed["network"] == other
    assert configure(method, {"network": "resnet"}).identity() == before


def test_methods_that_came_after_networks_were_a_setting_have_them_in_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find_method("supervised"), "network_before", Method.network_before)
    assert configure("supervised", {}).identity()["network"] == "resnet"


def test_another_default_size_of_a_set_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = configure("supervised", {}).identity()
    assert "image_size" not in before
    assert configure("supervised", {"image_size": 32}).identity() == before
    assert configure("supervised", {"image_size": "own"}).identity()["image_size"] == "8x8"
    monkeypatch.setattr(find_kind("digits"), "default_size", (28, 28))
    assert configure("supervised", {}).identity()["image_size"] == "28x28"
    assert configure("supervised", {"image_size": 32}).identity() == before
    files = {"data": "pictures", "image_size": "own"}
    assert configure("supervised", files).identity()["image_size"] == "own"


def test_a_setting_that_comes_later_changes_no_identity_until_it_is_used() -> None:
    class Later(TrainConfig):
        noise: float = Field(0.5, json_schema_extra={"before": 0.0})

    assert Later(noise=0).identity() == TrainConfig().identity()
    assert Later().identity() == {**TrainConfig().identity(), "noise": 0.5}


# --- the command line


def train_command(*arguments: Any) -> int:
    return run_command("train", *arguments)


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])


def test_the_settings_of_the_network_have_a_heading_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train_command("supervised", "--help") == 0
    own = capsys.readouterr().out.split("Settings of the network resnet:")[1]
    assert "--depth" in own
    assert train_command("supervised", "--help", "--network", "dcgan") == 0
    shown = capsys.readouterr().out
    before, own = shown.split("Settings of the network dcgan:")
    assert "--width" in own
    assert "--depth" not in shown
    assert (
        "dcgan, halves, mlp, nin, resnet, resnet_v2, revnet, vgg.  [default: resnet]"
        in " ".join(before.split()).replace(". [", ".  [")
    )


def test_options_files_and_presets_name_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('network = "dcgan"\nwidth = 5\n')
    for chosen, width in ((("--network", "dcgan"), 32), (("--config", file), 5)):
        # The preset's width is that of a residual network.
        command = ("supervised", "--preset", "tiny", *chosen, "--print-config")
        assert train_command(*command) == 0
        shown = capsys.readouterr().out
        assert 'network = "dcgan"' in shown
        assert f"\nwidth = {width} " in shown
        assert "batch_size = 50" in shown
        assert "depth" not in shown
    file.write_text("depth = 10\n")
    assert train_command("supervised", "--network", "dcgan", "--config", file) == 2
    assert "own.toml: depth is a setting of the network resnet" in capsys.readouterr().err


def test_a_run_goes_on_with_its_own_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--runs", tmp_path, "--name", "run")
    options = ("--preset", "tiny", "--network", "dcgan", "--width", 4, "--epochs", 0)
    assert train_command("supervised", *where, *options) == 0
    assert train_command("supervised", *where, "--resume") == 0
    assert "was finished already" in capsys.readouterr().err
    assert train_command("supervised", *where, "--resume", "--network", "resnet") == 2
    error = capsys.readouterr().err
    assert "started with network = 'dcgan', now it is 'resnet'" in error


def test_composed_classes_are_made_once() -> None:
    before = compose._composed.cache_info().misses
    for _ in range(3):
        config_for("wgan")
    assert compose._composed.cache_info().misses <= before + 1


# --- the example of CONTRIBUTING.md


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example as a module of its own, in no other way known to repsim."""
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r'^```python\n("""A plain.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 45
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "plain.py").write_text(code)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path / "families")])
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield "plain"
    sys.modules.pop("repsim.networks.families.plain", None)
    vars(families).pop("plain", None)


def test_the_example_is_a_network_by_being_there(
    added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert added in family_names()
    assert family_summary(added).startswith("A plain")
    assert networks_for("simclr") == [
        "alexnet",
        "dcgan",
        "halves",
        "mlp",
        "nin",
        "plain",
        "resnet",
        "resnet_v2",
        "revnet",
        "vgg",
    ]
    size = ("--network", added, "--blocks", 2, "--width", 8, "--batch-size", 50)
    part = ("--split", "train[:200]", "--test", "test[:50]", "--epochs", 2)
    for method in ("supervised", "simclr"):
        assert train_command(method, *size, *part) == 0
        assert run_command("harvest", method, "--split", "test[:50]") == 0
        run = Run(tmp_path / "runs" / method)
        assert (run.config.network, run.config.width) == (added, 8)
        layers = ActivationStore(run.path / "activations" / "digits-test.0-50.h5").layers
        assert list(layers) == ["convs.0", "convs.1", "pooled", "head"]
    capsys.readouterr()
    assert train_command("gan", "--network", added) == 2
    assert "no critic and no generator for gan; expected alexnet or" in capsys.readouterr().err
