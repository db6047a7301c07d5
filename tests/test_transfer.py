"""Frozen transfer: which parts stay, which are trained, and what the result says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command
from torch import nn

from repsim.activations.analyses.transfer import before_training, frozen_transfer
from repsim.batch_statistics import kept, normalisations
from repsim.data import load
from repsim.errors import MismatchError, UsageError
from repsim.figures.probes import probe_figure
from repsim.networks.families import find_family
from repsim.networks.image_spec import ImageSpec
from repsim.probes.frozen import Frozen, Recipe, first_layers, fit_rest, with_new_head
from repsim.results import ProbeCurve
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Run

SPEC = ImageSpec(1, 10, 8, 8, flips=False)
ONCE = Recipe(epochs=1, batch_size=50)


def encoder(name: str, seed: int = 0, **settings: Any) -> nn.Module:
    torch.manual_seed(seed)
    kind = find_family(name)
    return kind(kind.settings(**settings)).encoder(SPEC)


def digits(split: str) -> Any:
    return load("digits", split, image_size="own")


# --- which parts belong to the first layers


def test_the_first_layers_are_what_ran_before_the_last_of_them() -> None:
    network, x = encoder("mlp", width=8), torch.zeros(2, 1, 8, 8)
    assert first_layers(network.eval(), "hidden1", x).modules == (
        "pixels",
        "hidden1.0",
        "hidden1.1",
    )
    found = first_layers(network, "hidden2", x)
    assert found.modules[3:] == ("hidden2.0", "hidden2.1", "hidden2.2")
    assert found.features == 8


def test_of_a_residual_block_the_shortcut_runs_after_its_odd_layer() -> None:
    torch.manual_seed(0)
    network = encoder("resnet", depth=10, width=4).eval()
    odd, even = (
        first_layers(network, f"bg2.b0.{point}", torch.zeros(2, 1, 8, 8)).modules
        for point in ("odd", "even")
    )
    assert not any("shortcut" in name for name in odd if name.startswith("bg2"))
    assert {"bg2.b0.shortcut.0", "bg2.b0.shortcut.1"} <= set(even)
    assert set(odd) < set(even)


def test_a_layer_that_does_not_run_is_refused() -> None:
    network = encoder("mlp", width=8).eval()
    network.idle = nn.Linear(1, 1)
    network.forward = lambda x: network.hidden1(network.pixels(x))  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="layer 'idle' does not run in a forward pass; nothing"):
        first_layers(network, "idle", torch.zeros(2, 1, 8, 8))


# --- training


@pytest.mark.parametrize("layer", ["conv1", "conv3"])
def test_frozen_parts_stay_to_the_bit_and_all_others_move(layer: str) -> None:
    given, start = (encoder("alexnet", seed, width=1) for seed in (0, 1))
    for network in (given, start):
        network.train()(torch.randn(64, 1, 8, 8))  # statistics of its own
    given, start = (with_new_head(each.eval(), 10) for each in (given, start))
    images = digits("train[:200]")
    parts = first_layers(given, layer, images.inputs()[:2]).modules
    frozen = Frozen.of(start, given, parts)
    before = {name: value.clone() for name, value in frozen.network.state_dict().items()}
    fit_rest(frozen, images, images.labels, ONCE)
    for name, value in frozen.network.state_dict().items():
        inside = any(name.startswith(f"{part}.") for part in parts)
        source = given if inside else start
        assert torch.equal(before[name], source.state_dict()[name]), name
        assert torch.equal(value, before[name]) == inside, name
    assert not any(p.requires_grad for p in frozen.network.get_submodule(layer).parameters())
    assert all(p.requires_grad for p in frozen.network.conv5.parameters())


def test_the_network_that_is_given_is_left_as_it_was() -> None:
    given, start = (encoder("mlp", seed, width=8).eval() for seed in (0, 1))
    states = [{k: v.clone() for k, v in each.state_dict().items()} for each in (given, start)]
    images, held = digits("train[:200]"), digits("test[:50]")
    frozen_transfer(given, start, images, held, recipe=ONCE)
    for each, before in zip((given, start), states, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in each.state_dict().items())
        assert all(p.requires_grad for p in each.parameters())


def test_the_last_layer_frozen_is_a_linear_classifier_on_its_features() -> None:
    """Features that hold the class are read perfectly, features that hold nothing at chance."""

    class Fixed(nn.Module):
        feature_dim = 64

        def __init__(self, scale: float) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, bias=False))
            with torch.no_grad():
                self.features[1].weight.copy_(scale * torch.eye(64))
            self.head: nn.Module = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(x))

        def layer_names(self) -> list[str]:
            return ["features"]

    images, held = digits("train[:1000]"), digits("test[:300]")
    recipe = Recipe(epochs=20, lr=1e-2, batch_size=50)
    good, none = (
        frozen_transfer(Fixed(scale), Fixed(1.0), images, held, recipe=recipe).entries
        for scale in (1.0, 0.0)
    )
    assert [entry.layer for entry in good] == ["none", "features"]
    assert good[1].accuracy > 0.85
    assert none[1].accuracy < 0.2
    assert none[0].accuracy > 0.85  # nothing is frozen there


def test_a_seed_gives_the_same_accuracies_and_one_recipe_the_same_start() -> None:
    given, start = (encoder("mlp", seed, width=8).eval() for seed in (0, 1))
    images, held = digits("train[:200]"), digits("test[:50]")
    first, again, other = (
        frozen_transfer(network, start, images, held, recipe=ONCE)
        for network in (given, given, encoder("mlp", 5, width=8).eval())
    )
    assert [e.accuracy for e in first.entries] == [e.accuracy for e in again.entries]
    assert first.entries[0].accuracy == other.entries[0].accuracy  # nothing frozen


def test_what_cannot_be_is_refused_in_one_line() -> None:
    network, images = encoder("mlp", width=8).eval(), digits("train[:100]")
    with pytest.raises(MismatchError, match="share 100 images"):
        frozen_transfer(network, network, images, images)
    with pytest.raises(UsageError, match="Sequential has no linear head to put a new one for"):
        with_new_head(nn.Sequential(nn.ReLU()), 10)
    with pytest.raises(UsageError, match="no layer 'conv9'"):
        frozen_transfer(network, network, images, digits("test[:50]"), layers="conv9")


# --- runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    settings = {"network": "alexnet", "width": 1, "beside": 4, "latent": 8, "batch_size": 100}
    small = {"split": "train[:200]", "test": "test[:50]", "sheet": 0, "statistics_batches": 3}
    config = {**settings, **small, "epochs": 1, "coverage": 0, "image_size": "own"}
    train("bigan", configure("bigan", config), folder / "bigan")
    return folder


def test_an_untrained_network_normalises_by_the_images(runs: Path) -> None:
    images = digits("train[:200]")
    network = before_training(Run(runs / "bigan").extractor(), images)
    assert all(float(norm.running_var.max()) < 0.9 for norm in normalisations(network).values())
    again = before_training(Run(runs / "bigan").extractor(), images)
    assert all(torch.equal(value, kept(again)[name]) for name, value in kept(network).items())


def test_the_command_has_a_curve_beside_the_untrained_one(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    parts = ("--split", "train[:200]", "--test-split", "test[:50]")
    command = ("transfer", "bigan", "--runs", runs, "--epochs", 1, "--layers", "conv*")
    assert run_command(*command, *parts, "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "bigan (untrained)" in out
    (path,) = (tmp_path / "results").glob("transfer-bigan*.json")
    found = ProbeCurve.load(path)
    assert found.networks() == ["bigan", "bigan (untrained)"]
    layers = ["none", "conv1", "conv2", "conv3", "conv4"]
    for name in found.networks():
        assert [entry.layer for entry in found.of(name)] == layers
    first = [found.of(name)[0].accuracy for name in found.networks()]
    assert first[0] == first[1]  # with nothing frozen, both are one training
    assert [entry.features for entry in found.of("bigan")] == [64, 3 * 16, 8 * 4, 12 * 4, 12 * 4]
    (panel,) = probe_figure(found).panels
    assert panel.xlabel == "frozen up to"
    assert [line.look for line in panel.series] == ["line", "control", "chance"]
    assert (tmp_path / "results").glob("transfer-bigan*-curves.png")
