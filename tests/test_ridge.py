"""Ridge probes against scikit-learn, and against fits that really leave examples out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifierCV, RidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.probes.features import Features
from repsim.probes.ridge import STRENGTHS, fit_ridge

LADDER = (1e-4, 1e-2, 0.1, 1.0, 10.0)
SHAPES = [(90, 7), (40, 40), (41, 40), (30, 75)]  # both forms, and where they meet


def blobs(rng: np.random.Generator, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, 3, n)
    x = rng.normal(size=(n, p)) + 0.8 * rng.normal(size=(3, p))[labels]
    return x * np.geomspace(0.01, 100, p) + 5, labels


def fit(x: Any, y: Any, **options: Any) -> Any:
    return fit_ridge(Features.of(x), torch.as_tensor(y), int(max(y)) + 1, **options)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("strength", LADDER)
def test_weights_are_those_of_scikit_learn(
    n: int, p: int, strength: float, rng: np.random.Generator
) -> None:
    x, y = blobs(rng, n, p)
    z = StandardScaler().fit_transform(x)
    reference = Ridge(alpha=n * strength, solver="svd").fit(z, np.eye(3)[y])
    found = fit(x, y, strengths=[strength])
    assert found.weight.numpy() == pytest.approx(reference.coef_, abs=1e-10)
    assert found.bias.numpy() == pytest.approx(reference.intercept_, abs=1e-12)
    assert np.array_equal(found.predict(torch.tensor(x)).numpy(), reference.predict(z).argmax(1))


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_errors_are_those_of_fits_that_leave_examples_out(
    n: int, p: int, rng: np.random.Generator
) -> None:
    x, y = blobs(rng, n, p)
    z, targets = StandardScaler().fit_transform(x), np.eye(3)[y]
    found = fit(x, y, strengths=LADDER)
    for k, strength in enumerate(LADDER):
        error, correct = [], []
        for i in range(n):
            rest = np.arange(n) != i
            left = Ridge(alpha=n * strength, solver="svd").fit(z[rest], targets[rest])
            predicted = left.predict(z[i : i + 1])[0]
            error.append(np.square(targets[i] - predicted).sum())
            correct.append(predicted.argmax() == y[i])
        assert float(found.loo_error[k]) == pytest.approx(np.mean(error), rel=1e-8)
        assert float(found.loo_accuracy[k]) == pytest.approx(np.mean(correct), abs=1e-12)


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_the_choice_is_that_of_scikit_learn(n: int, p: int, rng: np.random.Generator) -> None:
    x, y = blobs(rng, n, p)
    z = StandardScaler().fit_transform(x)
    found = fit(x, y)
    assert found.strengths.tolist() == pytest.approx(STRENGTHS)
    assert found.strength == STRENGTHS[int(found.loo_error.argmin())]
    alphas = n * np.array(STRENGTHS)
    reference = RidgeCV(alphas, store_cv_results=True).fit(z, np.eye(3)[y])
    assert found.strength == pytest.approx(reference.alpha_ / n)
    errors = reference.cv_results_.sum(1).mean(0)
    assert found.loo_error.numpy() == pytest.approx(errors, rel=1e-6)
    # It codes classes as 1 and -1.
    classifier = RidgeClassifierCV(alphas).fit(z, y)
    assert found.strength == pytest.approx(classifier.alpha_ / n)
    assert 2 * found.weight.numpy() == pytest.approx(classifier.coef_, abs=1e-9)
    assert np.array_equal(found.predict(torch.tensor(x)).numpy(), classifier.predict(z))


@pytest.mark.parametrize("shape", [(60, 8), (30, 75)])
def test_blocks_of_any_size_give_the_same(
    shape: tuple[int, int], rng: np.random.Generator, monkeypatch: Any
) -> None:
    x, y = blobs(rng, *shape)
    whole = fit(x, y)
    monkeypatch.setattr(Features, "held", lambda self: self)  # as if memory were short
    n = shape[0]
    reads: list[int] = []
    starts = [0, 1, 1, 20, n]

    def read(k: int) -> Tensor:
        reads.append(k)
        return torch.tensor(x[starts[k] : starts[k + 1]])

    rows = Features(read, starts, shape[1], torch.float64, torch.device("cpu"))
    parts = fit_ridge(rows, torch.tensor(y), 3)
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(parts.loo_error, whole.loo_error, rtol=1e-9, atol=0.0)
    assert torch.equal(parts.loo_accuracy, whole.loo_accuracy)
    if shape[0] > shape[1]:
        assert reads == [0, 2, 3] * 2


@pytest.mark.parametrize("shape", [(60, 8), (30, 75)])
def test_scale_and_shift_of_the_features_do_not_matter(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x, y = blobs(rng, *shape)
    moved = x * np.geomspace(1e-4, 1e4, shape[1]) + 100 * rng.normal(size=shape[1])
    before, after = fit(x, y), fit(moved, y)
    assert after.strength == before.strength
    assert after.loo_error.numpy() == pytest.approx(before.loo_error.numpy(), rel=1e-5)
    assert torch.equal(after.predict(torch.tensor(moved)), before.predict(torch.tensor(x)))


@pytest.mark.parametrize("shape", [(60, 8), (30, 75)])
def test_constant_and_equal_columns_are_no_trouble(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    x, y = blobs(rng, *shape)
    plain = fit(x, y)
    found = fit(
        np.hstack([x, x, np.full((len(x), 2), 0.1)]), y, strengths=[2 * s for s in STRENGTHS]
    )
    assert float(found.weight[:, -2:].abs().max()) < 1e-12
    # Two equal columns share their weight, and pay half of the penalty.
    torch.testing.assert_close(found.loo_error, plain.loo_error, rtol=1e-6, atol=0.0)


def test_float32_serves(rng: np.random.Generator) -> None:
    x, y = blobs(rng, 60, 8)
    x = x.astype(np.float32)
    assert torch.equal(fit(x, y).weight, fit(x.astype(np.float64), y).weight)


def test_a_class_without_training_examples_is_not_predicted(rng: np.random.Generator) -> None:
    x, y = blobs(rng, 60, 8)
    found = fit_ridge(Features.of(x), torch.tensor(2 * y), 6)
    assert set(found.predict(torch.tensor(x)).tolist()) <= {0, 2, 4}
    assert found.bias[[1, 3, 5]].tolist() == [0, 0, 0]


def test_errors_name_the_argument() -> None:
    x, y = np.random.default_rng(0).normal(size=(6, 2)), torch.tensor([0, 1] * 3)
    with pytest.raises(ShapeError, match="5 labels came with 6 training rows"):
        fit_ridge(Features.of(x), y[:5], 2)
    for strengths in ([], [1.0, 0.0], [-1.0], [float("inf")], [float("nan")]):
        with pytest.raises(UsageError, match="expected positive numbers"):
            fit(x, y, strengths=strengths)
    with pytest.raises(DegenerateError, match="leaving it out leaves none"):
        fit_ridge(Features.of(x[:1]), y[:1], 2)
    with pytest.raises(NonFiniteError, match="divide the features first"):
        fit(1e200 * x, y)
