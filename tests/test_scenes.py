"""Scenes: their objects and labels, the clutter between them, and the images they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from driving import run_command

from repsim.data import ImageSet, find_set, load
from repsim.data.cluttered import Placed, compose_scenes
from repsim.data.pairs import Draws, Labelled
from repsim.data.sets.scenes import Scenes
from repsim.errors import UsageError

#: Of small scenes, 16 x 16 pixels.
DIGITS = "scenes:base=digits"


def scenes(split: str = "train", **given: object) -> ImageSet:
    return load(Scenes(base="digits", **given).name, split, image_size="own")  # type: ignore[arg-type]


def values(found: ImageSet, name: str) -> torch.Tensor:
    return next(each.values for each in found.targets if each.name == name)


def singles() -> Labelled:
    digits = load("digits", "train", image_size="own")
    assert digits.labels is not None
    return Labelled.of(digits.images, digits.labels, 10)


def composed(clutter: int, n: int = 400) -> tuple[torch.Tensor, Placed]:
    return compose_scenes(singles(), Draws("scenes", 0, n), most=4, clutter=clutter)


def crops(images: torch.Tensor) -> set[bytes]:
    """Every 8 x 8 window of scenes."""
    windows = images[:, 0].unfold(1, 8, 1).unfold(2, 8, 1).reshape(-1, 8, 8)
    return {each.numpy().tobytes() for each in windows.contiguous()}


def known(split: str) -> set[bytes]:
    return {each.numpy().tobytes() for each in load("digits", split, image_size="own").images}


def test_a_scene_without_clutter_is_its_objects_the_brighter_pixel_on_top() -> None:
    """Against one scene after another, written out."""
    single, (images, placed) = singles(), composed(clutter=0)
    labels = torch.arange(10).repeat_interleave(single.counts)
    assert torch.equal(labels[placed.images], placed.labels)
    for n in range(len(images)):
        expected = torch.zeros(1, 16, 16, dtype=torch.uint8)
        for k in range(4):
            if placed.shown[n, k]:
                top, left = int(placed.tops[n, k]), int(placed.lefts[n, k])
                part = expected[:, top : top + 8, left : left + 8]
                part.copy_(torch.maximum(part, single.images[placed.images[n, k]]))
        assert torch.equal(images[n], expected)


def test_objects_lie_in_quarters_of_their_own_near_the_corners() -> None:
    _, placed = composed(clutter=0, n=2000)
    quarters = torch.stack([placed.tops >= 6, placed.lefts >= 6], -1)
    numbers = quarters[..., 0].long() * 2 + quarters[..., 1].long()
    assert torch.equal(numbers.sort(1).values, torch.arange(4).expand(2000, 4))
    for places in (placed.tops, placed.lefts):
        assert set(places.unique().tolist()) == {0, 1, 2, 6, 7, 8}
    assert torch.equal(placed.shown.sum(1).unique(), torch.arange(1, 5))


def test_clutter_adds_fragments_and_leaves_the_objects() -> None:
    """Fragments are parts of single images, a quarter as high and wide: 2 x 2 of 8 x 8."""
    (clean, placed), (images, again) = (composed(clutter) for clutter in (0, 3))
    assert torch.equal(placed.images, again.images)
    assert bool((images >= clean).all())
    changed = (images != clean).flatten(1).sum(1)
    assert 0 < int(changed.max()) <= 3 * 4
    (one, _), (none, _) = composed(clutter=1), (clean, placed)
    rows, columns = ((one != none).any(axis)[:, 0] for axis in (3, 2))
    for marks in (rows, columns):
        places = marks.nonzero()
        for n in places[:, 0].unique():
            lit = places[places[:, 0] == n, 1]
            assert int(lit.max() - lit.min()) < 2


def test_targets_are_the_classes_and_the_number_of_objects() -> None:
    found, whole = scenes(scenes=3000), Scenes(base="digits", scenes=3000)
    objects, count = values(found, "objects"), values(found, "count")
    assert found.target is not None
    assert (found.target.name, found.classes) == ("objects", tuple("0123456789"))
    assert found.choose("count").classes == ("1", "2", "3")
    single, draws = whole.singles("train", Path()), Draws("repsim scenes 0 train", 0, 3000)
    _, placed = compose_scenes(single.images, draws, most=3, clutter=8)
    for n in range(300):
        there = placed.labels[n][placed.shown[n]].unique()
        assert torch.equal(objects[n].nonzero()[:, 0], there)
    assert torch.equal(count + 1, placed.shown.sum(1))
    # Of one object 0.1, of two 0.19, of three 0.271.
    share = (0.1 + 0.19 + 0.271) / 3
    assert objects.double().mean(0).numpy() == pytest.approx(share, abs=0.03)
    assert torch.bincount(count).numpy() / 3000 == pytest.approx(1 / 3, abs=0.04)


def test_no_single_image_is_in_two_splits() -> None:
    made = {
        split: crops(scenes(split, most=1, clutter=0, scenes=1500).images)
        for split in ("train", "validation", "test")
    }
    train, test = known("train"), known("test")
    parts = {split: each & (train | test) for split, each in made.items()}
    assert parts["test"] <= test
    assert parts["train"] | parts["validation"] <= train
    assert not parts["train"] & parts["validation"]
    assert min(map(len, parts.values())) > 200


def test_a_slice_and_a_smaller_set_are_parts_of_the_whole() -> None:
    whole, part = scenes(scenes=5000), scenes("train[2000:4100]", scenes=5000)
    assert torch.equal(whole.images[2000:4100], part.images)
    assert torch.equal(values(whole, "objects")[2000:4100], values(part, "objects"))
    assert part.ids == whole.ids[2000:4100]
    assert torch.equal(whole.images[:2500], scenes(scenes=2500).images)
    with pytest.raises(UsageError, match="goes beyond 'train', which has 2500 examples"):
        scenes("train[:2501]", scenes=2500)


def test_scenes_are_a_function_of_the_seed() -> None:
    one, again, other = (scenes(scenes=300, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    # Written down once: a new version of a library must not draw other scenes.
    assert values(one, "count")[:8].tolist() == [1, 2, 0, 2, 2, 1, 0, 2]
    assert values(one, "objects")[0].nonzero()[:, 0].tolist() == [5, 9]


def test_sizes_and_names_are_what_they_say() -> None:
    found = load(f"{DIGITS},most=2,scenes=20", "test")
    assert found.name == "scenes:base=digits,most=2,scenes=20"
    assert found.ids[3] == f"{found.name}/test/3"
    assert found.images.shape == (20, 1, 32, 32)
    assert scenes(scenes=20).size == (16, 16)
    assert Scenes().sizes == {"train": 10_000, "validation": 10_000, "test": 10_000}
    assert (Scenes().own_size, Scenes(base="cifar10").own_size) == ((56, 56), (64, 64))
    assert (Scenes().flips, Scenes(base="cifar10").flips) == (False, True)
    assert find_set(DIGITS).outline() == Scenes(base="digits", scenes=1)


@pytest.mark.parametrize("base", ["scenes", "two-digits:base=digits"])
def test_a_base_that_is_composed_itself_is_refused(base: str) -> None:
    with pytest.raises(UsageError, match=f"base is '{base}'; expected a set of single digits"):
        Scenes(base=base)


def test_networks_learn_from_scenes_without_labels_and_from_their_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = ("--data", f"{DIGITS},scenes=120", "--image-size", "own", "--epochs", 1)
    small = (*shown, "--batch-size", 20, "--network", "mlp", "--width", 8)
    assert run_command("train", "autoencoder", *small, "--sheet", 0) == 0
    assert run_command("train", "supervised", *small, "--target", "count") == 0
    assert run_command("harvest", "autoencoder", "--split", "test") == 0
    capsys.readouterr()
    assert run_command("train", "supervised", *small, "--name", "several") == 2
    assert "choose a target of classes with --target" in capsys.readouterr().err
