"""Probes against scikit-learn, their held-out split, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.probes import probe, stratified_split
from repsim.probes.logistic import fit_logistic
from repsim.probes.rows import Rows


def blobs(rng: np.random.Generator, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Three overlapping classes in six features of different sizes."""
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 6)) + 1.2 * rng.normal(size=(3, 6))[labels]
    return x * np.geomspace(0.01, 100, 6) + 5, labels


# --- logistic regression


@pytest.mark.parametrize("l2", [1e-1, 1e-2, 1e-3])
def test_logistic_regression_is_that_of_scikit_learn(l2: float, rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    fitted = fit_logistic(Rows.of(x), torch.tensor(y), 3, l2=l2, tolerance=1e-12)
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
    short = fit_logistic(Rows.of(x), torch.tensor(y), 3, max_iterations=2)
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
    assert found.classes == 5
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
    ],
)
def test_errors_name_the_argument(
    x: Any, y: Any, options: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        probe(x, y, **options)
