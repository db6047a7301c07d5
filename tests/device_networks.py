"""Networks compared and harvested on a simulated device; run by test_on_a_device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simulated_device
import torch
from simulated_device import logged, on_device
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repsim

simulated_device.start()
# Parameters stay the same objects when their module goes to the device, as on a GPU.
torch.__future__.set_swap_module_params_on_conversion(True)

DEVICE = simulated_device.DEVICE
random = torch.Generator().manual_seed(0)
IMAGES = torch.randn(64, 3, 8, 8, generator=random)
LABELS = torch.arange(64) % 4


def network(seed: int, width: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36 * width, 6),
    )


def batches() -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(IMAGES, LABELS), batch_size=16)


def test_networks_are_compared_as_on_the_cpu_wherever_each_lies() -> None:
    expected = repsim.compare(network(0, 4), network(1, 5), batches())
    for a, b in ((DEVICE, DEVICE), ("cpu", DEVICE), (DEVICE, "cpu")):
        with logged() as log:
            found = repsim.compare(network(0, 4).to(a), network(1, 5).to(b), batches())
        assert found.unbiased == pytest.approx(expected.unbiased, abs=1e-9)
        assert found.stderr == pytest.approx(expected.stderr, abs=1e-9)
        # Both come to the device of the first, and each layer is reduced by one look at numbers.
        assert log.count("sync", within="answers.py") == (4 * 10 if a == DEVICE else 0), log


def test_a_harvest_is_that_of_the_cpu(tmp_path: Path) -> None:
    repsim.harvest(network(0, 4), batches(), tmp_path / "cpu.h5")
    repsim.harvest(network(0, 4).to(DEVICE), batches(), tmp_path / "device.h5")
    with (
        repsim.open_store(tmp_path / "cpu.h5") as expected,
        repsim.open_store(tmp_path / "device.h5") as found,
    ):
        assert found.layers == expected.layers
        for layer in found.layers:
            assert np.array_equal(found[layer][:], expected[layer][:])
        of_device = repsim.cka_map(found, device=DEVICE)
        assert np.array_equal(of_device.unbiased, repsim.cka_map(expected).unbiased)


def test_classes_and_layers_of_arrays_on_the_device() -> None:
    a, b = ({"x": IMAGES.flatten(1)[:, k : k + 90], "y": IMAGES[:, 0, k]} for k in (0, 2))
    on_it = [{name: on_device(x) for name, x in each.items()} for each in (a, b)]
    found = repsim.class_similarity(on_it[0], on_device(LABELS))
    expected = repsim.class_similarity(a, LABELS)
    assert found.unbiased == pytest.approx(expected.unbiased, abs=1e-9, nan_ok=True)
    identified = repsim.layer_identification(*on_it)
    assert identified == repsim.layer_identification(a, b)
