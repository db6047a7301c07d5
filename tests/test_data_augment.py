"""Augmentation: range, randomness per image, and what each transform may and may not change."""

from __future__ import annotations

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn

from repsim.data import augment
from repsim.errors import UsageError


def images(channels: int, count: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, channels, 32, 32, generator=generator) * 2 - 1


def transforms(channels: int) -> dict[str, nn.Module]:
    return {
        "simclr": augment.simclr(channels, 32, flip=channels == 3),
        "strong": augment.simclr(channels, 32, flip=True, color_strength=1.0, min_area=0.5),
        "blurred": augment.simclr(channels, 32, flip=True, blur=0.5),
        "inception": augment.inception(channels, 32, flip=True),
        "crop_flip": augment.crop_flip(32, flip=True),
        "identity": augment.identity(),
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "name", ["simclr", "strong", "blurred", "inception", "crop_flip", "identity"]
)
def test_shape_type_and_range_are_kept_and_the_seed_decides(channels: int, name: str) -> None:
    transform, x = transforms(channels)[name], images(channels)
    kept = x.clone()
    torch.manual_seed(0)
    first, second = transform(x), transform(x)
    torch.manual_seed(0)
    again = transform(x)
    assert (first.shape, first.dtype) == (x.shape, torch.float32)
    assert float(first.min()) >= -1
    assert float(first.max()) <= 1
    assert torch.equal(first, again)
    assert torch.equal(first, second) == (name == "identity")
    assert torch.equal(x, kept)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["simclr", "strong", "blurred", "inception", "crop_flip"])
def test_each_image_draws_its_own_parameters(channels: int, name: str) -> None:
    same = images(channels, 1).expand(64, -1, -1, -1)
    out = transforms(channels)[name](same)
    distinct = {tuple(image.flatten().tolist()) for image in out}
    assert len(distinct) > 40  # of 162 crops and mirror images, 64 draws give 53 on average


@pytest.mark.parametrize("channels", [1, 3])
def test_images_do_not_influence_each_other(channels: int) -> None:
    transform, x = augment.simclr(channels, 32, flip=False), images(channels)
    torch.manual_seed(0)
    together = transform(x)
    other = x.clone()
    other[1:] = -1
    torch.manual_seed(0)
    torch.testing.assert_close(transform(other)[0], together[0])


def test_kornia_by_itself_makes_the_same_images() -> None:
    x = images(3)
    jitter = K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    crop = K.RandomCrop(
        (32, 32), padding=(3, 2), fill=0, cropping_mode="resample", resample="nearest"
    )
    for own, of_kornia in (
        (augment._Jitter(0.4, 0.4, 0.4, 0.1, probability=0.8), jitter),
        (augment._Crop((32, 32), (2, 3)), crop),
    ):
        torch.manual_seed(7)
        found = augment._UnitRange(own)(x)
        torch.manual_seed(7)
        assert torch.allclose(found, of_kornia(x * 0.5 + 0.5) * 2 - 1, atol=1e-6)


def test_crop_flip_moves_pixels_over_black_and_changes_none() -> None:
    x = images(3, 200)
    padded = torch.nn.functional.pad(x, (4, 4, 4, 4), value=-1.0)
    shifts, mirrored = set(), 0
    for image, source in zip(augment.crop_flip(32, flip=True)(x), padded, strict=True):
        for i, j in ((i, j) for i in range(9) for j in range(9)):
            crop = source[:, i : i + 32, j : j + 32]
            if any(torch.allclose(image, c, atol=1e-6) for c in (crop, crop.flip(-1))):
                shifts.add((i, j))
                mirrored += not torch.allclose(image, crop, atol=1e-6)
                break
        else:
            pytest.fail("an image that is no shift of its source")
    assert len(shifts) > 60
    assert 60 < mirrored < 140


def test_without_flip_nothing_is_mirrored() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(256, 3, 32, 32)
    plain = augment.simclr(3, 32, flip=False, color_strength=0.0)(ramp)
    assert bool((plain[..., -1] > plain[..., 0]).all())
    mirrored = augment.simclr(3, 32, flip=True, color_strength=0.0)(ramp)
    assert 0.3 < float((mirrored[:, 0, 0, -1] < mirrored[:, 0, 0, 0]).float().mean()) < 0.7


def test_whole_crops_without_jitter_leave_grey_images_alone() -> None:
    # the aspect may still differ from 1, so that only flat images are certain to stay
    flat = torch.linspace(-1, 1, 16)[:, None, None, None].expand(-1, 1, 32, 32)
    out = augment.simclr(1, 32, flip=True, color_strength=0.0)(flat)
    torch.testing.assert_close(out, flat, rtol=0, atol=1e-5)


def test_a_fifth_of_colour_images_turn_grey_and_a_fifth_keep_their_colour() -> None:
    color = torch.tensor([0.6, -0.4, 0.1])[None, :, None, None].expand(2000, -1, 32, 32)
    out = augment.simclr(3, 32, flip=False)(color)[:, :, 16, 16]
    grey = (out.amax(1) - out.amin(1) < 1e-4).float().mean()
    kept = ((out - color[:, :, 16, 16]).abs().amax(1) < 1e-4).float().mean()
    assert 0.16 < float(grey) < 0.24  # p = 0.2, more than four standard errors either way
    assert 0.12 < float(kept) < 0.20  # 0.2 unjittered times 0.8 in colour


@pytest.mark.parametrize("channels", [1, 3])
def test_half_of_the_images_are_blurred_each_by_its_own_width(channels: int) -> None:
    (blur,) = augment._blur(0.5, 32)
    checks = torch.arange(32)[:, None] + torch.arange(32)
    x = (checks % 2).float().expand(400, channels, -1, -1)
    torch.manual_seed(0)
    contrast = blur(x).flatten(1).std(1)
    kept = (contrast > 0.499).float().mean()  # the narrowest Gaussians change nothing to be seen
    assert 0.4 < float(kept) < 0.65
    assert len(set(contrast.tolist())) > 100
    assert augment._blur(0.0, 32) == []
    flat = torch.full((8, channels, 32, 32), 0.3)
    torch.testing.assert_close(blur(flat), flat)


def test_channels_and_flips() -> None:
    with pytest.raises(UsageError, match="1 or 3 channels, got 2"):
        augment.simclr(2, 32, flip=False)
    expected = {"digits": False, "mnist": False, "cifar10": True, "some/folder": True}
    assert {name: augment.flips(name) for name in expected} == expected


@pytest.mark.parametrize("name", augment.STANDARD)
def test_images_need_not_be_square(name: str) -> None:
    x = torch.rand(4, 3, 28, 56) * 2 - 1
    assert augment.standard(name, 3, (28, 56), flip=True)(x).shape == x.shape
    torch.manual_seed(0)
    square = augment.standard(name, 3, 32, flip=True)(images(3))
    torch.manual_seed(0)
    assert torch.equal(square, augment.standard(name, 3, (32, 32), flip=True)(images(3)))


def test_the_border_of_a_crop_follows_height_and_width() -> None:
    torch.manual_seed(0)
    out = augment.crop_flip((28, 56), (3, 7), flip=False)(torch.ones(512, 1, 28, 56))
    black = (out < 0).float().amax((0, 1))
    rows, columns = black[:, 28], black[14]
    assert rows.tolist() == [1.0] * 3 + [0.0] * 22 + [1.0] * 3
    assert columns.tolist() == [1.0] * 7 + [0.0] * 42 + [1.0] * 7


def test_grey_images_are_the_mean_of_their_channels_as_often_as_asked() -> None:
    x = images(3, 2000)
    out = augment.Greyscale(0.66)(x)
    grey = (out == x.mean(1, keepdim=True)).all((1, 2, 3))
    assert torch.equal(out[~grey], x[~grey])
    # Within four standard errors of a share of 2,000.
    assert float(grey.float().mean()) == pytest.approx(0.66, abs=4 * (0.66 * 0.34 / 2000) ** 0.5)
    assert torch.equal(augment.Greyscale(0.0)(x), x)


def test_inception_needs_one_or_three_channels() -> None:
    with pytest.raises(UsageError, match="images of 1 or 3 channels, got 2"):
        augment.inception(2, 32, flip=True)
