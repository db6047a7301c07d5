"""Hooks that are right: each of these has gone wrong in another tool."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations import Capture
from repsim.activations.layers import default_layers
from repsim.errors import CaptureError, UsageError
from repsim.layers import select_layers


def network(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Flatten(), nn.Linear(288, 5)
    )


IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def take(model: nn.Module, layers: list[str] | None = None) -> dict[str, Tensor]:
    with Capture(model, layers) as capture:
        model(IMAGES)
        return capture.take()


def test_an_operation_in_place_does_not_change_what_was_captured() -> None:
    plain, inplace = take(network()), take(network(inplace=True))
    for layer in plain:
        torch.testing.assert_close(plain[layer], inplace[layer], rtol=0, atol=0)
    values = {name: v.numpy() for name, v in plain.items()}
    other = {name: v.numpy() for name, v in inplace.items()}
    diagonal = repsim.cka_map(values, other).diagonal()
    np.testing.assert_allclose(diagonal, 1, atol=1e-6)


def test_a_reduction_that_returns_a_view_is_copied_too() -> None:
    model = network(inplace=True)
    with Capture(model, ["1"], reduce=lambda layer, x: x.flatten(1)) as capture:
        model(IMAGES)
        taken = capture.take()["1"]
    torch.testing.assert_close(taken, take(network(), ["1"])["1"].flatten(1), rtol=0, atol=0)


def test_layers_come_in_order_of_execution() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 4)
            self.first = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    model = Backwards()
    assert default_layers(model) == ["last", "first"]
    with Capture(model) as capture:
        model(torch.randn(2, 4))
        assert list(capture.take()) == ["first", "last"]


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    model.train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="stop"), Capture(model):
        model(IMAGES)
        assert not model.training
        raise RuntimeError("stop")
    assert model.training
    assert not model[1].training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name  # running statistics did not move
    assert model(IMAGES).requires_grad


def test_a_failing_forward_leaves_no_hook() -> None:
    model = network()
    with pytest.raises(RuntimeError), Capture(model):
        model(torch.randn(2, 7, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_layer_that_is_never_called_is_named() -> None:
    model = network()
    model.register_module("spare", nn.Linear(2, 2))
    model.forward = lambda x: model[4](model[3](model[2](model[1](model[0](x)))))  # type: ignore[method-assign]
    with pytest.raises(CaptureError, match="'spare' was not called"):
        take(model, ["0", "spare"])


def test_a_layer_called_twice_is_an_error_and_not_an_overwrite() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.relu(x) - 1)

    with pytest.raises(CaptureError, match="'relu' is called more than once"):
        take(Twice())


def test_a_layer_that_gives_no_tensor_is_named() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(8, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x.flatten(2)[:, :, :8])[0]

    with pytest.raises(CaptureError, match="'rnn' returns a tuple"):
        take(Recurrent())


def test_an_unknown_layer_suggests_the_nearest() -> None:
    from repsim.networks import ResNet

    with pytest.raises(UsageError, match=r"no layer 'bg1.b0.evn'; did you mean 'bg1.b0.even'"):
        Capture(ResNet(3, 10, 4), ["bg1.b0.evn"])


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (None, ["stem", "bg1.b0.odd", "bg1.b0.even", "head"]),
        ("all", ["stem", "bg1.b0.odd", "bg1.b0.even", "head"]),
        ("odd", ["bg1.b0.odd"]),
        ("even,head", ["bg1.b0.even", "head"]),
        (["head", "stem"], ["head", "stem"]),
        ("bg*", ["bg1.b0.odd", "bg1.b0.even"]),
    ],
)
def test_layers_are_chosen_by_pattern(patterns: str | list[str] | None, chosen: list[str]) -> None:
    assert select_layers(["stem", "bg1.b0.odd", "bg1.b0.even", "head"], patterns) == chosen


def test_a_name_goes_before_a_pattern() -> None:
    assert select_layers(["x0", "x[0]"], "x[0]") == ["x[0]"]
    assert select_layers(["odd", "b.odd"], "odd") == ["odd"]


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"the network has no layer 'bg9"):
        select_layers(["stem"], "stem,bg9.*")


def test_compare_with_itself_is_one_and_restores_the_network() -> None:
    model = network()
    model.train()
    loader = list(IMAGES.split(8))
    found = repsim.compare(model, model, loader)
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)
    assert found.layers_a == ("0", "1", "2", "3", "4")
    assert model.training
    assert found.n == 16


def test_compare_takes_labels_beside_images_and_other_layers_for_each_side() -> None:
    loader = [(images, torch.zeros(len(images))) for images in IMAGES.split(8)]
    found = repsim.compare(
        network(), network(), loader, layers_a=["0", "2"], layers_b=["4"], kernel="rbf"
    )
    assert found.unbiased.shape == (2, 1)
    assert found.kernel == "rbf:0.5"
    with pytest.raises(TypeError, match="gave str as images"):
        repsim.compare(network(), network(), ["no images"])
