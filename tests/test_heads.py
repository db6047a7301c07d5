"""Linear heads of networks from anywhere: found by name or by what is returned, or named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations.capture.returned import returned_head
from repsim.activations.harvesting.heads import head_features, head_of, linear_head
from repsim.errors import UsageError
from repsim.networks.heads import find_head, linear_layers


class Net(nn.Module):
    """Two layers of one shape; the output of the second goes through ``end``."""

    def __init__(self, end: Callable[[Tensor], object] = lambda x: x) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.end = end

    def forward(self, x: Tensor) -> object:
        return self.end(self.two(self.one(x).tanh()))


X = torch.linspace(-1, 1, 24).reshape(4, 6)

RETURNED: dict[str, Callable[[Tensor], object]] = {
    "itself": lambda x: x,
    "flat": lambda x: x.reshape(-1),
    "with another": lambda x: (x, x + 1),
    "by name": lambda x: {"logits": x},
}
CHANGED: dict[str, Callable[[Tensor], object]] = {
    "softmax": lambda x: x.softmax(1),
    "in place": lambda x: x.relu_(),
    "a column": lambda x: x[:, :1],
    "a copy of the size of the first": lambda x: x * 1,
}


@pytest.mark.parametrize("end", RETURNED.values(), ids=RETURNED)
def test_the_head_is_the_layer_whose_output_is_returned(end: Callable[[Tensor], object]) -> None:
    assert returned_head(Net(end), X) == "two"
    assert head_of(Net(end), None, X)[0] == "two"


@pytest.mark.parametrize("end", CHANGED.values(), ids=CHANGED)
def test_a_function_of_the_output_has_no_head(end: Callable[[Tensor], object]) -> None:
    assert returned_head(Net(end), X) is None


def test_two_layers_that_are_returned_are_no_head() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.spread = nn.Linear(6, 2), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.mean(x), self.spread(x)

    assert returned_head(Two(), X) is None
    assert returned_head(nn.ReLU(), X) is None


def test_looking_for_a_head_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert returned_head(network, X) == "2"
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert torch.get_rng_state().equal(state)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_head_is_named_and_others_are_listed() -> None:
    network = Net(lambda x: x.log_softmax(1))
    weight, _, source = linear_head(network, "two")
    assert weight.equal(network.two.weight)
    assert source == "two@input"
    features = head_features(network, X, head="two")
    torch.testing.assert_close(features, network.one(X).tanh())
    with pytest.raises(UsageError, match=r"'three' is no linear layer of Net; .*one, two"):
        find_head(network, "three")
    with pytest.raises(UsageError, match="of its linear layers one, two say which .* --head two"):
        head_of(network, None, X)


def test_of_many_linear_layers_the_last_are_listed() -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(9)), nn.Softmax(1))
    with pytest.raises(UsageError, match=r"linear layers \.\.\., 3, 4, 5, 6, 7, 8 say"):
        head_of(network, None, torch.zeros(3, 2))


def test_the_weights_of_attention_are_no_candidate() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, batch_first=True)
    assert list(linear_layers(encoder)) == ["linear1", "linear2"]


@pytest.mark.parametrize("named", [None, "two"])
def test_a_store_has_the_head_whose_input_it_has(named: str | None, tmp_path: Path) -> None:
    network = Net() if named is None else Net(lambda x: x.softmax(1))
    loader = [X, X + 1]
    asked = {"layers": "one,two@input", "examples": 8, "head": named}
    with repsim.harvest(network, loader, tmp_path / "a.h5", **asked) as store:  # type: ignore[arg-type]
        (head,) = store.heads.values()
        assert head["input"] == "two@input"
        assert torch.from_numpy(head["weight"]).equal(network.two.weight.detach())
        assert store.provenance().get("head") == named
    with pytest.raises(UsageError, match="'last' is no linear layer"):
        repsim.harvest(network, loader, tmp_path / "b.h5", examples=8, head="last")
