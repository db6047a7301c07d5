"""Layers against augmented copies of the images, and against the classes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import run_command
from torch import Tensor, nn

import repsim
from repsim import figures
from repsim.activations import ShuffledLoader, compare_classes, invariance
from repsim.data import ImageSet, load
from repsim.data.augment import standard
from repsim.data.targets import Target, label_target
from repsim.errors import CaptureError, DegenerateError, ShapeError, UsageError
from repsim.measures import class_similarity
from repsim.networks.weights import network_digest
from repsim.training.run import Run

DIGITS = load("digits", "train[:96]")
AUGMENT = standard("simclr", 1, 32, flip=False)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 16)
    )


class Shine(nn.Module):
    """Makes each image lighter or darker, at random, as a whole."""

    def forward(self, images: Tensor) -> Tensor:
        return images + 4 * torch.rand(len(images), 1, 1, 1)


class Balanced(nn.Module):
    """Takes the mean brightness out of every image."""

    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean((1, 2, 3), keepdim=True)


# The loader


def test_batches_are_of_nearly_equal_size_and_hold_every_image_once() -> None:
    loader = ShuffledLoader(DIGITS, batch_size=10)
    batches = list(loader)
    assert [len(images) for images, _, _ in batches] == [10] * 6 + [9] * 4
    assert len(loader) == 10
    ids = [each for _, _, names in batches for each in names]
    assert sorted(ids) == sorted(DIGITS.ids)
    assert ids != list(DIGITS.ids)
    at = [DIGITS.ids.index(each) for each in ids]
    assert torch.equal(torch.cat([images for images, _, _ in batches]), DIGITS.inputs(at))
    assert DIGITS.labels is not None
    assert torch.equal(torch.cat([labels for _, labels, _ in batches]), DIGITS.labels[at])


def test_order_and_augmentations_follow_from_the_seed_and_disturb_no_random_numbers() -> None:
    def images(**changes: int) -> Tensor:
        return torch.cat([each for each, _, _ in replace(loader, **changes)])

    loader = ShuffledLoader(DIGITS, AUGMENT, batch_size=32)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = images()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(images(), first)
    assert not torch.equal(images(seed=1), first)
    other = images(view=1)
    assert not torch.equal(other, first)
    order, same = ([names for _, _, names in replace(loader, view=view)] for view in (0, 1))
    assert order == same
    # A batch draws numbers of its own: the first of each is not the same crop.
    ones = replace(DIGITS, images=torch.ones_like(DIGITS.images) * torch.arange(32).byte() * 8)
    crops = [each for each, _, _ in ShuffledLoader(ones, AUGMENT, batch_size=32)]
    assert not torch.equal(crops[0], crops[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"batch_size": 7}, "batch_size is 7; expected at least 8"), ({"seed": -1}, "seed is -1")],
)
def test_a_loader_refuses(changes: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ShuffledLoader(DIGITS, **changes)  # type: ignore[arg-type]


# Invariance


def test_copies_that_are_the_images_have_invariance_one() -> None:
    found = invariance(network(), DIGITS, nn.Identity(), batch_size=32)
    assert np.allclose(found.unbiased.diagonal(), 1, atol=1e-12)
    assert found.comparison == "views"
    assert found.layers_a == found.layers_b == ("0", "1", "2", "3")
    assert found.n == 96
    assert (found.name_a, found.name_b) == ("Sequential", "Sequential (other copy)")


def test_what_does_not_see_the_augmentation_is_invariant() -> None:
    model = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (32, 32)), Balanced(), *network())
    found = invariance(model, DIGITS, Shine(), layers="1,2,3", batch_size=32)
    seeing, *blind = found.unbiased.diagonal()
    assert abs(seeing) < 0.2
    assert np.allclose(blind, 1, atol=1e-4)


def test_one_batch_is_unbiased_cka_of_the_features_of_both_copies() -> None:
    model = network().eval()
    found = invariance(model, DIGITS, AUGMENT, layers="3", batch_size=96, seed=2)
    copies = [next(iter(ShuffledLoader(DIGITS, AUGMENT, 96, 2, view)))[0] for view in (0, 1)]
    with torch.no_grad():
        expected = repsim.cka(*(model(copy) for copy in copies))
    assert found.unbiased.item() == pytest.approx(expected, abs=1e-6)
    assert found.stderr is None


def test_invariance_is_the_same_for_a_seed_and_for_any_layers() -> None:
    first = invariance(network(), DIGITS, AUGMENT, batch_size=32)
    again = invariance(network(), DIGITS, AUGMENT, batch_size=32)
    assert np.array_equal(first.unbiased, again.unbiased)
    alone = invariance(network(), DIGITS, AUGMENT, layers="3", batch_size=32)
    assert alone.unbiased.item() == pytest.approx(first.unbiased[3, 3], abs=1e-7)
    other = invariance(network(), DIGITS, AUGMENT, batch_size=32, seed=1)
    difference = np.abs(other.unbiased - first.unbiased).diagonal()
    assert (difference > 0).all()
    assert (difference < 0.2).all()
    assert first.provenance["seed"] == 0


def test_two_networks_are_shown_the_same_augmented_images() -> None:
    loader = ShuffledLoader(DIGITS, AUGMENT, batch_size=32)
    model = network()
    found = repsim.compare(model, model, loader)
    assert np.allclose(found.unbiased.diagonal(), 1, atol=1e-12)
    assert found.comparison == "networks"


def test_a_network_that_does_not_take_the_images_is_one_line() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(CaptureError, match=r"does not run on .*inputs \(3?96, 1, 32, 32\)"):
        invariance(model, DIGITS, AUGMENT)


# Classes


def test_cka_with_the_classes_is_that_with_the_one_hot_matrix(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 5, 60)
    hot = np.eye(5)[labels]
    layers = {"noise": rng.standard_normal((60, 7)), "turned": hot @ np.linalg.qr(hot.T @ hot)[0]}
    names = np.array(list("abcde"))[labels]
    found = class_similarity({**layers, "hot": 3 * hot + 1}, names)
    assert found.layers_b == ("classes",)
    assert found.comparison == "classes"
    assert found.unbiased[:2, 0] == pytest.approx(
        [repsim.cka(layer, hot) for layer in layers.values()], abs=1e-6
    )
    assert found.unbiased[2, 0] == pytest.approx(1, abs=1e-6)
    assert found.stderr is not None
    loaded = type(found)._from_dict(json.loads(json.dumps(found.to_dict())))
    assert loaded.comparison == "classes"


def test_the_kernel_matters_to_the_layers_alone(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, 50)
    layer = rng.standard_normal((50, 3)) + labels[:, None]
    one = class_similarity({"x": np.eye(4)[labels] * 2}, labels, kernel="rbf")
    assert one.unbiased.item() == pytest.approx(1, abs=1e-6)
    assert repsim.cka(layer, np.eye(4)[labels], kernel="rbf") == pytest.approx(
        class_similarity({"x": layer}, labels, kernel="rbf").unbiased.item(), abs=1e-6
    )


def test_classes_come_from_streams_too() -> None:
    model = network().eval()
    found = compare_classes(model, DIGITS, batch_size=96)
    with torch.no_grad():
        exact = class_similarity({"3": model(DIGITS.inputs())}, DIGITS.labels)
    assert found.unbiased[3, 0] == pytest.approx(exact.unbiased.item(), abs=1e-5)
    assert (found.layers_b, found.name_b, found.comparison) == (("classes",), "classes", "classes")
    batches = compare_classes(model, DIGITS, AUGMENT, batch_size=32)
    assert batches.provenance["batches"] == 3
    assert batches.stderr is not None


def test_classes_are_those_of_the_target_that_was_chosen() -> None:
    model = network().eval()
    (digit,) = DIGITS.targets
    odd = Target("odd", digit.values % 2, ("even", "odd"))
    strokes = Target("strokes", torch.ones(96, 2, dtype=torch.uint8), ("left", "right"))
    several = replace(DIGITS, targets=(replace(digit, name="digit"), odd, strokes))
    of_digits = compare_classes(model, DIGITS, AUGMENT, batch_size=32).unbiased
    found = compare_classes(model, several, AUGMENT, batch_size=32).unbiased
    np.testing.assert_array_equal(found, of_digits)
    of_odd = compare_classes(model, several.choose("odd"), batch_size=96)
    with torch.no_grad():
        exact = class_similarity({"3": model(DIGITS.inputs())}, odd.values)
    assert of_odd.unbiased[3, 0] == pytest.approx(exact.unbiased.item(), abs=1e-5)
    with pytest.raises(UsageError, match="'strokes' of digits is a row of zeros and ones"):
        compare_classes(model, several.choose("strokes"))


def test_classes_of_batches_are_in_their_order() -> None:
    loader = ShuffledLoader(DIGITS, batch_size=10)
    assert all(
        labels.equal(classes)
        for (_, labels, _), classes in zip(loader, loader.classes(), strict=True)
    )
    with pytest.raises(UsageError, match="digits has no labels"):
        ShuffledLoader(replace(DIGITS, targets=())).classes()


def test_classes_that_are_not_there_are_one_line(rng: np.random.Generator) -> None:
    layer = {"x": rng.standard_normal((6, 2))}
    with pytest.raises(UsageError, match="has no labels"):
        class_similarity(layer)
    with pytest.raises(ShapeError, match=r"labels have shape \(5,\); expected \(6,\)"):
        class_similarity(layer, range(5))
    with pytest.raises(DegenerateError, match="all 6 examples of a are of class 3"):
        class_similarity(layer, [3] * 6)
    with pytest.raises(UsageError, match="digits has no labels"):
        compare_classes(network(), replace(DIGITS, targets=()))
    with pytest.raises(DegenerateError, match="are of class 0"):
        compare_classes(
            network(),
            replace(DIGITS, targets=label_target(torch.zeros(96, dtype=torch.int64), "0")),
        )
    nothing: ImageSet = load("digits", "train[:3]")
    with pytest.raises(DegenerateError, match="no batch of at least 4"):
        invariance(network(), nothing, AUGMENT)


# Figures


def test_the_curves_show_what_the_map_is_about(rng: np.random.Generator) -> None:
    classes = class_similarity({k: rng.standard_normal((20, 3)) for k in "xyz"}, [0, 1] * 10)
    drawn = figures.draw(classes)
    assert list(drawn) == ["curves"]
    (line,) = drawn["curves"].axes[0].get_lines()
    assert line.get_label() == "CKA with the classes"
    assert np.allclose(line.get_ydata(), classes.unbiased[:, 0])
    assert len(drawn["curves"].axes[0].collections) == 1

    copies = invariance(network(), DIGITS, AUGMENT, batch_size=32)
    drawn = figures.draw(copies)
    assert list(drawn) == ["heatmap", "curves"]
    (line,) = drawn["curves"].axes[0].get_lines()
    assert line.get_label() == "two augmented copies, same layer"
    assert np.allclose(line.get_ydata(), copies.unbiased.diagonal())


# The command


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs, of which one was harvested."""
    folder = tmp_path_factory.mktemp("workspace")
    tiny = ("--preset", "tiny", "--width", 4, "--split", "train[:50]", "--test", "test[:50]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", sys.argv)
        assert run_command("train", "simclr", "--epochs", 0, *tiny) == 0
        assert run_command("train", "supervised", "--epochs", 0, "--name", "untrained", *tiny) == 0
        assert run_command("train", "gan", "--epochs", 0, *tiny) == 0
        assert run_command("harvest", "simclr", "--split", "test[:50]", "--pooling", "avg") == 0
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(sys, "argv", sys.argv)
    return workspace


def test_invariance_of_a_run(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("invariance", "simclr", "--split", "test[:40]", "--batch-size", 20)
    command += ("--layers", "pooled,head")
    assert run_command(*command) == 0
    out = capsys.readouterr().out
    assert "linear CKA (unbiased) of simclr against simclr (other copy), n = 40" in out
    assert "simclr augmentation" in out
    assert "invariance" in out
    assert "95 % interval" in out
    stem = inside / "results" / "invariance-simclr-test-40-pooled-head-d8da-batch-size-20"
    assert Path(f"{stem}-curves.png").is_file()
    assert Path(f"{stem}-heatmap.pdf").is_file()
    found = repsim.SimilarityMap.load(f"{stem}.json")
    run = Run(inside / "runs" / "simclr")
    images = load("digits", "test[:40]")
    expected = invariance(
        run.load_extractor(), images, AUGMENT, layers="pooled,head", batch_size=20
    )
    assert np.allclose(found.unbiased, expected.unbiased, atol=1e-9)
    assert found.provenance["a"]["split"] == "test[0:40]"
    assert found.provenance["batch_size"] == 20
    # Its own augmentation is the standard one here, and the file another.
    assert run_command(*command, "--augmentation", "own") == 0
    own = repsim.SimilarityMap.load(
        inside / "results" / "invariance-simclr-own-test-40-pooled-head-d8da-batch-size-20.json"
    )
    assert np.array_equal(own.unbiased, found.unbiased)
    assert "simclr's own augmentation" in capsys.readouterr().out


def test_runs_on_the_same_augmented_images(inside: Path) -> None:
    arguments = ("--augmentation", "supervised", "--split", "test[:40]", "--layers", "pooled,head")
    assert run_command("cka", "--a", "simclr", "--b", "untrained", *arguments) == 0
    name = "cka-simclr-untrained-supervised-test-40-pooled-head-d8da.json"
    found = repsim.SimilarityMap.load(inside / "results" / name)
    assert (found.name_a, found.name_b) == ("simclr", "untrained")
    assert found.augmented == ", supervised augmentation"
    assert found.provenance["b"]["method"] == "supervised"


def test_a_run_against_its_classes(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("classes", "simclr", "--split", "test[:50]")
    assert run_command(*command, "--layers", "pooled,head", "--permutations", 19) == 0
    out = capsys.readouterr().out
    assert "CKA with the classes" in out
    assert "averaged maps" in out
    assert "p, all pairs" in out
    stem = inside / "results" / "classes-simclr-test-50-pooled-head-d8da-permutations-19"
    assert Path(f"{stem}-curves.pdf").is_file()
    assert not Path(f"{stem}-heatmap.pdf").exists()
    found = repsim.SimilarityMap.load(f"{stem}.json")
    file = inside / "runs" / "simclr" / "activations" / "digits-test.0-50.h5"
    with repsim.open_store(file) as store:
        hot = np.eye(10)[store.labels]
        expected = repsim.cka(store.rows("pooled", 0, 50), hot)
    at = found.layers_a.index("pooled")
    assert found.unbiased[at, 0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("cka --a simclr --invariance", "a command of its own now: repsim invariance RUN"),
        ("cka --invariance", "a command of its own now: repsim invariance RUN"),
        ("cka --a simclr --against-classes", "a command of its own now: repsim classes RUN"),
        ("invariance simclr --b untrained", "there is no option --b"),
        ("invariance simclr --permutations 9", "there is no option --permutations"),
        ("invariance simclr --batch-size 4", "--batch-size is 4; expected at least 8"),
        ("invariance simclr --augmentation blur", "'blur' is not one of"),
        ("invariance simclr --split test[:40] --layers nowhere", "nowhere"),
        ("invariance simclr@nowhere --split test[:40]", "nowhere"),
        ("classes simclr --augmentation none --permutations 9", "permutations need all examples"),
        ("cka --a simclr --augmentation own --estimator biased", "no biased estimate"),
        ("cka --a simclr --measure cka", "there is no option --measure"),
        ("similarity --a simclr --measure procrustes", "repsim.measures.procrustes_distance"),
        ("invariance gan --augmentation own", "no augmentation of its own"),
        ("invariance store.h5", "store.h5 has stored activations only"),
        ("classes layer.npy", "layer has no labels"),
        ("invariance simcrl", "in runs, and no network in activations; did you mean 'simclr'"),
    ],
)
def test_mistakes_are_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    np.save("layer.npy", np.eye(5))
    one_line(run_command(*command.split()), message, capsys)


def one_line(status: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = capsys.readouterr()
    assert status == 2, err
    assert out == ""
    (line,) = err.strip().splitlines()
    assert message in line


# Examples and networks of a stream


def test_passes_of_a_loader_are_found_by_ids_or_by_inputs() -> None:
    loader = ShuffledLoader(DIGITS, batch_size=32)
    once = repsim.compare(network(), network(), loader)
    assert (once.n, once.freedom.flat[0]) == (96, 2)  # type: ignore[union-attr]
    twice = [*loader, *ShuffledLoader(DIGITS, batch_size=32, seed=1)]
    for batches in (twice, [(images,) for images, *_ in twice]):
        found = repsim.compare(network(), network(), batches)
        assert (found.n, found.freedom.flat[0]) == (96, 4)  # type: ignore[union-attr]
        assert found.notes["passes"].startswith("192 rows are of 96 different examples")
    augmented = [
        batch for seed in (0, 1) for batch in ShuffledLoader(DIGITS, AUGMENT, 32, seed=seed)
    ]
    assert repsim.compare(network(), network(), augmented).n == 96  # by their ids
    assert invariance(network(), DIGITS, AUGMENT, batch_size=32).n == 96


def test_maps_carry_digests_of_their_networks() -> None:
    one, other = network(), network()
    with torch.no_grad():
        other[-1].weight.add_(0.1)
    loader = ShuffledLoader(DIGITS, batch_size=32)
    ((a, b),) = repsim.compare(one, other, loader, name_a="x", name_b="x").networks
    assert (a, b) == (network_digest(one), network_digest(other))
    assert a != b
    assert repsim.compare(other, one, loader).networks == ((b, a),)
    assert invariance(one, DIGITS, AUGMENT, batch_size=32).networks == ((a, a),)
    assert compare_classes(one, DIGITS, batch_size=32).networks == ((a,),)
