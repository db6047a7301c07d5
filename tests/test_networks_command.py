"""``repsim networks``: families with roles, settings, layers and sizes, for images of any size."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import torch
from driving import run_command

from repsim.errors import ShapeError, UsageError
from repsim.networks import ImageSpec, ResNet, describe
from repsim.networks.families import family_names, find_family
from repsim.networks.overview import overview


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])


def shown(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    assert run_command("networks", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", family_names())
def test_parameters_and_layers_are_those_of_the_networks(name: str) -> None:
    kind, spec = find_family(name), ImageSpec(3, 0, 28, 56, flips=False)
    family = kind(kind.settings(width=4))
    found = {each.role: each for each in overview(family, spec)}
    assert tuple(found) == kind.roles()
    encoder = family.encoder(spec)
    assert found["encoder"].parameters == count(encoder)
    assert list(found["encoder"].layers) == encoder.layer_names()
    if name == "dcgan":
        assert found["critic"].parameters == count(family.critic(spec))
        assert found["generator"].parameters == count(family.generator(spec, 128))
        assert found["joint_critic"].parameters == count(family.joint_critic(spec, 128))
        assert found["decoder"].records[-1]["output"] == "3x28x56"


def test_the_list_has_every_family_with_its_methods(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys)
    assert list(found) == family_names()
    assert found["resnet"]["trained_by"] == [
        *("exemplar", "jigsaw", "relative_patch_location", "rotation", "simclr", "supervised")
    ]
    assert {"gan", "wgan", "mgan", "autoencoder"} < set(found["dcgan"]["trained_by"])
    assert list(found["resnet"]["roles"]) == ["encoder"]
    assert run_command("networks") == 0
    out = capsys.readouterr().out
    for words in ("joint_critic", "representation", "for images of 3 x 32 x 32", "autoencoder"):
        assert words in out


def test_a_family_is_shown_with_the_settings_that_are_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = shown(capsys, "resnet", "--depth", 10, "--width", 8, "--channels", 1)
    assert found["settings"]["depth"] == 10
    assert found["roles"]["encoder"]["parameters"] == count(ResNet(1, 10, 8))
    assert run_command("networks", "dcgan", "--image-size", "28x56") == 0
    out = capsys.readouterr().out
    assert "conv4     Conv        3x7" in out
    assert "layers to harvest: conv1, conv2, conv3, features, head" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnt",), "there is no network 'resnt'; did you mean 'resnet'"),
        (("dcgan", "--image-size", "6"), "images are 6 x 6; .* at least 8 pixels"),
        (("dcgan", "--image-size", "wide"), "image size 'wide'"),
        (("--image-size", "own"), "give --image-size in pixels"),
        (("--image-size", "64", "dcgan"), "--image-size stands before the network; put it after"),
        (("dcgan", "--width", "0"), "width = 0; input should be greater"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert run_command("networks", *arguments) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error)


def test_a_table_of_a_network_of_two_inputs() -> None:
    kind, spec = find_family("dcgan"), ImageSpec(1, 0, 32, 32, flips=False)
    critic = kind(kind.settings(width=4)).joint_critic(spec, 6)
    records = describe(critic, spec.shape, (6,))
    assert [record["layer"] for record in records][-4:] == ["code.0", "joint.0", "joint.2", "head"]
    with pytest.raises(ShapeError, match=r"no input of shape \(1, 32, 32\) and \(7,\)"):
        describe(critic, spec.shape, (7,))


def test_a_family_that_is_too_large_for_its_images_says_so() -> None:
    kind = find_family("dcgan")
    with pytest.raises(UsageError, match="at least 8 pixels"):
        overview(kind(kind.settings()), ImageSpec(1, 0, 32, 4, flips=False))
