"""Networks that take axis 1 of their inputs for the examples, and say so nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations import compare_classes, invariance
from repsim.activations.harvesting.features import layer_features
from repsim.activations.harvesting.loaders import ShuffledLoader
from repsim.data import load
from repsim.errors import CaptureError, RepsimWarning, UsageError

#: Four batches of eight sequences, (length, n, features).
BATCHES = list(torch.randn(4, 5, 8, 6, generator=torch.Generator().manual_seed(0)))
FIRST = [batch.transpose(0, 1).contiguous() for batch in BATCHES]


class Own(nn.Module):
    """The mean over positions, which lie along the first axis."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.each, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.each(x)).mean(0))


class Headless(Own):
    """The same without a head, so that the output alone shows the axis of the examples."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.each(x)).mean(0)


class Scaled(Own):
    """The same with as many numbers for all examples as a check may show examples."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return super().forward(x) * scale


def compared(model: nn.Module, batches: list[Tensor], path: Path, **said: Any) -> Any:
    return repsim.compare(model, model, batches, layers_a="each", layers_b="each", **said).n


def featured(model: nn.Module, batches: list[Tensor], path: Path, **said: Any) -> Any:
    return layer_features(model, batches, ["each"], **said)["each"]


def in_memory(model: nn.Module, batches: list[Tensor], path: Path, **said: Any) -> Any:
    return layer_features(model, torch.cat(batches, 1), ["each"], **said)["each"]


def harvested(model: nn.Module, batches: list[Tensor], path: Path, **said: Any) -> Any:
    n = sum(batch.shape[said.get("batch_axis", 0)] for batch in batches)
    with repsim.harvest(model, batches, path, layers="each", examples=n, **said) as store:
        return torch.from_numpy(store["each"][:]).flatten(1)


@pytest.mark.parametrize("ask", [compared, featured, in_memory, harvested])
@pytest.mark.parametrize("make", [Own, Headless])
def test_a_layer_of_the_other_axis_is_refused_whatever_is_chosen(
    make: type[Own], ask: Callable[..., Any], tmp_path: Path
) -> None:
    model = make().eval()
    message = r"has a row for each of \d+ along axis 1 of the inputs.*say --batch-axis 1"
    with pytest.raises(CaptureError, match=message) as caught:
        ask(model, BATCHES, tmp_path / "a.h5")
    assert "\n" not in str(caught.value)
    found = ask(model, BATCHES, tmp_path / "a.h5", batch_axis=1)
    if ask is compared:
        assert found == 32
    else:
        want = torch.cat([model.each(x).transpose(0, 1).flatten(1) for x in BATCHES]).detach()
        np.testing.assert_allclose(found, want, atol=1e-6)


def test_as_many_positions_as_examples_are_no_way_out(tmp_path: Path) -> None:
    square = list(torch.randn(4, 8, 8, 6))
    with pytest.raises(CaptureError, match=r"'head' has a row for each of 8 along axis 1"):
        harvested(Own().eval(), square, tmp_path / "a.h5")


def test_the_first_axis_can_be_said(tmp_path: Path) -> None:
    found = harvested(Own().eval(), BATCHES, tmp_path / "a.h5", batch_axis=0)
    assert found.shape == (20, 32)


class Pooled(nn.Module):
    """Examples first, with positions that are no function of them, and a mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.each, self.place = nn.Linear(6, 4), nn.Embedding(5, 4)
        self.pool, self.head = nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.each(x) + self.place(torch.arange(x.shape[1]))
        self.pool(x.mean(0))
        return self.head(x.mean(1))


class Channels(nn.Module):
    """Maps (n, 3, h, w), with a layer and a mean for each of the three channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.each, self.table = nn.Conv2d(3, 4, 3), nn.Embedding(3, 4)
        self.mean, self.head = nn.Identity(), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.table(torch.arange(3))
        self.mean(x.mean((0, 2, 3)))
        return self.head(self.each(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("make", "batch"), [(Pooled, FIRST[0]), (Channels, torch.randn(8, 3, 6, 6))]
)
def test_layers_that_are_not_of_examples_are_no_evidence(
    make: type[nn.Module], batch: Tensor, tmp_path: Path
) -> None:
    with pytest.warns(RepsimWarning, match="left out: no row for each"):
        store = repsim.harvest(make().eval(), [batch], tmp_path / "a.h5", examples=8)
    with store:
        assert list(store.layers) == ["each", "head"]


DIGITS = load("digits", "test[:32]", image_size=8)


class Rows(nn.Module):
    """Images as sequences of their rows, along the first axis or behind the images."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0].movedim(0, self.axis)


#: With as many images at a time as they have rows.
SHOWN: dict[str, Callable[..., Any]] = {
    "invariance": lambda net, rows, **said: invariance(net, DIGITS, rows, batch_size=8, **said),
    "compare_classes": lambda net, rows, **said: compare_classes(
        net, DIGITS, rows, batch_size=8, **said
    ),
    "compare": lambda net, rows, **said: repsim.compare(
        net, net, ShuffledLoader(DIGITS, rows, 8), **said
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_as_many_images_as_rows_are_told_apart(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 5)).eval()
    for axis in (0, 1):
        with pytest.raises(UsageError, match=f"lie along axis {axis} of the inputs.*axis {axis}"):
            SHOWN[name](network, Rows(axis), batch_axis=1 - axis)
    with pytest.raises(UsageError, match="lie along axis 1.*say --batch-axis 1 .batch_axis=1."):
        SHOWN[name](network, Rows(1))
    want = SHOWN[name](network, Rows(0)).unbiased
    np.testing.assert_allclose(SHOWN[name](network, Rows(1), batch_axis=1).unbiased, want)


def test_an_entry_of_the_whole_batch_is_not_cut_with_the_examples(tmp_path: Path) -> None:
    batches = [{"x": batch, "scale": torch.arange(1.0, 4.0)} for batch in BATCHES]
    with pytest.raises(CaptureError, match="'head' has a row for each of 8 along axis 1"):
        repsim.harvest(Scaled(), batches, tmp_path / "a.h5", layers="each", examples=20)
