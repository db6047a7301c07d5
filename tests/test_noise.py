"""Noise: how much there is of it, and that an image's own does not depend on its company."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from repsim.activations import ImageLoader
from repsim.activations.harvesting.loaders import NoisyLoader, TensorLoader
from repsim.data import load
from repsim.data.noise import KINDS, Noise, gaussian, salt_and_pepper
from repsim.errors import ShapeError, UsageError

NOISES = [Noise("gaussian", 0.25), Noise("salt-and-pepper", 0.3)]


def images(n: int = 6, channels: int = 3, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, channels, size, size, generator=generator) * 2 - 1


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_gaussian_noise_has_its_standard_deviation_on_every_channel() -> None:
    grey = torch.zeros(20, 3, 32, 32)
    added = gaussian(grey, 0.1, seeded())
    count = added.numel()
    assert float(added.std()) == pytest.approx(0.1, rel=4 / math.sqrt(2 * count))
    assert abs(float(added.mean())) < 4 * 0.1 / math.sqrt(count)
    assert not torch.equal(added[:, 0], added[:, 1])


def test_noise_stays_among_the_values_that_pixels_have() -> None:
    black = torch.full((4, 1, 32, 32), -1.0)
    noisy = gaussian(black, 0.5, seeded())
    assert float(noisy.min()) == -1.0
    assert 0.45 < float((noisy == -1).float().mean()) < 0.55  # one way only
    assert float(gaussian(images(), 5.0, seeded()).abs().max()) == 1.0


def test_salt_and_pepper_takes_whole_pixels_half_to_each_end() -> None:
    grey = torch.full((20, 3, 32, 32), 0.2)
    noisy = salt_and_pepper(grey, 0.3, seeded())
    assert noisy.unique().tolist() == pytest.approx([-1.0, 0.2, 1.0])
    assert torch.equal(noisy[:, 0], noisy[:, 1])
    assert torch.equal(noisy[:, 0], noisy[:, 2])
    pixels = 20 * 32 * 32
    for value in (-1.0, 1.0):
        found = float((noisy[:, 0] == value).float().mean())
        assert found == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / pixels))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_no_pixel_and_every_pixel(share: float) -> None:
    found = salt_and_pepper(images(), share, seeded())
    assert float((found.abs() == 1).float().mean()) == share
    assert torch.equal(found, images()) == (share == 0)
    assert torch.equal(gaussian(images(), 0, seeded()), images())


def test_levels_of_a_kind_differ_in_level_only() -> None:
    grey, keys = torch.zeros(3, 1, 8, 8), range(3)
    small, large = (Noise("gaussian", sd)(grey, keys) for sd in (0.05, 0.1))
    assert torch.allclose(2 * small, large)
    few, many = (Noise("salt-and-pepper", share)(grey, keys) for share in (0.2, 0.5))
    hit = few != 0
    assert torch.equal(many[hit], few[hit])
    assert int((many != 0).sum()) > int(hit.sum()) > 0


@pytest.mark.parametrize("noise", NOISES)
def test_an_image_has_its_noise_by_its_key_and_the_seed(noise: Noise) -> None:
    clean, keys = images(), [f"set/test/{k}" for k in range(6)]
    whole = noise(clean, keys, seed=4)
    order = [4, 0, 5]
    assert torch.equal(noise(clean[order], [keys[k] for k in order], seed=4), whole[order])
    assert torch.equal(noise(clean[2:3], keys[2:3], seed=4), whole[2:3])
    assert not torch.equal(noise(clean, keys, seed=5), whole)
    twice = noise(clean[:1].expand(2, -1, -1, -1), keys[:2])
    assert not torch.equal(twice[0], twice[1])
    assert torch.allclose(noise(clean.double(), keys, seed=4).float(), whole)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_leaves_images_and_global_random_numbers_alone(noise: Noise) -> None:
    clean, before = images(), torch.get_rng_state()
    noise(clean, range(6))
    assert torch.equal(clean, images())
    assert torch.equal(torch.get_rng_state(), before)
    assert noise(clean[:0], []).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("noise", NOISES)
def test_neither_batches_nor_slices_change_it(noise: Noise) -> None:
    whole, part = (load("digits", split) for split in ("test[:9]", "test[4:9]"))
    batches = list(NoisyLoader(ImageLoader(whole, 9), noise, seed=2))
    (expected, labels, ids), *_ = batches
    assert torch.equal(labels, whole.labels)
    assert tuple(ids) == whole.ids
    for size in (1, 4):
        loader = NoisyLoader(ImageLoader(whole, size), noise, seed=2)
        assert len(loader) == -(-9 // size)
        assert loader.dataset is whole
        assert torch.equal(torch.cat([batch[0] for batch in loader]), expected)
    (sliced, *_), *_ = NoisyLoader(ImageLoader(part, 9), noise, seed=2)
    assert torch.equal(sliced, expected[4:])


def test_without_ids_positions_count() -> None:
    noise, clean = NOISES[0], images()
    expected = noise(clean, range(6), seed=1)
    for batches in (list(clean.split(4)), [(part, None) for part in clean.split(2)]):
        found = list(NoisyLoader(batches, noise, seed=1))
        parts = [each if isinstance(each, Tensor) else each[0] for each in found]
        assert torch.equal(torch.cat(parts), expected)
    with pytest.raises(UsageError, match="a batch gave dict as images"):
        list(NoisyLoader([{"x": clean}], noise))


def test_names_and_texts() -> None:
    noise = Noise.parse("gaussian:0.25")
    assert (noise.kind, noise.level, noise.name, str(noise)) == (
        "gaussian",
        0.25,
        "gaussian 0.25",
        "gaussian:0.25",
    )
    for text in ("salt-and-pepper:0.05", "gaussian:1"):
        assert str(Noise.parse(text)) == text
    assert Noise.parse("gaussian:1") == Noise("gaussian", 1.0)
    assert sorted(KINDS) == ["gaussian", "salt-and-pepper"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "gausian:0.1",
            "unknown noise 'gausian'; did you mean 'gaussian'\\? there is: gaussian, s",
        ),
        ("gaussian", "noise 'gaussian' cannot be read; expected KIND:LEVEL such as gaussian:0.25"),
        ("gaussian:much", "noise 'gaussian:much' cannot be read"),
        ("gaussian:-1", "gaussian noise of sd -1.0; expected 0 or more"),
        ("gaussian:inf", "gaussian noise of sd inf; expected 0 or more"),
        ("gaussian:nan", "gaussian noise of sd nan; expected 0 or more"),
        ("salt-and-pepper:1.5", "salt-and-pepper noise on a share of 1.5; expected 0 to 1"),
        ("", "noise '' cannot be read"),
    ],
)
def test_noise_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Noise.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            images() * 3,
            UsageError,
            "pixels reach 2.99.*; expected \\[-1, 1\\], as repsim.data.to_i",
        ),
        (images() * torch.nan, UsageError, "pixels reach nan"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), ShapeError, "floating-point images .*uint8"),
        (torch.zeros(2, 4, 4), ShapeError, "shape \\(n, c, height, width\\), got .* \\(2, 4, 4\\)"),
    ],
)
@pytest.mark.parametrize("noise", NOISES)
def test_images_that_take_no_noise(noise: Noise, given: Tensor, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        noise(given, range(len(given)))
    with pytest.raises(error, match=message):
        KINDS[noise.kind](given, noise.level, seeded())


def test_a_key_for_each_image() -> None:
    with pytest.raises(ShapeError, match="6 images came with 5 keys; expected one each"):
        NOISES[0](images(), range(5))


def test_images_in_memory_as_a_loader() -> None:
    loader = TensorLoader(images(), 4, "generated")
    batches = list(loader)
    assert len(loader) == len(batches) == 2
    assert [len(batch[0]) for batch in batches] == [4, 2]
    assert batches[1][2] == ["generated/4", "generated/5"]
    with pytest.raises(UsageError, match="batch_size is 0"):
        TensorLoader(images(), 0)
    with pytest.raises(ShapeError, match="images: expected floating-point values .* torch.uint8"):
        TensorLoader(torch.zeros(2, 3, dtype=torch.uint8))
