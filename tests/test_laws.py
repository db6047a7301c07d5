"""Laws of CKA: what leaves a value where it was, what moves it, and what it is for noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim.errors import RepsimWarning
from repsim.measures import RBF, cka

KERNELS: list[Any] = ["linear", "rbf"]
ESTIMATORS: list[Any] = ["unbiased", "biased"]
N, P = 40, 6

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rotation(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x @ np.linalg.qr(rng.normal(size=(P, P)))[0]


def invertible(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions stretched by up to 10 between two rotations: far from isotropic."""
    return rotation(rotation(x, rng) * np.linspace(1, 10, P), rng)


#: Of the features of one layer: whether CKA, with either kernel and estimator, stays or moves.
LAWS: dict[str, tuple[Transform, bool]] = {
    "rotation": (rotation, True),
    "reflection": (lambda x, rng: x * np.array([-1, 1, 1, 1, 1, 1]), True),
    "order of the features": (lambda x, rng: x[:, rng.permutation(P)], True),
    "shift": (lambda x, rng: x + 5 * rng.normal(size=P), True),
    "isotropic scale, 1e-6": (lambda x, rng: 1e-6 * x, True),
    "isotropic scale, 1e6": (lambda x, rng: 1e6 * x, True),
    "constant features beside": (lambda x, rng: np.hstack([x, np.full((N, 3), 7.0)]), True),
    "every feature twice": (lambda x, rng: np.hstack([x, x]), True),
    "invertible map": (invertible, False),
    "z-scored features": (lambda x, rng: (x - x.mean(0)) / x.std(0), False),
    "features cut off": (lambda x, rng: x[:, : P // 2], False),
    "order of the examples": (lambda x, rng: x[rng.permutation(N)], False),
    "elementwise map": (lambda x, rng: np.maximum(x, 0), False),
}


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Related layers whose features differ in size."""
    x = rng.normal(size=(N, P)) * np.linspace(0.3, 3, P)
    return x, x @ rng.normal(size=(P, 4)) + rng.normal(size=(N, 4))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_cka_stays_where_the_law_says_so_and_moves_where_not(
    law: str, kernel: Any, estimator: Any, seed: int
) -> None:
    transform, stays = LAWS[law]
    rng = np.random.default_rng(seed)
    x, y = pair(rng)
    before = cka(x, y, kernel=kernel, estimator=estimator)
    after = cka(transform(x, rng), y, kernel=kernel, estimator=estimator)
    if stays:
        # Rounding: n² products of relative error 1e-16, and a cancellation that is below 1e3 here.
        assert after == pytest.approx(before, abs=1e-10)
    else:
        assert abs(after - before) > 1e-4


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_cka_has_no_order_of_arguments_or_examples(kernel: Any, estimator: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = pair(rng)
    value = cka(x, y, kernel=kernel, estimator=estimator)
    order = rng.permutation(N)
    assert cka(y, x, kernel=kernel, estimator=estimator) == pytest.approx(value, abs=1e-13)
    assert cka(x[order], y[order], kernel=kernel, estimator=estimator) == pytest.approx(
        value, abs=1e-11
    )


@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
@pytest.mark.parametrize("kernel", [*KERNELS, RBF(0.2), RBF(10)], ids=str)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_layer_is_like_itself_and_like_nothing_more_than_itself(
    kernel: Any, estimator: Any, rng: np.random.Generator
) -> None:
    x, y = pair(rng)
    assert cka(x, rotation(x, rng), kernel=kernel, estimator=estimator) == pytest.approx(
        1, abs=1e-12
    )
    assert abs(cka(x, y, kernel=kernel, estimator=estimator)) < 1


@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
@pytest.mark.parametrize("mean", [10, 30, 300])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_features_far_from_zero_keep_their_cka_in_float32(
    mean: float, kernel: Any, estimator: Any, rng: np.random.Generator
) -> None:
    x = (rng.normal(size=(300, 64)) + mean).astype(np.float32)
    y = (x @ rng.normal(size=(64, 32)) + 8 * rng.normal(size=(300, 32))).astype(np.float32)
    exact = cka(x.astype(np.float64), y.astype(np.float64), kernel=kernel, estimator=estimator)
    assert cka(x, y, kernel=kernel, estimator=estimator) == pytest.approx(exact, abs=2e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1e2, 1e6])
@pytest.mark.parametrize("kernel", KERNELS)
def test_no_epsilon_weighs_on_small_or_large_features_in_float32(
    scale: float, kernel: Any, rng: np.random.Generator
) -> None:
    x, y = (v.astype(np.float32) for v in pair(rng))
    small = x * np.float32(scale)
    # The scale itself rounds every feature by 6e-8 of it.
    assert cka(small, y, kernel=kernel) == pytest.approx(cka(x, y, kernel=kernel), abs=2e-6)
    assert cka(small, small.copy(), kernel=kernel) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("n", "p", "biased"), [(256, 2048, 0.889), (50, 5000, 0.990)])
def test_noise_is_alike_to_the_biased_estimator_only(
    n: int, p: int, biased: float, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(2, n, p)).astype(np.float32)
    assert p / (n + p) == pytest.approx(biased, abs=5e-4)
    with pytest.warns(RepsimWarning, match=f"would be about {biased:.2f} for {n} examples"):
        assert cka(x, y, estimator="biased") == pytest.approx(biased, abs=5e-3)
    assert abs(cka(x, y)) < 4 / n  # its standard error is about √2 / n for so many features


def test_the_unbiased_estimate_of_nothing_falls_on_both_sides_of_zero(
    rng: np.random.Generator,
) -> None:
    values = np.array([cka(*rng.normal(size=(2, 30, 4))) for _ in range(60)])
    assert (values < 0).any()
    assert (values > 0).any()
    assert abs(values.mean()) < 4 * values.std() / 60**0.5
    biased = [cka(*rng.normal(size=(2, 30, 4)), estimator="biased") for _ in range(60)]
    assert min(biased) > 0


def test_the_default_rbf_tells_independent_layers_apart_at_any_width(
    rng: np.random.Generator,
) -> None:
    # With σ = 1 every Gram matrix of such features is the identity, and every CKA 1.
    x, y = 3 * rng.normal(size=(2, 200, 100))
    assert abs(cka(x, y, kernel="rbf")) < 0.05
    related = x + rng.normal(size=x.shape)
    assert cka(x, related, kernel="rbf") > 0.7


@pytest.mark.parametrize("kernel", KERNELS)
def test_cka_grows_as_noise_goes(kernel: Any, rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, 200, 8))
    values = [cka(x, x + level * noise, kernel=kernel) for level in (4, 2, 1, 0.5, 0.1)]
    assert values == sorted(values)
