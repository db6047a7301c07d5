"""Pairs of digits: their labels, the left digits that are kept, and the digits they are made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from repsim import probe
from repsim.cli.main import cli
from repsim.data import ImageSet, find_set, load
from repsim.data.imageset import fit
from repsim.data.pairs import Draws, Labelled, compose, draw_pairs
from repsim.data.sets.digits import Digits
from repsim.data.sets.two_digits import TwoDigits
from repsim.errors import DataError, UsageError

#: Of small pairs, 8 x 16 pixels.
DIGITS = "two-digits:base=digits"
CORRUPTIONS = ("noise", "blank", "shuffled")


def pairs(split: str = "train", **given: object) -> ImageSet:
    set_ = TwoDigits(base="digits", **given)  # type: ignore[arg-type]
    return load(set_.name, split, image_size="own")


def targets(found: ImageSet) -> dict[str, torch.Tensor]:
    return {each.name: each.values for each in found.targets}


def halves(found: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = found.images.chunk(2, dim=3)
    return left, right


def known(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def within(share: float, expected: float, n: int) -> bool:
    """True within four standard deviations of a mean of n tosses."""
    return abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / n)


def test_splits_are_alike_unless_they_are_clean() -> None:
    drawn = f"{DIGITS},keep=0.5,copy=0.6,pairs=4000"
    for split in ("train", "validation", "test"):
        for clean in (True, False):
            found = load(f"{drawn},clean={clean}", split)
            left, right, kept = (each.values for each in found.targets)
            other = clean and split != "train"
            agree, readable = (0.1, 1.0) if other else (0.6 + 0.4 / 10, 0.5)
            assert within(float((left == right).double().mean()), agree, 4000)
            assert within(float(kept.double().mean()), readable, 4000)
    shift = {name: find_set(f"{DIGITS},{name}").shifts for name in ("copy=0.1", "keep=0", "seed=1")}
    assert shift == {"copy=0.1": True, "keep=0": True, "seed=1": False}
    assert not find_set(f"{DIGITS},copy=0.1,clean=false").shifts


def test_pairs_have_three_targets_and_a_name_that_says_how_they_were_made() -> None:
    found = load(f"{DIGITS},keep=0.5,copy=0.30,pairs=20", "train")
    assert found.name == "two-digits:base=digits,copy=0.3,keep=0.5,pairs=20"
    assert (found.images.shape, found.resized) == ((20, 1, 28, 56), False)
    assert [(each.name, len(each.classes)) for each in found.targets] == [
        ("left", 10),
        ("right", 10),
        ("kept", 2),
    ]
    assert found.ids[3] == f"{found.name}/train/3"
    assert find_set("two-digits") == TwoDigits()
    assert TwoDigits().sizes == {"train": 10_000, "validation": 10_000, "test": 10_000}


def test_each_half_is_a_digit_of_its_label() -> None:
    digits = load("digits", "train", image_size="own")
    assert digits.labels is not None
    labels = {
        image.numpy().tobytes(): int(label)
        for image, label in zip(digits.images, digits.labels, strict=True)
    }
    found = pairs(pairs=500)
    for half, side in zip(halves(found), ("left", "right"), strict=True):
        assert [labels[image.numpy().tobytes()] for image in half] == targets(found)[side].tolist()


def test_no_digit_is_on_both_sides_of_a_split() -> None:
    sides = {
        split: known(torch.cat(halves(pairs(split, pairs=6000))))
        for split in ("train", "validation", "test")
    }
    names = list(sides)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            assert not sides[a] & sides[b], (a, b)
    whole = {split: load("digits", split, image_size="own") for split in ("train", "test")}
    assert sides["test"] == known(whole["test"].images)
    assert sides["train"] | sides["validation"] == known(whole["train"].images)


@pytest.mark.parametrize("copy", [0.0, 0.3, 0.9, 1.0])
def test_labels_agree_as_often_as_the_theory_says(copy: float) -> None:
    n, classes = 20_000, 10
    found = targets(pairs(copy=copy, pairs=n))
    agree = float((found["left"] == found["right"]).double().mean())
    assert within(agree, copy + (1 - copy) / classes, n)
    for side in ("left", "right"):
        shares = torch.bincount(found[side], minlength=classes) / n
        assert all(within(float(share), 1 / classes, n) for share in shares)
    apart = found["left"] != found["right"]  # where they differ, the right one is any other
    moved = (found["right"] - found["left"])[apart] % classes
    if copy < 1:
        shares = torch.bincount(moved, minlength=classes)[1:] / len(moved)
        assert all(within(float(share), 1 / (classes - 1), len(moved)) for share in shares)


@pytest.mark.parametrize("keep", [0.0, 0.4, 1.0])
def test_left_digits_are_kept_as_often_as_asked_and_then_whole(keep: float) -> None:
    n = 4000
    found, clean = pairs(keep=keep, copy=0.5, pairs=n), pairs(copy=0.5, pairs=n)
    kept = targets(found)["kept"].bool()
    assert within(float(kept.double().mean()), keep, n)
    assert torch.equal(halves(found)[0][kept], halves(clean)[0][kept])
    assert torch.equal(halves(found)[1], halves(clean)[1])
    lost = [not torch.equal(a, b) for a, b in zip(halves(found)[0], halves(clean)[0], strict=True)]
    assert lost == (~kept).tolist()


def test_pairs_that_no_probability_touches_are_the_same() -> None:
    """The kept pairs of a smaller ``keep`` are among those of a larger one; so with copies."""
    less, more = (targets(pairs(keep=keep, pairs=2000))["kept"] for keep in (0.3, 0.7))
    assert bool((less <= more).all())
    rare, often = (targets(pairs(copy=copy, pairs=2000)) for copy in (0.1, 0.8))
    assert torch.equal(rare["left"], often["left"])
    moved = rare["right"] != often["right"]
    assert torch.equal(often["right"][moved], often["left"][moved])


def test_a_slice_and_a_smaller_set_are_parts_of_the_whole() -> None:
    given = {"keep": 0.5, "corruption": "shuffled"}
    whole, part = pairs(pairs=5000, **given), pairs("train[2000:4100]", pairs=5000, **given)
    assert torch.equal(whole.images[2000:4100], part.images)
    assert part.ids == whole.ids[2000:4100]
    first = pairs(pairs=2500, **given)
    assert torch.equal(whole.images[:2500], first.images)
    assert torch.equal(targets(whole)["right"][:2500], targets(first)["right"])
    with pytest.raises(UsageError, match="goes beyond 'train', which has 2500 examples"):
        pairs("train[:2501]", pairs=2500)


def test_pairs_are_a_function_of_the_seed() -> None:
    one, again, other = (pairs(keep=0.5, pairs=300, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    # Written down once: a new version of a library must not draw other pairs.
    assert targets(one)["left"][:8].tolist() == [8, 0, 4, 3, 3, 7, 5, 3]
    assert targets(one)["kept"][:8].tolist() == [0, 0, 1, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_judged_on_is_clean_and_uncorrelated(split: str) -> None:
    n = 5000
    found, plain = pairs(split, keep=0.1, copy=0.9, pairs=n), pairs(split, pairs=n)
    assert torch.equal(found.images, plain.images)
    assert bool(targets(found)["kept"].all())
    agree = (targets(found)["left"] == targets(found)["right"]).double().mean()
    assert within(float(agree), 1 / 10, n)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_lost_digit_tells_nothing_of_its_label(corruption: str) -> None:
    found = pairs(keep=0.0, corruption=corruption, pairs=6000)
    left = halves(found)[0].flatten(1).double() / 255
    x = torch.cat([left, left.sort(1).values], 1)  # with its histogram, by which ink would tell
    y = targets(found)["left"]
    parts: dict[str, Any] = {"test_features": x[3000:], "test_labels": y[3000:], "l2": 1.0}
    result = probe(x[:3000], y[:3000], allow_constant=True, **parts)
    assert within(result.accuracy, 1 / 10, 3000)
    clean = halves(pairs(pairs=6000))[0].flatten(1).double() / 255
    seen = probe(clean[:3000], y[:3000], test_features=clean[3000:], test_labels=y[3000:], l2=1.0)
    assert seen.accuracy > 0.9


def test_corruptions_are_what_they_say() -> None:
    blank, noise, shuffled = (
        halves(pairs(keep=0.0, corruption=kind, pairs=2000))[0]
        for kind in ("blank", *CORRUPTIONS[::2])
    )
    assert int(blank.max()) == 0
    counts = torch.bincount(noise.flatten().long(), minlength=256) / noise.numel()
    assert counts.numpy() == pytest.approx(1 / 256, rel=0.15)
    levels = halves(pairs(pairs=2000))[0]
    assert set(shuffled.unique().tolist()) <= set(levels.unique().tolist())
    assert float(shuffled.double().mean()) == pytest.approx(float(levels.double().mean()), rel=0.02)
    spread = shuffled.double().mean((0, 1))  # no place is brighter than another
    assert spread.numpy() == pytest.approx(float(spread.mean()), rel=0.1)


def test_halves_are_stretched_on_their_own() -> None:
    small, wide = pairs(keep=0.5, pairs=50), load(f"{DIGITS},keep=0.5,pairs=50", image_size="16x48")
    assert torch.equal(
        wide.images, torch.cat([fit(half, (16, 24)) for half in small.images.chunk(2, 3)], 3)
    )
    assert (small.slug, small.size) == (
        "two-digits_base_digits_keep_0.5_pairs_50-8x16-train",
        (8, 16),
    )
    with pytest.raises(UsageError, match=r"size 16x47 of two-digits; expected an even width"):
        load(DIGITS, image_size="16x47")


def test_pairs_of_mnist_are_28_by_56_and_of_a_folder_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.integers(0, 256, (60, 9, 9, 3), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=labels, classes=np.array(["a", "b", "c"]))
    found = load(f"two-digits:base={tmp_path}/own.npz,keep=0.5,pairs=40", "test")
    assert (found.images.shape, found.classes) == ((40, 3, 28, 56), ("a", "b", "c"))
    assert found.files is not None
    assert TwoDigits().own_size == (28, 56)


def test_colours_of_a_shuffled_pixel_stay_together() -> None:
    images = torch.randint(0, 256, (4, 1, 5, 5), dtype=torch.uint8).expand(-1, 3, -1, -1)
    digits = Labelled.of(images, torch.tensor([0, 1, 0, 1]), 2)
    draws = Draws("colours", 0, 10)
    drawn = draw_pairs(digits, draws, keep=0.0, copy=0.0)
    left = compose(digits, drawn, draws, "shuffled")[..., :5]
    assert torch.equal(left[:, 0], left[:, 2])


def test_bases_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="base is 'two-digits'; expected a set of single digits"):
        TwoDigits(base="two-digits")
    with pytest.raises(DataError, match="no such file or folder"):
        load(f"two-digits:base={tmp_path}/absent")
    np.savez(tmp_path / "bare.npz", images=np.zeros((9, 4, 4), np.uint8))
    with pytest.raises(UsageError, match=r"bare.npz' of two-digits has 0 classes; expected"):
        load(f"two-digits:base={tmp_path}/bare.npz")
    rare = np.array([0] * 30 + [1])
    np.savez(tmp_path / "rare.npz", images=np.zeros((31, 4, 4), np.uint8), labels=rare)
    with pytest.raises(UsageError, match=r"no image of class '1' for .*; expected at least one"):
        load(f"two-digits:base={tmp_path}/rare.npz", "test")


def test_the_base_keeps_its_own_parameters() -> None:
    noisy = load("two-digits:base=digits:noise=1,pairs=10", image_size="own")
    assert find_set(noisy.name) == TwoDigits(base=Digits(noise=1.0).name, pairs=10)
    assert not known(halves(noisy)[0]) & known(load("digits", image_size="own").images)


def test_every_command_takes_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    data = ("--data", f"{DIGITS},keep=0,copy=0.9,pairs=200")
    small = ("--image-size", "16x32", "--device", "cpu")
    network = ("--depth", "10", "--width", "4", "--epochs", "1", "--batch-size", "50")
    run("train", "supervised", *data, "--target", "left", "--name", "s", *small, *network)
    described = json.loads(Path("runs/s/config.json").read_text())
    assert described["config"]["target"] == "left"
    parts = ("--split", "train", "--split", "test")
    clean = ("--data", f"{DIGITS},pairs=200")
    run("harvest", "s", *clean, *parts, *small, "--layers", "pooled")
    out = run("probe", "s", *clean, *small, "--target", "right")
    assert "n = 200 + 200" in out
