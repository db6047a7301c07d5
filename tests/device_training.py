"""Steps of training on a simulated device; run by test_on_a_device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import simulated_device
import torch
from simulated_device import Log, logged, on_device, without_float64

from repsim.data.augment import crop_flip, inception, simclr
from repsim.networks.image_spec import ImageSpec
from repsim.training.compose import configure
from repsim.training.method import Batch
from repsim.training.methods import find_method
from repsim.training.metrics import Means
from repsim.training.trainer import Trainer

simulated_device.start()
# Parameters stay the same objects when their module goes to the device, as on a GPU.
torch.__future__.set_swap_module_params_on_conversion(True)

N, CPU = 10, torch.device("cpu")

#: Transfers to the device in a step: parameters of augmentation, in one for each view; patches and
#: their order come in some of their own.
TRANSFERS = {
    "simclr": 2,
    "supervised": 1,
    "rotation": 1,
    "exemplar": 1,
    "jigsaw": 4,
    "relative_patch_location": 4,
    "autoencoder": 0,
    "bigan": 0,
    "gan": 0,
    "joint_latent_regressor": 0,
    "latent_regressor": 0,
    "mgan": 0,
    "wgan": 0,
}

PRETEXT = {"rotation": 14, "exemplar": 14, "jigsaw": 14, "relative_patch_location": 14}
DEPTHS = {**PRETEXT, "supervised": 10, "simclr": 10}
PATCHES = {"embedding": 20, "hidden": 30, "dropout": 0.0}


def trainer(method: str, device: torch.device) -> Trainer:
    values: dict[str, Any] = {"batch_size": N, "epochs": 1, "device": "cpu", "width": 4}
    if method in DEPTHS:
        values["depth"] = DEPTHS[method]
    if method in ("jigsaw", "relative_patch_location"):
        values |= PATCHES
    config = configure(method, values, "test")
    torch.manual_seed(0)
    spec = ImageSpec(channels=3, classes=10, height=32, width=32, flips=True)
    fabric = SimpleNamespace(
        global_rank=0,
        world_size=1,
        device=device,
        strategy=SimpleNamespace(precision=None),
        setup_module=lambda network: network.to(device),
        backward=lambda loss, **options: loss.backward(**options),
    )
    return Trainer(find_method(method)(config, spec), fabric, 2 * N)  # type: ignore[arg-type]


def two_steps(method: str, device: torch.device) -> tuple[list[dict[str, float]], Log]:
    """The losses of two steps, and the log of the second."""
    made = trainer(method, device)
    random = torch.Generator().manual_seed(1)
    for network in made.method.networks.values():
        network.train()
    losses = []
    for step in range(2):
        images = torch.rand(N, 3, 32, 32, generator=random) * 2 - 1
        labels = torch.randint(0, 10, (N,), generator=random)
        batch = Batch(images.to(device), labels.to(device))
        torch.manual_seed(step)
        for stepper in made.steppers.values():
            stepper.set_lr(1.0)
        with logged() as log:
            found = made.method.step(batch, made.context)
        losses.append({name: float(value) for name, value in found.items()})
    return losses, log


@pytest.mark.parametrize("method", TRANSFERS)
def test_a_step_is_that_of_the_cpu_and_waits_for_nothing(method: str) -> None:
    expected, _ = two_steps(method, CPU)
    found, log = two_steps(method, simulated_device.DEVICE)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)
    assert not log.count("sync", "to host"), log
    assert log.count("to device") == TRANSFERS[method], log


@pytest.mark.parametrize("method", ["simclr", "wgan"])
def test_a_step_needs_no_float64(method: str) -> None:
    expected, _ = two_steps(method, CPU)
    with without_float64():
        found, _ = two_steps(method, simulated_device.DEVICE)
        means = Means(simulated_device.DEVICE)
        means.add(0, {"loss": on_device(torch.tensor(0.5))})
        assert means.overall() == {"loss": 0.5}
    assert found == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_those_of_the_cpu_by_one_transfer(channels: int) -> None:
    images = torch.rand(9, channels, 24, 32) * 2 - 1
    given = on_device(images)
    size = (24, 32)
    made = (simclr(channels, size, flip=True), crop_flip(size, flip=True))
    for augment in (*made, inception(channels, size, flip=True)):
        torch.manual_seed(3)
        expected = augment(images)
        torch.manual_seed(3)
        with logged() as log:
            found = augment(given)
        assert torch.equal(found.cpu(), expected)
        assert log.count() == log.count("to device") == 1, log
    blurred = simclr(channels, size, flip=True, blur=0.5)
    with logged() as log:
        blurred(given)
    assert log.count() == log.count("to device") == 2, log  # kornia looks at the widths of blurs
