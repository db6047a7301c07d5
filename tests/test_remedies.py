"""Remedies for loaders with another number of examples, or with inputs of other sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import repsim
from repsim.activations.harvesting.features import layer_features
from repsim.errors import CaptureError, ShapeError, StoreError, UsageError

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
LINEAR = nn.Sequential(nn.Linear(6, 3)).eval()
CONVOLUTION = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()


@pytest.mark.parametrize(
    ("examples", "remedy"),
    [
        (50, r"40 of 50 examples arrived; .*pass examples=40 and --overwrite"),
        (30, r"more than the 30 examples expected; pass examples=N .* itertools.islice"),
    ],
)
def test_another_number_of_examples(examples: int, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(StoreError, match=remedy):
        repsim.harvest(LINEAR, [X], path, examples=examples)
    repsim.harvest(LINEAR, [X], path, examples=40, overwrite=True).close()


def test_inputs_of_two_sizes(tmp_path: Path) -> None:
    batches = [torch.randn(8, 3, 8, 10), torch.randn(8, 3, 10, 8)]  # as many numbers in each
    message = r"gives \(4, 8, 6\) for an example of this batch, \(4, 6, 8\) before; .*pooling"
    for ask in (
        lambda **how: repsim.harvest(
            CONVOLUTION, batches, tmp_path / "a.h5", examples=16, overwrite=True, **how
        ),
        lambda **how: repsim.compare(CONVOLUTION, CONVOLUTION, batches, **how),
        lambda **how: layer_features(CONVOLUTION, batches, "0", **how),
    ):
        with pytest.raises(ShapeError, match=message):
            ask()
    assert repsim.compare(CONVOLUTION, CONVOLUTION, batches, pooling="avg").n == 16


@pytest.mark.parametrize(
    ("network", "examples", "shape"),
    [(LINEAR, X, r"\(6,\)"), (CONVOLUTION, torch.randn(9, 3, 8, 8), r"\(3, 8, 8\)")],
)
def test_single_examples_are_no_batches(
    network: nn.Module, examples: torch.Tensor, shape: str, tmp_path: Path
) -> None:
    loader: Any = DataLoader(examples, batch_size=None)
    message = rf"where {shape} is one example, give batches of them"
    with pytest.raises(CaptureError, match=message):
        repsim.harvest(network, loader, tmp_path / "a.h5")
    with pytest.raises(CaptureError, match=message):
        repsim.compare(network, network, loader)


def test_a_loader_that_does_not_end_is_compared_as_far_as_it_is_asked_for() -> None:
    def endless() -> Any:
        while True:
            yield from X.split(10)

    for most, n in ((40, 40), (45, 40), (10, 10)):
        assert repsim.compare(LINEAR, LINEAR, endless(), examples=most).n == n
    assert repsim.compare(LINEAR, LINEAR, endless(), examples=40).unbiased == pytest.approx(1)
    with pytest.raises(UsageError, match="examples is 0; expected a whole number"):
        repsim.compare(LINEAR, LINEAR, endless(), examples=0)
