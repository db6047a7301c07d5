"""Several labels at once: average precision, linear classifiers, and networks judged by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import run_command
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from repsim.activations.analyses.average_precision import Parts, judge_several, several
from repsim.data import ImageSet, load
from repsim.errors import MismatchError, ShapeError, UsageError
from repsim.probes.features import Features
from repsim.probes.frozen import Frozen, Recipe, fit_rest, logits_of
from repsim.probes.logistic import LADDER, fit_logistic, fit_path
from repsim.probes.problems import SeveralLabels
from repsim.probes.several import (
    Best,
    Reading,
    average_precisions,
    check_labels,
    fit_several,
    mean_average_precision,
)
from repsim.results import Table

#: Scenes of 16 x 16 pixels.
SCENES = "scenes:base=digits,clutter=0,most=2,scenes=400"


def labelled(n: int, p: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows whose columns of zeros and ones follow noisy linear rules, float64."""
    rng = np.random.default_rng(seed)
    rule = np.random.default_rng(99).normal(size=(p, k))
    x = rng.normal(size=(n, p))
    y = x @ rule + rng.logistic(size=(n, k)) * 2 > 1
    return torch.tensor(x), torch.tensor(y).to(torch.uint8)


def parts() -> Parts:
    splits = ("train", "validation", "test")
    return Parts(*(load(SCENES, split, image_size="own") for split in splits))


class Shown(nn.Module):
    """Pixels of scenes as features, through a layer that may forget them."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(256, 256, bias=False))
        self.last = nn.Sequential(nn.Linear(256, 256, bias=False), nn.ReLU())
        with torch.no_grad():
            self.first[1].weight.copy_(scale * torch.eye(256))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))

    def layer_names(self) -> list[str]:
        return ["first", "last"]


# --- average precision


def test_average_precision_is_that_of_scikit_learn_over_the_classes_that_occur() -> None:
    x, y = labelled(200, 4, 3)
    y[:, 1] = 0
    found = average_precisions(x[:, :3], y)
    assert np.isnan(found[1])
    expected = [average_precision_score(y[:, k], x[:, k]) for k in (0, 2)]
    assert [found[0], found[2]] == pytest.approx(expected)
    assert mean_average_precision(x[:, :3], y) == pytest.approx(np.mean(expected))


def test_average_precision_by_hand() -> None:
    """Ones at the first and the third rank: (1/1 + 2/3) / 2."""
    scores = torch.tensor([[0.9], [0.8], [0.7], [0.1]])
    labels = torch.tensor([[1], [0], [1], [0]], dtype=torch.uint8)
    assert average_precisions(scores, labels) == pytest.approx([5 / 6])


# --- logistic regression of columns


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_each_column_is_a_logistic_regression_of_its_own(l2: float) -> None:
    x, y = labelled(600, 8, 3)
    found = fit_logistic(Features.of(x), y, 3, l2=l2, tolerance=1e-12)
    assert found.converged
    z = ((x - found.standard.mean) / found.standard.scale).numpy()
    for k in range(3):
        theirs = LogisticRegression(C=1 / (len(x) * l2), tol=1e-10, max_iter=10_000)
        theirs.fit(z, y[:, k].numpy())
        assert found.weight[k].numpy() == pytest.approx(theirs.coef_[0], abs=1e-5)
        assert float(found.bias[k]) == pytest.approx(float(theirs.intercept_[0]), abs=1e-5)


def test_the_gradient_of_several_labels_is_that_of_its_value() -> None:
    x, y = labelled(50, 3, 4)
    problem = SeveralLabels(Features.of(x), y, 4)
    weights = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, gradient = problem.value(weights, 0.1)
    for place in ((0, 0), (2, 1), (3, 3)):
        step = torch.zeros_like(weights)
        step[place] = 1e-6
        up, down = (float(problem.value(weights + sign * step, 0.1)[0]) for sign in (1, -1))
        assert float(gradient[place]) == pytest.approx((up - down) / 2e-6, rel=1e-5)


def test_labels_of_another_shape_are_refused() -> None:
    x, y = labelled(50, 3, 4)
    with pytest.raises(ShapeError, match=r"labels of shape \(50, 4\) came with 50 rows; expected"):
        fit_logistic(Features.of(x), y, 3)


def test_the_strength_that_judges_the_validation_part_best_is_chosen() -> None:
    (x, y), (held, labels) = labelled(60, 100, 2), labelled(1500, 100, 2, seed=1)
    found = fit_several(Features.of(x), y, Features.of(held), labels)
    scores = {
        each.l2: mean_average_precision(each.logits(held), labels)
        for each in fit_path(Features.of(x), y, 2, LADDER, tolerance=1e-6)
    }
    assert found.score == pytest.approx(max(scores.values()), abs=2e-3)
    assert found.score > scores[LADDER[0]] + 0.01
    fixed = fit_several(Features.of(x), y, Features.of(held), labels, l2=0.003)
    assert fixed.fitted.l2 == 0.003


def test_a_class_that_all_or_no_images_have_is_refused() -> None:
    y = torch.tensor([[1, 0], [1, 1]], dtype=torch.uint8)
    with pytest.raises(UsageError, match="all of 2 images of x train have 'a'; expected at least"):
        check_labels(y, ("a", "b"), "x train")
    with pytest.raises(UsageError, match="none of 2 images of x train have 'a'"):
        check_labels(1 - y, ("a", "b"), "x train")


# --- networks


def test_a_classifier_reads_any_layer_and_its_network_is_left_as_it_was() -> None:
    network, x = Shown(), torch.randn(3, 1, 16, 16)
    reading = Reading(network, "first", 256, 10, seed=3)
    assert torch.equal(reading(x), reading.classifier(network.first(x)))
    twin = Reading(network, "first", 256, 10, seed=3)
    assert torch.equal(twin.classifier.weight, reading.classifier.weight)
    reading.network.first[1].weight.data.zero_()
    assert float(network.first[1].weight.detach().abs().sum()) > 0
    assert not network.first._forward_hooks

    class Two(nn.Sequential):
        def forward(self, x: Tensor) -> Any:
            return x, x

    wrapped = Reading(nn.Sequential(Two(), nn.Identity()), "0", 3, 2)
    with pytest.raises(UsageError, match="layer '0' gives a tuple; expected a tensor"):
        wrapped(x)


def test_frozen_parts_stay_and_the_others_learn_zeros_and_ones() -> None:
    train = load(SCENES, "train", image_size="own")
    reading = Reading(Shown(), "last", 256, 10)
    frozen = Frozen.of(reading, reading, ["network.first.0", "network.first.1"])
    before = {name: value.clone() for name, value in frozen.network.state_dict().items()}
    epochs: list[int] = []
    scores = mean_average_precision(logits_of(frozen.network, train), several(train))
    recipe = Recipe(epochs=4, batch_size=50)
    fit_rest(frozen, train, several(train), recipe, after_epoch=epochs.append)
    assert epochs == [1, 2, 3, 4]
    after = frozen.network.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"network.last.0.weight", "classifier.weight", "classifier.bias"}
    assert mean_average_precision(logits_of(frozen.network, train), several(train)) > scores + 0.1


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    network = nn.Linear(1, 1)
    best = Best(network)
    for epoch, score in enumerate([0.1, 0.5, 0.5, 0.3], start=1):
        network.weight.data.fill_(epoch)
        best.offer(epoch, score)
    best.restore()
    assert (best.epoch, best.score, network.weight.item()) == (2, 0.5, 2.0)


def test_features_that_show_the_objects_are_read_and_others_at_chance() -> None:
    given, recipe = parts(), Recipe(epochs=3, batch_size=50)
    good, none = (
        {each.trained: each for each in judge_several(Shown(scale), given, recipe=recipe)}
        for scale in (1.0, 0.0)
    )
    assert list(good) == ["classifier", "after first", "all"]
    chance = float(several(given.test).double().mean())
    assert good["classifier"].mean > 1.5 * chance
    assert good["classifier"].choice.startswith("l2 ")
    # Of a layer of zeros all scores are the same: each class has its share of ones.
    assert none["classifier"].mean == pytest.approx(chance)
    assert none["after first"].mean == pytest.approx(chance)
    assert none["all"].choice.startswith("epoch ")


def test_a_network_is_judged_alike_each_time_and_left_as_it_was() -> None:
    network, given, recipe = Shown(), parts(), Recipe(epochs=1, batch_size=50)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    one, again = (judge_several(network, given, layers="last", recipe=recipe) for _ in range(2))
    assert one == again
    assert [each.trained for each in one] == ["classifier", "all"]
    assert all(torch.equal(value, before[n]) for n, value in network.state_dict().items())


def test_labels_of_one_class_and_parts_that_share_images_are_refused() -> None:
    digits = load("digits", "train[:50]")
    with pytest.raises(UsageError, match="digits has one class an image in target 'label'; expec"):
        several(digits)
    scenes = load(SCENES, "train", target="count")
    with pytest.raises(UsageError, match="choose objects with --target"):
        several(scenes)
    bare = ImageSet("bare", "train", digits.images, (), digits.ids)
    with pytest.raises(UsageError, match="bare has no labels; expected rows of zeros and ones"):
        several(bare)
    whole = load(SCENES, "train")
    with pytest.raises(MismatchError, match="choose another --split, --validation-split"):
        Parts(whole, whole, load(SCENES, "test"))


def test_the_command_judges_runs_and_own_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a network of digits: scenes are shown to it at the size of a digit."""
    monkeypatch.chdir(tmp_path)
    small = ("--image-size", "own", "--network", "mlp", "--width", 8, "--sheet", 0)
    shown = ("--data", "digits", "--split", "train[:200]", "--epochs", 1, "--batch-size", 50)
    assert run_command("train", "autoencoder", *shown, *small) == 0
    capsys.readouterr()
    judged = ("average-precision", "autoencoder", "--epochs", 1)
    assert run_command(*judged, "--data", "scenes:base=digits,scenes=200") == 0
    out = capsys.readouterr().out
    assert "after hidden2" in out
    (path,) = Path("results").glob("*.json")
    table = Table.load(path)
    assert [row["trained"] for row in table.rows()] == ["classifier", "after hidden2", "all"]
    assert table.provenance["target"] == "objects"
    row = table.rows()[0]
    each = [row[f"AP of {digit}"] for digit in range(10)]
    assert row["mAP"] == pytest.approx(np.nanmean(each))
    assert run_command(*judged) == 2
    assert "validation" in capsys.readouterr().err
