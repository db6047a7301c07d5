"""Logistic regression: its minimum, its estimate of the gap, its coordinates, its path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from repsim.probes.curvature import Cholesky, Curvature, Leading, covariance
from repsim.probes.features import Features
from repsim.probes.logistic import LADDER, Logistic, fit_logistic, fit_path
from repsim.probes.problems import Problem


def overlapping(
    n: int, p: int, classes: int = 4, *, decay: float = 1.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Classes that overlap in all directions of correlated features, float64.

    Standard deviations along the directions fall as k^-decay: the covariance's condition is
    p^(2 decay).
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    z = rng.normal(size=(n, p)) + 0.3 * rng.normal(size=(classes, p))[y]
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    return torch.tensor((z * np.arange(1, p + 1.0) ** -decay) @ turn), torch.tensor(y)


def objective(fitted: Logistic, x: Tensor, y: Tensor) -> float:
    """Written out, in float64."""
    logits = (x.double() - fitted.standard.mean) / fitted.standard.scale @ fitted.weight.T
    loss = torch.nn.functional.cross_entropy(logits + fitted.bias, y)
    return float(loss + fitted.l2 / 2 * fitted.weight.square().sum())


def best(x: Tensor, y: Tensor, l2: float, classes: int = 4) -> Logistic:
    return fit_logistic(Features.of(x.double()), y, classes, l2=l2, tolerance=1e-12)


# --- the minimum


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_the_gap_is_what_it_says_where_features_are_ill_conditioned(l2: float) -> None:
    x, y = overlapping(1500, 60, decay=2.0)
    least = best(x, y, l2)
    assert least.converged
    for tolerance in (1e-3, 1e-5, 1e-7):
        fitted = fit_logistic(Features.of(x), y, 4, l2=l2, tolerance=tolerance)
        gap = objective(fitted, x, y) / objective(least, x, y) - 1
        assert fitted.converged
        assert fitted.gap <= tolerance
        # The curvature is that of the mean class: the estimate is right within a small factor.
        assert -1e-11 <= gap <= 10 * fitted.gap


def test_the_gradient_vanishes_at_the_minimum() -> None:
    x, y = overlapping(800, 30)
    found = best(x, y, 1e-3)
    weight, bias = found.weight.requires_grad_(), found.bias.requires_grad_()
    z = found.standard(x)
    loss = torch.nn.functional.cross_entropy(z @ weight.T + bias, y)
    (loss + 1e-3 / 2 * weight.square().sum()).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float(weight.grad.abs().max()) < 1e-6
    assert float(bias.grad.abs().max()) < 1e-6
    assert found.gradient < 1e-6


def test_the_penalty_leaves_the_bias_alone() -> None:
    x, y = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(200).long()
    y[:20] = 1
    found = fit_logistic(Features.of(x), y, 2, l2=1e6)
    assert float(found.bias[0] - found.bias[1]) == pytest.approx(np.log(9), rel=1e-3)


@pytest.mark.parametrize(("n", "p"), [(300, 1600), (1700, 1600), (100, 700)])
def test_wide_features_converge_as_well(n: int, p: int) -> None:
    x, y = overlapping(n, p)
    found = fit_logistic(Features.of(x), y, 4, l2=1e-2)
    assert found.converged
    gap = objective(found, x, y) / objective(best(x, y, 1e-2), x, y) - 1
    assert gap < 1e-6


@pytest.mark.parametrize("n", [96, 400])
def test_few_examples_that_come_often_have_a_minimum(n: int) -> None:
    """Float32 products of them have eigenvalues below -l2, as no covariance has."""
    rng = np.random.default_rng(0)
    few = torch.tensor(rng.normal(size=(4, 2)) @ rng.normal(size=(2, 128)))
    x, y = few[torch.arange(n) % 4], torch.arange(n) % 2
    fits = list(fit_path(Features.of(x), y, 2, LADDER))
    assert all(fitted.converged for fitted in fits)
    for fitted in fits:
        least = objective(best(x, y, fitted.l2, 2), x, y)
        assert objective(fitted, x, y) == pytest.approx(least, rel=1e-6)


def test_float32_serves_as_float64_does() -> None:
    x, y = overlapping(2000, 80)
    narrow = fit_logistic(Features.of(x.float()), y, 4, l2=1e-3)
    assert narrow.converged
    assert narrow.weight.dtype == torch.float64
    assert objective(narrow, x, y) / objective(best(x, y, 1e-3), x, y) - 1 < 1e-6
    assert narrow.logits(x.float()).dtype == torch.float64


def test_a_tolerance_that_float32_does_not_reach_ends_the_fit() -> None:
    x, y = overlapping(500, 20)
    found = fit_logistic(Features.of(x.float()), y, 4, tolerance=1e-30)
    assert not found.converged
    assert found.gap < 1e-7
    assert found.iterations < 1000


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("l2", [4.64e-6, 1e-6])
def test_nearly_separable_classes_converge_from_a_start_that_overfits(seed: int, l2: float) -> None:
    """Line searches fail here from a first step that is too long, or with noise of float32."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(seed)
    turn = torch.randn(64, 64, generator=generator) / 8
    x = torch.relu(torch.tensor(digits.data, dtype=torch.float32) @ turn)[:1437]
    y = torch.tensor(digits.target)[:1437]
    kept = torch.randperm(1437, generator=generator)[:1150].sort().values
    start = fit_logistic(Features.of(x[kept]), y[kept], 10, l2=l2, tolerance=1e-4)
    (warm,) = fit_path(Features.of(x), y, 10, [l2], start=start)
    assert warm.converged


@pytest.mark.parametrize("most", [1, 5, 12])
def test_a_fit_that_stops_early_says_so(most: int) -> None:
    x, y = overlapping(1000, 60, decay=2.0)
    found = fit_logistic(Features.of(x), y, 4, l2=1e-5, tolerance=1e-13, max_iterations=most)
    assert (found.iterations, found.converged) == (most, False)
    assert found.gap > 1e-13


def test_separable_classes_have_a_minimum() -> None:
    x = torch.cat([torch.randn(40, 5) + 30, torch.randn(40, 5) - 30])
    y = torch.arange(80) // 40
    found = fit_logistic(Features.of(x), y, 2, l2=1e-6)
    assert found.converged
    assert torch.equal(found.predict(x), y)
    assert bool(torch.isfinite(found.weight).all())


def test_a_class_without_examples_is_never_predicted() -> None:
    x, y = overlapping(300, 10, 2)
    found = fit_logistic(Features.of(x), 2 * y, 4)  # classes 0 and 2 of 4
    assert found.converged
    assert set(found.predict(x).tolist()) <= {0, 2}


def test_blocks_of_any_size_give_the_same() -> None:
    x, y = overlapping(600, 20)
    starts = [0, 1, 1, 350, 600]
    rows = Features(
        lambda k: x[starts[k] : starts[k + 1]], starts, 20, torch.float64, torch.device("cpu")
    )
    whole, parts = (fit_logistic(each, y, 4, tolerance=1e-13) for each in (Features.of(x), rows))
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-4, atol=1e-6)


# --- the path


def test_fits_along_a_path_are_those_from_zero() -> None:
    x, y = overlapping(1000, 40)
    path = list(fit_path(Features.of(x), y, 4, LADDER, tolerance=1e-9))
    assert [fitted.l2 for fitted in path] == list(LADDER)
    for warm in path:
        cold = fit_logistic(Features.of(x), y, 4, l2=warm.l2, tolerance=1e-9)
        assert warm.converged
        assert warm.objective == pytest.approx(cold.objective, rel=1e-7)
        # Half the squared distance of the weights, times l2, is at most the gap.
        reach = np.sqrt(2 * 2e-8 * cold.objective / warm.l2)
        assert float((warm.weight - cold.weight).norm()) <= 2 * reach


def test_a_start_spares_iterations() -> None:
    x, y = overlapping(1000, 40)
    cold = fit_logistic(Features.of(x), y, 4, l2=1e-4)
    (warm,) = fit_path(Features.of(x), y, 4, [1e-4], start=cold)
    assert warm.converged
    assert warm.iterations <= 2 < cold.iterations


def test_strengths_go_from_strong_to_weak() -> None:
    assert len(LADDER) == 10
    assert (LADDER[0], LADDER[-1]) == (1.0, 1e-6)
    assert list(LADDER) == sorted(LADDER, reverse=True)


# --- the objective and its coordinates


def test_the_gradient_is_that_of_differences() -> None:
    x, y = overlapping(200, 6)
    problem = Problem(Features.of(x), y, 4)
    at = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value, gradient = problem.value(at, 0.01)
    logits = x @ at[:, :-1].T + at[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, y) + 0.005 * at[:, :-1].square().sum()
    assert value == pytest.approx(float(loss), rel=1e-12)
    for index in np.ndindex(4, 7):
        step = torch.zeros_like(at)
        step[index] = 1e-5
        slope = float(problem.value(at + step, 0.01)[0] - problem.value(at - step, 0.01)[0]) / 2e-5
        assert float(gradient[index]) == pytest.approx(slope, abs=1e-8)


def weighted(x: Tensor, w: Tensor) -> Any:
    return lambda: [(x[:70], w[:70]), (x[70:], w[70:])]


def both(x: Tensor, w: Tensor, l2: float) -> list[Curvature]:
    p = x.shape[1]
    return [
        covariance(weighted(x, w), p, x.device, whole=whole).curvature(l2) for whole in (p, p - 1)
    ]


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Rows of 260 columns with weights, and weights of three classes."""
    x, _ = overlapping(400, 260)
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(400, generator=generator, dtype=torch.float64) + 0.1
    return x, w, torch.randn(3, 261, generator=generator, dtype=torch.float64)


def test_coordinates_go_there_and_back(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    x, w, weights = drawn
    for metric in both(x, w, 0.01):
        back = metric.to_weights(metric.from_weights(weights))
        torch.testing.assert_close(back, weights, rtol=1e-9, atol=1e-9)


def test_gradients_follow_the_coordinates(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    """f(T v) = ⟨g, T v⟩ has the gradient Tᵀ g."""
    x, w, weights = drawn
    for metric in both(x, w, 0.01):
        v, g = weights.flip(0), weights
        along = float((metric.to_gradient(g) * v).sum())
        assert along == pytest.approx(float((g * metric.to_weights(v)).sum()), rel=1e-9)


def test_the_whole_curvature_is_the_weighted_covariance(
    drawn: tuple[Tensor, Tensor, Tensor],
) -> None:
    x, w, _ = drawn
    whole, leading = both(x, w, 0.01)
    assert isinstance(whole, Cholesky)
    assert isinstance(leading, Leading)
    ones = torch.cat([x, torch.ones(400, 1, dtype=torch.float64)], 1)
    expected = ones.T @ (w[:, None] * ones) / 400
    expected.diagonal()[:-1] += 0.01
    found = whole.factor @ whole.factor.T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_leading_curvature_is_that_of_the_leading_directions(
    drawn: tuple[Tensor, Tensor, Tensor],
) -> None:
    x, w, _ = drawn
    _, leading = both(x, w, 0.01)
    assert isinstance(leading, Leading)
    values = torch.linalg.eigvalsh(x.T @ (w[:, None] * x) / 400)
    roots = (values[-20:] + 0.01).sqrt()
    torch.testing.assert_close(leading.roots[-20:], roots, rtol=1e-4, atol=1e-6)
    count = len(leading.roots)
    rest = float(values[: 260 - count].mean()) + 0.01
    assert float(leading.rest) ** 2 == pytest.approx(rest, rel=1e-2)
    assert float(leading.bias) ** 2 == pytest.approx(float(w.mean()), rel=1e-6)
