"""Modules that run several times or as often as an input says, and layers by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_network import Net

import repsim
from repsim.activations.harvesting.features import layer_features
from repsim.errors import CaptureError, RepsimError, UsageError

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)).abs()


class Again(nn.Module):
    """Runs a layer ``few`` times for positive inputs, else ``many`` times."""

    def __init__(self, few: int, many: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.few, self.many, self.layer, self.head = few, many, nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.few if x.mean() > 0 else self.many):
            x = torch.tanh(self.layer(x))
        return self.head(x)


def harvested(model: nn.Module, batches: list[Tensor], path: Path, layers: Any) -> Any:
    with repsim.harvest(model, batches, path, layers=layers, examples=24) as store:
        return {name: store[name][:] for name in store.layers}


def compared(model: nn.Module, batches: list[Tensor], path: Path, layers: Any) -> Any:
    return dict.fromkeys(
        repsim.compare(model, model, batches, layers_a=layers, layers_b=layers).layers_a
    )


def featured(model: nn.Module, batches: list[Tensor], path: Path, layers: Any) -> Any:
    return layer_features(model, batches, layers or ["layer", "head"])


ASKED = [harvested, compared, featured]


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("layers", [None, "layer", "head,layer"])
@pytest.mark.parametrize(("few", "many"), [(1, 2), (2, 3)])
def test_calls_that_depend_on_the_input_are_refused(
    few: int, many: int, layers: Any, ask: Callable[..., Any], tmp_path: Path
) -> None:
    for batches in ([X, -X], [-X, X]):
        with pytest.raises(
            CaptureError, match="not the same layers|was not called|not run the same"
        ) as caught:
            ask(Again(few, many).eval(), batches, tmp_path / f"{len(batches[0])}.h5", layers)
        assert "\n" not in str(caught.value)
        (tmp_path / "12.h5.part").unlink(missing_ok=True)


@pytest.mark.parametrize("ask", ASKED)
def test_calls_that_every_batch_has_can_be_chosen(ask: Callable[..., Any], tmp_path: Path) -> None:
    network = Again(2, 3).eval()
    found = ask(network, [X, -X], tmp_path / "a.h5", "layer#0,layer#1")
    assert list(found) == ["layer#0", "layer#1"]
    if ask is not compared:
        first = network.layer(torch.cat([X, -X]))
        want = network.layer(torch.tanh(first)).detach()
        np.testing.assert_allclose(found["layer#1"], want, atol=1e-6)


class Parts(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"a": x, "b": {"z": 2 * x}}


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.parts = nn.Linear(6, 6), Parts()

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(self.layer(self.layer(x)))["a"]


@pytest.mark.parametrize("shown", [X, [X[:5], X[5:]]])
@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (["parts"], ["parts:a", "parts:b.z"]),
        ("parts:b.z", ["parts:b.z"]),
        (["layer"], ["layer#0", "layer#1"]),
        ("layer#1", ["layer#1"]),
        (["*"], ["layer#0", "layer#1", "parts:a", "parts:b.z"]),
        ("type:Linear", ["layer#0", "layer#1"]),
    ],
)
def test_features_are_called_as_a_harvest_calls_them(
    layers: Any, names: list[str], shown: Any, tmp_path: Path
) -> None:
    network = Named().eval()
    found = layer_features(network, shown, layers)
    assert list(found) == names
    with repsim.harvest(network, [X], tmp_path / "a.h5", layers=layers, examples=12) as store:
        assert list(store.layers) == names
        for name in names:
            np.testing.assert_allclose(found[name], store[name][:], atol=1e-6)


@pytest.mark.parametrize("layers", ["lyaer", ["lyaer"], ["layer#7"], ["parts:c"], "type:Conv2d"])
def test_features_of_no_layer_are_refused_in_a_line(layers: Any) -> None:
    with pytest.raises(RepsimError) as caught:
        layer_features(Named().eval(), X, layers)
    assert isinstance(caught.value, (UsageError, CaptureError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("sparse", lambda x: x.to_sparse()),
        ("sparse", lambda x: x.to_sparse_csr()),
        (
            "nested",
            lambda x: torch.nested.nested_tensor([*x[:6, :2], *x[6:]]),
        ),
    ],
)
def test_tensors_without_rows_are_called_by_their_form(
    kind: str, make: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    message = f"gave no dense tensor: it returns a {kind} tensor of torch.float32"
    with pytest.raises(CaptureError, match=message):
        harvested(nn.Sequential(Net(lambda self, x: make(x))), [X], tmp_path / "a.h5", "0")
