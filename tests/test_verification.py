"""Stores are known by what they hold, not by their names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.errors import StoreError
from repsim.networks.weights import network_digest

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def quantised(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def recurrent(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(6, 5)), {nn.LSTM})


# --- digests of networks


@pytest.mark.parametrize("make", [quantised, recurrent])
def test_quantised_networks_have_digests_of_their_weights(make) -> None:
    assert network_digest(make(0)) == network_digest(make(0))
    assert network_digest(make(0)) != network_digest(make(1))


def test_digests_of_plain_networks_are_those_of_before() -> None:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.fill_(0.5)
        net.bias.fill_(1)
    assert network_digest(net) == (
        "04397a2f700d90ec373fda8df399de9656f4bb90d9109898f7e603662cc27803"
    )


def test_quantised_networks_are_not_taken_for_each_other(tmp_path: Path) -> None:
    given = {"layers": "0", "examples": 32, "allow_batch": True}
    repsim.harvest(quantised(0), X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(quantised(0), X.split(8), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match=f"{tmp_path}/a.h5 .*weights_sha256 differ"):
        repsim.harvest(quantised(1), X.split(8), tmp_path / "a.h5", resume=True, **given)


# --- resuming


class Hidden(nn.Module):
    """A network with a layer that no state dict has."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(6, 5)
        torch.manual_seed(seed)
        self.others = [nn.Linear(5, 5)]

    def forward(self, x: Tensor) -> Tensor:
        return self.a(self.others[0](self.a(x)) @ torch.ones(5, 6))


def test_a_finished_store_runs_its_first_batch_again(tmp_path: Path) -> None:
    given = {"examples": 32, "layers": "a#1"}
    repsim.harvest(Hidden(0), X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(Hidden(0), X.split(8), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match="layer 'a#1' gives other values for the first batch"):
        repsim.harvest(Hidden(1), X.split(8), tmp_path / "a.h5", resume=True, **given)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("pooling", ["none", "avg", "positions", "project:3"])
def test_the_first_batch_is_compared_as_it_is_stored(
    tmp_path: Path, dtype: str, pooling: str
) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    images = torch.randn(12, 3, 6, 6)
    given = {"examples": 12, "pooling": pooling, "dtype": dtype}
    repsim.harvest(net, images.split(4), tmp_path / "a.h5", **given).close()
    repsim.harvest(net, images.split(4), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match="the inputs of the first batch differ"):
        other = (images + 1).split(4)
        repsim.harvest(net, other, tmp_path / "a.h5", resume=True, **given)


def test_a_random_network_is_not_compared(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x + torch.randn_like(x))

    net, given = Noisy(), {"examples": 32, "allow_random": True}
    repsim.harvest(net, X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(net, X.split(8), tmp_path / "a.h5", resume=True, **given).close()


def test_an_unfinished_harvest_continues_on_the_same_inputs_alone(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(6, 5))

    def stopped():
        yield from X.split(8)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(net, stopped(), tmp_path / "a.h5", examples=32)
    with pytest.raises(StoreError, match="row 0 was harvested from other inputs"):
        other = (X + 1).split(8)
        repsim.harvest(net, other, tmp_path / "a.h5", examples=32, resume=True)
    with repsim.harvest(net, X.split(8), tmp_path / "a.h5", examples=32, resume=True) as store:
        np.testing.assert_allclose(store["0"][:], net(X).detach().numpy(), atol=1e-6)
