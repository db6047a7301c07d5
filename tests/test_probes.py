"""Probes against scikit-learn, their held-out split, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from repsim.confidence import wilson
from repsim.errors import (
    DegenerateError,
    MismatchError,
    NonFiniteError,
    RepsimWarning,
    ShapeError,
    UsageError,
)
from repsim.probes import SCHEDULES, probe, stratified_split
from repsim.probes.features import BLOCK, Features
from repsim.probes.logistic import LADDER, fit_logistic
from repsim.probes.splits import label_subset, permuted


def blobs(rng: np.random.Generator, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping classes in six features of different sizes."""
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 6)) + 1.2 * rng.normal(size=(3, 6))[labels]
    return x * np.geomspace(0.01, 100, 6) + 5, labels


# --- logistic regression


@pytest.mark.parametrize("l2", [1e-1, 1e-2, 1e-3])
def test_logistic_regression_is_that_of_scikit_learn(l2: float, rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    fitted = fit_logistic(Features.of(x), torch.tensor(y), 3, l2=l2, tolerance=1e-12)
    z = StandardScaler().fit_transform(x)
    reference = LogisticRegression(C=1 / (len(x) * l2), tol=1e-10, max_iter=10_000).fit(z, y)

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        logits = torch.tensor(z @ weight.T + bias)
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
        return float(loss) + l2 / 2 * float(np.square(weight).sum())

    weight, bias = fitted.weight.numpy(), fitted.bias.numpy()
    # The objective is l2-strongly convex in W: |W - W*| ≤ |gradient| / l2, both solvers' added.
    assert weight == pytest.approx(reference.coef_, abs=1e-4)
    assert objective(weight, bias) <= objective(reference.coef_, reference.intercept_) + 1e-12
    assert np.array_equal(fitted.predict(torch.tensor(x)).numpy(), reference.predict(z))
    assert fitted.gradient <= 1e-6


def test_a_probe_converges_to_its_tolerance_and_says_so(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    assert probe(x, y).converged
    short = fit_logistic(Features.of(x), torch.tensor(y), 3, max_iterations=2)
    assert not short.converged
    assert short.gap > 1e-7
    assert short.iterations <= 2


def test_scale_and_shift_of_the_features_do_not_matter(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    moved = x * np.geomspace(1e-4, 1e4, 6) + 100 * rng.normal(size=6)
    assert torch.equal(probe(x, y).predictions, probe(moved, y).predictions)


def test_maps_are_flattened_and_float32_serves(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    flat = probe(x, y)
    assert torch.equal(probe(x.reshape(-1, 2, 3), y).predictions, flat.predictions)
    assert torch.equal(probe(torch.tensor(x.astype(np.float32)), y).predictions, flat.predictions)


def test_a_feature_constant_in_training_decides_nothing(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    x[:, -1] = 0.1
    changed = x + np.eye(6)[-1]
    before, after = (probe(x, y, test_features=test, test_labels=y) for test in (x, changed))
    assert torch.equal(after.predictions, before.predictions)


def test_separable_classes_are_separated_without_divergence(rng: np.random.Generator) -> None:
    y = np.arange(60) % 2
    x = rng.normal(size=(60, 4)) + 20 * y[:, None]
    found = probe(x, y)
    assert (found.accuracy, found.train_accuracy, found.converged) == (1, 1, True)


def test_a_class_without_training_examples_is_only_missed(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    y = 2 * y  # classes 0, 2 and 4
    found = probe(x[:100], y[:100], test_features=x[100:], test_labels=y[100:])
    assert (found.classes, found.labels.tolist()) == (3, [0, 2, 4])
    assert len(found.per_class) == 5
    assert torch.equal(found.per_class.isnan(), torch.tensor([False, True, False, True, False]))
    assert found.converged
    assert set(found.predictions.tolist()) <= {0, 2, 4}


def test_random_labels_leave_chance(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2000, 5)), rng.integers(0, 4, 2000)
    # 400 held-out examples: a standard error of 2.2 %.
    assert probe(x, y).accuracy == pytest.approx(0.25, abs=0.08)


# --- nearest neighbours


@pytest.mark.parametrize("k", [1, 5, 8])
def test_neighbours_are_those_of_scikit_learn(k: int, rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    found = probe(x[:100], y[:100], test_features=x[100:], test_labels=y[100:], solver="knn", k=k)
    reference = KNeighborsClassifier(k, algorithm="brute").fit(x[:100], y[:100])
    assert np.array_equal(found.predictions.numpy(), reference.predict(x[100:]))
    assert found.accuracy == pytest.approx(reference.score(x[100:], y[100:]), abs=1e-15)
    assert found.train_accuracy is None


def test_neighbours_far_from_the_origin_are_still_told_apart(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(150, 6)), np.arange(150) % 3
    near = probe(x, y, solver="knn").predictions
    assert torch.equal(probe(x + 1e7, y, solver="knn").predictions, near)


# --- the held-out split


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_a_split_takes_its_fraction_of_every_class(fraction: float) -> None:
    labels = torch.tensor([0] * 50 + [3] * 20 + [1] * 100)
    kept, held = stratified_split(labels, fraction=fraction, seed=0)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(170))
    for label, count in ((0, 50), (1, 100), (3, 20)):
        assert int((labels[held] == label).sum()) == round(fraction * count)


def test_a_split_holds_out_at_least_one_of_every_class() -> None:
    _, held = stratified_split(torch.tensor([0, 0, 1, 1, 1]), fraction=0.01, seed=0)
    assert len(held) == 2


def test_a_split_follows_its_seed() -> None:
    labels = torch.arange(100) % 4
    first, again, other = (stratified_split(labels, fraction=0.2, seed=s)[1] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_probe_without_held_out_features_holds_out_a_fifth(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    found = probe(x, y, seed=3, l2=1e-3)
    kept, held = (part.numpy() for part in stratified_split(torch.tensor(y), fraction=0.2, seed=3))
    explicit = probe(x[kept], y[kept], test_features=x[held], test_labels=y[held], l2=1e-3)
    assert (found.n_train, found.n_test) == (len(kept), len(held))
    assert torch.equal(found.predictions, explicit.predictions)
    assert found.accuracy == float(np.mean(found.predictions.numpy() == y[held]))


# --- the choice of a strength


def noisy(rng: np.random.Generator, n: int = 400, p: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Many features for few examples: weak penalties overfit."""
    labels = rng.integers(0, 3, n)
    return rng.normal(size=(n, p)) + 0.25 * rng.normal(size=(3, p))[labels], labels


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_a_strength_is_chosen_without_the_test_set(solver: Any, rng: np.random.Generator) -> None:
    x, y = noisy(rng)
    first = probe(x[:300], y[:300], test_features=x[300:], test_labels=y[300:], solver=solver)
    shuffled = rng.permutation(y[300:])
    second = probe(x[:300], y[:300], test_features=-x[300:], test_labels=shuffled, solver=solver)
    assert (first.l2, first.path) == (second.l2, second.path)


def test_the_strength_is_the_best_of_the_validation_split(rng: np.random.Generator) -> None:
    x, y = noisy(rng)
    found = probe(x, y, test_features=x, test_labels=y, seed=5)
    best = max(found.path, key=lambda each: (each.accuracy, -each.cross_entropy))
    assert found.l2 == best.l2
    assert [each.l2 for each in found.path] == list(LADDER[: len(found.path)])
    kept, held = (part.numpy() for part in stratified_split(torch.tensor(y), fraction=0.2, seed=5))
    for each in found.path:
        fitted = fit_logistic(Features.of(x[kept]), torch.tensor(y[kept]), 3, l2=each.l2)
        predicted = fitted.predict(torch.tensor(x[held])).numpy()
        assert each.accuracy == pytest.approx(np.mean(predicted == y[held]), abs=1e-12)
    # The fit with it is on all examples.
    again = probe(x, y, test_features=x, test_labels=y, l2=found.l2)
    assert torch.equal(again.predictions, found.predictions)
    assert found.n_train == 400


def test_a_path_ends_where_weaker_penalties_overfit(rng: np.random.Generator) -> None:
    x, y = noisy(rng)
    losses = [float(each.cross_entropy) for each in probe(x, y).path]
    assert 3 <= len(losses) < len(LADDER)
    assert losses[-3] < losses[-2] < losses[-1]
    rises = [a < b < c for a, b, c in zip(losses, losses[1:], losses[2:], strict=False)]
    assert not any(rises[:-1])


def test_strengths_of_ridge_probes_are_tried_on_examples_left_out(
    rng: np.random.Generator,
) -> None:
    x, y = noisy(rng)
    found = probe(x, y, solver="ridge")
    best = min(found.path, key=lambda each: each.error)
    assert found.l2 == best.l2
    assert {each.cross_entropy for each in found.path} == {None}


def test_a_given_strength_is_taken(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    for solver in ("lbfgs", "ridge"):
        assert probe(x, y, solver=solver, l2=0.5).l2 == 0.5  # type: ignore[arg-type]
    assert probe(x, y, solver="knn").l2 is None


# --- label fractions, and labels at random


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5])
def test_a_label_fraction_is_of_every_class(fraction: float) -> None:
    labels = torch.tensor([0] * 200 + [1] * 100 + [4] * 3)
    index = label_subset(labels, fraction=fraction, seed=0)
    counts = torch.bincount(labels[index], minlength=5).tolist()
    assert counts == [
        round(200 * fraction),
        round(100 * fraction),
        0,
        0,
        max(1, round(3 * fraction)),
    ]
    assert index.tolist() == sorted(set(index.tolist()))
    assert not torch.equal(index, label_subset(labels, fraction=fraction, seed=1))
    assert torch.equal(index, label_subset(labels, fraction=fraction, seed=0))


@pytest.mark.parametrize("solver", ["lbfgs", "ridge", "knn", "sgd", "mlp"])
def test_a_probe_of_a_fraction_sees_no_more(solver: Any, rng: np.random.Generator) -> None:
    x, y = blobs(rng, 300)
    held = {"test_features": x[200:], "test_labels": y[200:]}
    index = label_subset(torch.tensor(y[:200]), fraction=0.2, seed=3).numpy()
    found = probe(x[:200], y[:200], **held, solver=solver, label_fraction=0.2, seed=3)
    explicit = probe(x[index], y[index], **held, solver=solver, seed=3)
    assert found.n_train == len(index)
    assert torch.equal(found.predictions, explicit.predictions)


@pytest.mark.parametrize("solver", ["lbfgs", "ridge"])
def test_random_labels_are_memorised_but_not_found_again(
    solver: Any, rng: np.random.Generator
) -> None:
    """With more features than examples a linear probe can learn any labels."""
    y = rng.integers(0, 4, 600)
    x = rng.normal(size=(600, 300)) + 3 * rng.normal(size=(4, 300))[y]
    held = {"test_features": x[150:], "test_labels": y[150:]}
    true = probe(x[:150], y[:150], **held, solver=solver, l2=1e-4)
    control = probe(x[:150], y[:150], **held, solver=solver, l2=1e-4, random_labels=True)
    assert true.accuracy > 0.95
    assert control.train_accuracy == 1.0
    # The class means keep some of a permutation's chance: 450 examples, four classes.
    assert control.accuracy == pytest.approx(0.25, abs=0.15)


def test_a_permutation_keeps_the_labels_and_follows_its_seed() -> None:
    labels = torch.arange(100) % 4
    first, again, other = (permuted(labels, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.sort().values, labels.sort().values)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((first == labels).double().mean()) < 0.5


# --- intervals


@pytest.mark.parametrize("n", [1, 7, 100, 10_000])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_intervals_are_those_of_scipy(n: int, level: float) -> None:
    for k in sorted({0, 1, n // 3, n - 1, n}):
        found = wilson(k / n, n, level=level)
        expected = binomtest(k, n).proportion_ci(level, method="wilson")
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0 <= found[0] <= k / n <= found[1] <= 1


@pytest.mark.parametrize("solver", ["lbfgs", "knn"])
def test_a_result_has_its_interval_and_its_classes(solver: Any, rng: np.random.Generator) -> None:
    x, y = blobs(rng, 300)
    found = probe(x, y, test_features=x[:90], test_labels=y[:90], solver=solver, l2=10.0)
    assert (found.low, found.high) == wilson(found.accuracy, 90)
    assert torch.equal(found.correct, found.predictions == torch.tensor(y[:90]))
    for k in range(3):
        of = torch.tensor(y[:90] == k)
        assert float(found.per_class[k]) == float(found.correct[of].double().mean())


def test_a_class_without_test_examples_has_no_accuracy(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    found = probe(x, y, test_features=x[y > 0], test_labels=y[y > 0])
    assert torch.isnan(found.per_class).tolist() == [True, False, False]


@pytest.mark.parametrize(("solver", "schedule"), [("sgd", "mao2022"), ("mlp", "mlp")])
def test_probes_by_epochs_have_an_accuracy_after_each(
    solver: Any, schedule: str, rng: np.random.Generator
) -> None:
    x, y = blobs(rng, 200)
    options: Any = {"solver": solver, "schedule": schedule, "hidden": 8}
    found = probe(x, y, **options)
    assert len(found.history) == SCHEDULES[schedule].epochs
    assert found.history[-1] == found.accuracy
    # Labels with gaps, some of which only the held-out examples have.
    with pytest.warns(RepsimWarning, match="are of classes that no training example has"):
        held = probe(
            x[:150], 2 * y[:150], test_features=x[150:], test_labels=2 * y[150:] + 2, **options
        )
    assert held.history[-1] == held.accuracy


@pytest.mark.parametrize("solver", ["lbfgs", "ridge", "knn"])
def test_converged_probes_have_no_epochs(solver: Any, rng: np.random.Generator) -> None:
    assert probe(*blobs(rng), solver=solver).history == ()


# --- features larger than memory


@pytest.mark.parametrize("solver", ["lbfgs", "ridge", "knn", "sgd", "mlp"])
def test_features_that_do_not_fit_in_memory_are_probed_alike(
    solver: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(rng, 5000)
    held = {"test_features": x[4000:], "test_labels": y[4000:]}
    options = {"schedule": "kolesnikov2019"} if solver == "sgd" else {}
    whole = probe(x[:4000], y[:4000], **held, solver=solver, **options)
    for module in ("features", "knn", "sgd"):
        limit = f"repsim.probes.{module}.default_memory"
        monkeypatch.setattr(limit, lambda device: 4000 * 6 * 8 // 4)
    largest = 0
    blocks = Features.blocks

    def watched(self: Features) -> Any:
        nonlocal largest
        for where, block in blocks(self):
            largest = max(largest, len(block))
            yield where, block

    monkeypatch.setattr(Features, "blocks", watched)
    parts = probe(x[:4000], y[:4000], **held, solver=solver, **options)
    assert 0 < largest <= BLOCK
    same = float((parts.predictions == whole.predictions).double().mean())
    # SGD meets its examples in another order.
    assert same > 0.97 if solver in ("sgd", "mlp") else same == 1
    assert parts.l2 == whole.l2


# --- errors

X, Y = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
HELD = {"test_features": X, "test_labels": Y}


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (X, Y[:9], {}, ShapeError, r"features have shape \(30, 4\), labels \(9,\)"),
        (X[:, 0], Y, {}, ShapeError, r"features have shape \(30,\)"),
        (X, Y[:, None], {}, ShapeError, r"labels \(30, 1\); expected \(n, ...\) and \(n,\)"),
        (X[:0], Y[:0], {}, ShapeError, r"features have shape \(0, 4\)"),
        (X, Y / 2, {}, ShapeError, "labels must be integers from 0"),
        (X, Y - 1, {}, ShapeError, "labels must be integers from 0"),
        (X, Y, {**HELD, "test_labels": Y[:9]}, ShapeError, r"test_features .*, test_labels \(9,\)"),
        (X, Y, {**HELD, "test_features": X[:, :3]}, ShapeError, "have 4 columns, test_features 3"),
        (X, Y, {"test_features": X}, ShapeError, "test_features came without test_labels"),
        (X * np.nan, Y, {}, NonFiniteError, "^features hold NaN or infinity"),
        (X, Y, {**HELD, "test_features": X * np.inf}, NonFiniteError, "^test_features hold NaN"),
        (X, 0 * Y, {}, DegenerateError, "fewer than two classes"),
        (X, Y, {"solver": "lbgfs"}, UsageError, "unknown solver 'lbgfs'; did you mean 'lbfgs'"),
        (X, Y, {"solver": "knn", "k": 0}, UsageError, "k is 0; expected 1 to 24"),
        (X, Y, {"solver": "knn", "k": 25}, UsageError, "k is 25; expected 1 to 24"),
        (X, Y, {"l2": 0.0}, UsageError, "l2 is 0.0; expected above 0, such as 0.001"),
        (X, Y, {"l2": float("nan")}, UsageError, "l2 is nan"),
        (X, Y, {"label_fraction": 0.0}, UsageError, "label_fraction is 0.0; expected above 0"),
        (X, Y, {"label_fraction": 1.5}, UsageError, "label_fraction is 1.5; .* at most 1"),
        (X, Y, {"solver": "sgd", "schedule": "mao"}, UsageError, "unknown schedule 'mao'; did"),
        (X, Y, {"solver": "mlp", "hidden": 0}, UsageError, "hidden is 0"),
        (X, Y, {"solver": "mlp", "dropout": 1.0}, UsageError, "dropout is 1.0"),
        (X, Y, {"schedule": "mao2022"}, UsageError, "schedule 'mao2022' is for sgd or mlp"),
    ],
)
def test_errors_name_the_argument(
    x: Any, y: Any, options: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        probe(x, y, **options)


# --- few examples, large labels, other input


def test_labels_may_be_large_and_have_gaps(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    plain = probe(x, y)
    found = probe(x, np.array([0, 7, 100_000])[y])
    assert found.accuracy == plain.accuracy
    assert (found.classes, found.labels.tolist()) == (3, [0, 7, 100_000])
    assert torch.equal(found.predictions, found.labels[plain.predictions])
    assert torch.equal(found.predict(x), found.labels[plain.predict(x)])


def test_one_example_of_each_class_is_enough_to_train(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    held = {"test_features": x, "test_labels": y}
    first = [int(np.flatnonzero(y == k)[0]) for k in range(3)]
    found = probe(x[first], y[first], **held)
    assert (found.n_train, found.l2, found.path) == (3, 1e-3, [])  # none is left to choose with
    few = probe(x, y, label_fraction=1e-9, **held)
    assert few.n_train == 3
    assert few.accuracy > 1 / 3


def test_a_class_of_one_is_kept_for_training() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 1])
    kept, held = stratified_split(labels, fraction=0.2, seed=0)
    assert 5 in kept.tolist()
    assert labels[held].tolist() == [0]


def test_a_probe_refuses_features_of_another_width(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    with pytest.raises(ShapeError, match="3 columns, the probe was trained on 6"):
        probe(x, y).predict(x[:, :3])


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (
            X,
            list("ab" * 15),
            {},
            UsageError,
            "labels: it holds text; .* number the classes",
        ),
        (X, 1j * Y, {}, UsageError, "labels: it holds complex numbers"),
        (None, Y, {}, UsageError, "features: it holds Python objects"),
        (X, Y, {"test_labels": Y}, ShapeError, "test_labels came without test_features"),
        (X, Y, {"seed": -1}, UsageError, "seed is -1; expected a whole number"),
        (X, Y, {"seed": 1 << 64}, UsageError, "expected a whole number from 0"),
        (1e-200 * X, Y, {}, NonFiniteError, "squares of the features vanish"),
    ],
)
def test_nonsense_gets_one_line(x: Any, y: Any, options: dict, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        probe(x, y, **options)


def test_labels_of_any_integer_type_serve(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    assert probe(x, y.astype(np.uint64)).accuracy == probe(x, y).accuracy


def test_test_labels_of_another_coding_are_refused_and_single_classes_said() -> None:
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    other = {"test_features": x[40:], "test_labels": y[40:] + 5}
    with pytest.raises(MismatchError, match="no held-out label is a class .*: 5, 6 against 0, 1;"):
        probe(x[:40], y[:40], **other)
    y[50:] = 9
    with pytest.warns(RepsimWarning, match=r"10 of 20 held-out .* no training example has \(9\)"):
        found = probe(x[:40], y[:40], test_features=x[40:], test_labels=y[40:])
    assert found.unseen == 10
    assert found.accuracy == float(found.correct[:10].sum()) / 20
    assert probe(x[:40], y[:40], test_features=x[40:50], test_labels=y[40:50]).unseen == 0


def test_features_or_classes_that_nothing_can_be_learned_from_are_refused() -> None:
    y = torch.arange(60) % 2
    for solver in ("lbfgs", "ridge", "knn"):
        with pytest.raises(DegenerateError, match="the features are the same for every example;"):
            probe(torch.ones(60, 3), y, solver=solver)
    with pytest.raises(DegenerateError, match="each of 60 labels is of a class of its own, so"):
        probe(torch.randn(60, 4), torch.arange(60))
