"""Images as foreign networks expect them, against closed forms."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from repsim.data import to_input
from repsim.data.preprocessing import Preprocessing
from repsim.errors import ShapeError, UsageError


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (5, 3, 8, 8), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("prepare", [Preprocessing(), Preprocessing.parse()])
def test_the_default_is_what_networks_of_repsim_take(
    prepare: Preprocessing, images: torch.Tensor
) -> None:
    assert torch.equal(prepare(images), to_input(images))
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(prepare(every), to_input(every))


def test_unit_is_from_0_to_1() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = torch.tensor([0.0, 0.2, 1.0]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(Preprocessing.parse("unit")(images), expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("0.5,0.4,0.3/0.2,0.2,0.1", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)),
        ("0.1307/0.3081", (0.1307,), (0.3081,)),
    ],
)
def test_each_channel_is_normalised(
    text: str, mean: tuple[float, ...], std: tuple[float, ...], images: torch.Tensor
) -> None:
    prepared = Preprocessing.parse(text)(images)
    columns = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (mean, std))
    center, scale = columns
    expected = (images.double() / 255 - center) / scale
    assert prepared.dtype == torch.float32
    torch.testing.assert_close(prepared.double(), expected, rtol=1e-6, atol=1e-6)


def test_grey_images_are_repeated() -> None:
    grey = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    prepared = Preprocessing.parse("half", channels=3)(grey)
    assert prepared.shape == (1, 3, 4, 4)
    assert torch.equal(prepared, to_input(grey).expand(1, 3, 4, 4))
    assert Preprocessing.parse("imagenet")(grey).shape == (1, 3, 4, 4)
    assert Preprocessing.parse("half")(grey).shape == (1, 1, 4, 4)


def test_constant_images_stay_constant_at_any_size() -> None:
    images = torch.full((2, 1, 7, 5), 51, dtype=torch.uint8)
    for size in (3, 6, 14):
        prepared = Preprocessing.parse("unit", size=size)(images)
        torch.testing.assert_close(prepared, torch.full((2, 1, size, size), 0.2))


def test_halving_weighs_neighbours_by_a_triangle() -> None:
    # Pixels 0, 1 and 2 lie 1/2, 1/2 and 3/2 from the first output, whose triangle reaches to 2.
    row = torch.tensor([0, 0, 255, 255], dtype=torch.uint8)
    images = row.expand(1, 1, 4, 4).contiguous()
    weights = torch.tensor([1.5, 1.5, 0.5])
    first = float(weights[2] / weights.sum())
    expected = torch.tensor([first, 1 - first]).expand(1, 1, 2, 2)
    torch.testing.assert_close(Preprocessing.parse("unit", size=2)(images), expected)


def test_doubling_interpolates_between_neighbours() -> None:
    row = torch.tensor([0, 255], dtype=torch.uint8)
    images = row.expand(1, 1, 2, 2).contiguous()
    expected = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 1, 4, 4)
    torch.testing.assert_close(Preprocessing.parse("unit", size=4)(images), expected)


def test_batches_do_not_matter(images: torch.Tensor) -> None:
    prepare = Preprocessing.parse("imagenet", size=20)
    parts = torch.cat([prepare(part) for part in images.split(2)])
    assert torch.equal(prepare(images), parts)


def test_it_can_be_recorded() -> None:
    prepare = Preprocessing.parse("0.5/0.25", size=224, channels=3)
    assert Preprocessing(**dataclasses.asdict(prepare)) == prepare


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("imagnet", {}, "cannot be read; did you mean 'imagenet'"),
        ("0.5", {}, "cannot be read"),
        ("0.5/0.5/0.5", {}, "cannot be read"),
        ("a,b/c,d", {}, "cannot be read"),
        ("/", {}, "cannot be read"),
        ("0.5,0.5/0.5", {}, "2 means and 1 standard deviations"),
        ("0.5/0", {}, "std above 0"),
        ("nan/1", {}, "finite"),
        ("half", {"size": 0}, "size is 0"),
        ("half", {"channels": 0}, "channels is 0"),
        ("imagenet", {"channels": 1}, "3 means for 1 channels"),
    ],
)
def test_other_values_are_refused(text: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preprocessing.parse(text, **options)


def test_other_images_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="expected uint8 images"):
        Preprocessing()(images.float())
    with pytest.raises(ShapeError, match="expected uint8 images"):
        Preprocessing()(images[0])
    with pytest.raises(ShapeError, match="images have 3 channels; expected 1"):
        Preprocessing(channels=1)(images)
