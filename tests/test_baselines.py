"""The measures beside CKA: laws of all, closed forms, slow references from the papers, errors."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr
from sklearn.cross_decomposition import CCA

from repsim.errors import (
    DegenerateError,
    NonFiniteError,
    RepsimError,
    RepsimWarning,
    ShapeError,
    UsageError,
)
from repsim.measures import MEASURES, neighbours
from repsim.measures.cca import cca, pwcca, svcca
from repsim.measures.cka import cka
from repsim.measures.distances import squared_distances
from repsim.measures.inputs import read_pair
from repsim.measures.neighbours import mutual_knn
from repsim.measures.procrustes import procrustes_distance
from repsim.measures.regression import linear_regression
from repsim.measures.rsa import rsa
from repsim.measures.subspace import narrow, span

BASELINES = [name for name in MEASURES if not name.startswith("cka")]
N, P, Q = 40, 6, 5

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def rotation(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x @ np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]


def invertible(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Directions stretched by up to 100 between two rotations: far from isotropic."""
    return rotation(rotation(x, rng) * np.geomspace(1, 100, x.shape[1]), rng)


TRANSFORMS: dict[str, Transform] = {
    "rotation": rotation,
    "scale": lambda x, rng: 37 * x,
    "shift": lambda x, rng: x + 5 * rng.normal(size=x.shape[1]),
    "invertible": invertible,
}


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Related layers whose features differ in size."""
    x = rng.normal(size=(N, P)) * np.linspace(0.3, 3, P)
    return x, x @ rng.normal(size=(P, Q)) + rng.normal(size=(N, Q))


def centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(0)


# --- laws


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_a_measure_stays_where_it_declares_so_and_moves_where_not(
    name: str, transform: str, seed: int
) -> None:
    measure = MEASURES[name]
    rng = np.random.default_rng(seed)
    x, y = pair(rng)
    before = measure.function(x, y)
    of_x = measure.function(TRANSFORMS[transform](x, rng), y)
    of_y = measure.function(x, TRANSFORMS[transform](y, rng))
    for after, invariances in ((of_x, measure.invariances_x), (of_y, measure.invariances_y)):
        if transform in invariances:
            # Rounding of n p products, 1e-14, grows by the condition number of the map, 100, and
            # of the features, 10, where a basis is found from them.
            assert after == pytest.approx(before, abs=1e-10)
        else:
            assert abs(after - before) > 1e-4


@pytest.mark.parametrize("name", MEASURES)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_arguments_matters_where_declared_and_that_of_examples_never(
    name: str, seed: int
) -> None:
    measure = MEASURES[name]
    rng = np.random.default_rng(seed)
    x, y = pair(rng)
    value = measure.function(x, y)
    swapped = measure.function(y, x)
    if measure.symmetric:
        assert swapped == pytest.approx(value, abs=1e-12)
    else:
        assert abs(swapped - value) > 1e-4
    order = rng.permutation(N)
    assert measure.function(x[order], y[order]) == pytest.approx(value, abs=1e-12)
    assert abs(measure.function(x[order], y) - value) > 1e-4


@pytest.mark.parametrize("name", MEASURES)
def test_a_layer_is_most_like_itself(name: str, rng: np.random.Generator) -> None:
    measure = MEASURES[name]
    x, y = pair(rng)
    best = 0 if measure.distance else 1
    # The residual of a distance and the mean of correlations are sums of 6 roundings of 1e-16.
    assert measure.function(x, x) == pytest.approx(best, abs=1e-13)
    assert abs(measure.function(x, y) - best) > 0.01


@pytest.mark.parametrize("name", MEASURES)
def test_values_move_away_from_likeness_as_noise_grows(name: str, rng: np.random.Generator) -> None:
    measure = MEASURES[name]
    x, noise = rng.normal(size=(2, 300, 6))
    values = [measure.function(x, x + level * noise) for level in (0.1, 0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=not measure.distance)


def test_the_registry_is_coherent() -> None:
    for name, measure in MEASURES.items():
        assert measure.name == name
        assert measure.source
        for invariances in (measure.invariances_x, measure.invariances_y):
            assert invariances <= set(TRANSFORMS)
            if "invertible" in invariances:
                assert {"rotation", "scale"} <= invariances
        if measure.symmetric:
            assert measure.invariances_x == measure.invariances_y


# --- closed forms


def orthonormal(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    """(n, count) centred orthonormal columns."""
    return np.linalg.qr(np.hstack([np.ones((n, 1)), rng.normal(size=(n, count))]))[0][:, 1:]


def test_regression_on_an_orthogonal_design(rng: np.random.Generator) -> None:
    basis = orthonormal(rng, 30, 6)
    x = basis[:, :4] * [4, 3, 2, 1]
    y = basis[:, [0, 2, 5]]
    assert linear_regression(x, y) == pytest.approx((16 + 4) / 30, abs=1e-14)
    assert linear_regression(y, x) == pytest.approx(2 / 3, abs=1e-14)


def test_canonical_correlations_of_turned_directions(rng: np.random.Generator) -> None:
    basis = orthonormal(rng, 30, 6)
    cosines = np.array([1, 0.8, 0.3])
    x = basis[:, :3]
    y = x * cosines + basis[:, 3:] * np.sqrt(1 - cosines**2)
    mixed_x, mixed_y = x @ rng.normal(size=(3, 3)) + 7, y @ rng.normal(size=(3, 3)) - 7
    # One feature twice, and a feature without variance, add no direction.
    mixed_x = np.hstack([mixed_x, mixed_x[:, :1], np.full((30, 1), 3e6)])
    # A shift by 7, and by 3e6, of features of size 0.2: 1e-16 3e6 / 0.2 at most.
    assert cca(mixed_x, mixed_y) == pytest.approx(cosines.mean(), abs=1e-8)
    assert cca(mixed_x, mixed_y, squared=True) == pytest.approx((cosines**2).mean(), abs=1e-8)
    # Of two directions of x, the best matches are the best two of y's.
    assert cca(x[:, 1:], y) == pytest.approx((0.8 + 0.3) / 2, abs=1e-14)
    # Equal sizes along the canonical variables: each feature weighs the same.
    assert pwcca(x, y) == pytest.approx(cosines.mean(), abs=1e-13)
    assert pwcca(x * [10, 1, 1], y) == pytest.approx((10 + 0.8 + 0.3) / 12, abs=1e-13)


def test_svcca_forgets_what_has_little_variance(rng: np.random.Generator) -> None:
    basis = orthonormal(rng, 30, 7)
    x = basis[:, :4] * [10, 10, 1, 0.1]
    y = basis[:, [0, 1, 5, 6]]
    assert cca(x, y) == pytest.approx(0.5, abs=1e-14)
    # 10² + 10² of 201.01 are 99.5 %: two directions of x remain, and all of y's equal ones.
    assert svcca(x, y) == pytest.approx(1, abs=1e-14)
    assert svcca(x, y, variance=0.996) == pytest.approx(2 / 3, abs=1e-14)
    assert svcca(x, y, variance=1.0) == pytest.approx(0.5, abs=1e-14)
    assert svcca(x, y, variance=0.996, squared=True) == pytest.approx(2 / 3, abs=1e-14)
    # One direction has 49.8 % of the variance of x; two of y have half.
    assert svcca(x[:, 1:], y[:, 1:], variance=0.9) == pytest.approx(1, abs=1e-14)


def test_procrustes_of_known_overlap(rng: np.random.Generator) -> None:
    basis = orthonormal(rng, 30, 6)
    x, y = basis[:, :3], basis[:, [0, 1, 3, 4, 5]]
    # Unit norm: columns of size 1/√3 and 1/√5. |xᵀy|_* = 2 / √15.
    assert procrustes_distance(5 * x, y + 1) == pytest.approx((2 - 4 / 15**0.5) ** 0.5, abs=1e-13)
    assert procrustes_distance(x, basis[:, 3:]) == pytest.approx(2**0.5, abs=1e-13)


@pytest.mark.parametrize(("n", "p"), [(200, 20), (60, 60), (30, 400)])
def test_procrustes_keeps_its_precision_near_zero(n: int, p: int, rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, n, p))
    # √(2 - 2 s) would leave √(2e-16 p), some 1e-7.
    assert procrustes_distance(x, 3 * rotation(x, rng) + 5) < 1e-13
    small = procrustes_distance(x, rotation(x + 1e-9 * noise, rng))
    # Noise of 1e-9 of the layer, less what a rotation can follow of it.
    assert 1e-10 < small < 1.5e-9


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_procrustes_is_a_metric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, z = (rng.normal(size=(20, p)) for p in (3, 5, 30))
    ab, bc, ac = procrustes_distance(x, y), procrustes_distance(y, z), procrustes_distance(x, z)
    assert ac <= ab + bc + 1e-13


def test_rsa_sees_only_the_order_of_distances(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 4))
    # Of points with distances d, others with √(1 - exp(-d²)) times a constant: the features of a
    # Gaussian kernel.
    kernel = np.exp(-cdist(x, x, "sqeuclidean"))
    values, vectors = np.linalg.eigh(kernel)
    features = vectors * np.sqrt(values.clip(0))
    assert rsa(x, features) == pytest.approx(1, abs=1e-12)
    assert abs(cka(x, features) - 1) > 0.01


def test_rsa_of_opposite_orders_is_minus_one() -> None:
    x = np.array([[0.0], [1.0], [3.0], [7.0]])
    squares = 100 - cdist(x, x)
    np.fill_diagonal(squares, 0)
    centring = np.eye(4) - 0.25
    values, vectors = np.linalg.eigh(-centring @ squares @ centring / 2)  # classical scaling
    assert rsa(x, vectors * np.sqrt(values.clip(0))) == pytest.approx(-1, abs=1e-14)


def test_neighbours_of_the_same_examples_in_another_order(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3))
    order = rng.permutation(50)
    assert mutual_knn(x[order], 2 * rotation(x, rng)[order], k=5) == 1
    # Two far groups that change places example by example share no neighbour.
    x = np.repeat([0.0, 100.0], 25)[:, None] + rng.normal(size=(50, 1))
    y = np.tile([0.0, 100.0], 25)[:, None] + rng.normal(size=(50, 1))
    assert mutual_knn(x, x + 1e-9, k=24) == 1
    # 25 examples of a group of x are 13 and 12 of the groups of y, one of them the example itself.
    assert mutual_knn(x, y, k=24) == pytest.approx((13 * 12 + 12 * 11) / 25 / 24, abs=1e-14)


# --- slow references from the papers


def test_regression_against_least_squares(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    design = np.hstack([np.ones((N, 1)), y])
    residual = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    expected = 1 - np.square(residual).sum() / np.square(centred(x)).sum()
    assert linear_regression(x, y) == pytest.approx(expected, abs=1e-13)


def correlations(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Canonical correlations and weights of x, by the eigenproblem of Hotelling (1936):
    S_xy S_yy⁻¹ S_yx w = ρ² S_xx w."""
    x, y = centred(x), centred(y)
    squares, weights = scipy.linalg.eigh(x.T @ y @ np.linalg.inv(y.T @ y) @ y.T @ x, x.T @ x)
    count = min(x.shape[1], y.shape[1])
    return np.sqrt(squares[::-1][:count]), weights[:, ::-1][:, :count]


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), p=st.integers(1, 6), q=st.integers(1, 6))
def test_cca_and_its_relatives_against_the_eigenproblem(seed: int, p: int, q: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (layer[:, :width] for layer, width in zip(pair(rng), (p, q), strict=True))
    rho, weights = correlations(x, y)
    # Squares of correlations have errors of 1e-14 here; near 0 their roots have 1e-7.
    assert cca(x, y) == pytest.approx(rho.mean(), abs=1e-6)
    assert cca(x, y, squared=True) == pytest.approx((rho**2).mean(), abs=1e-11)
    variables = centred(x) @ weights
    alpha = np.abs(variables.T @ centred(x)).sum(1)
    assert pwcca(x, y) == pytest.approx(alpha @ rho / alpha.sum(), abs=1e-6)
    if p <= q:  # Kornblith et al. (2019, Eq. 10): squares as weights give regression
        alpha = np.square(variables.T @ centred(x)).sum(1)
        assert linear_regression(x, y) == pytest.approx(alpha @ rho**2 / alpha.sum(), abs=1e-11)


def test_cca_against_scikit_learn(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    u, v = CCA(n_components=Q, max_iter=10000, tol=1e-12).fit_transform(x, y)
    rho = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(Q)]
    # Its power iteration stops at steps of √tol.
    assert cca(x, y) == pytest.approx(np.mean(rho), abs=1e-5)


def test_cca_is_cka_of_orthonormal_features(rng: np.random.Generator) -> None:
    """Kornblith et al. (2019, Eq. 11), with p₁ the smaller number of features."""
    x, y = pair(rng)
    bases = [np.linalg.qr(centred(layer))[0] for layer in (x, y)]
    expected = cka(*bases, estimator="biased") * (P / Q) ** 0.5
    assert cca(x, y, squared=True) == pytest.approx(expected, abs=1e-12)


def test_svcca_by_hand(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    kept = []
    for layer in (x, y):
        values, vectors = np.linalg.eigh(np.cov(layer.T))
        shares = values[::-1].cumsum() / values.sum()
        count = next(i + 1 for i, share in enumerate(shares) if share >= 0.9)
        assert count < layer.shape[1]
        kept.append(layer @ vectors[:, ::-1][:, :count])
    rho, _ = correlations(*kept)
    assert svcca(x, y, variance=0.9) == pytest.approx(rho.mean(), abs=1e-8)
    assert svcca(x, y, variance=0.9, squared=True) == pytest.approx((rho**2).mean(), abs=1e-11)


def test_procrustes_against_scipy(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    a, b = (layer / np.linalg.norm(layer) for layer in (centred(x), centred(y)))
    b = np.hstack([b, np.zeros((N, P - Q))])
    turn, _ = scipy.linalg.orthogonal_procrustes(b, a)
    assert procrustes_distance(x, y) == pytest.approx(np.linalg.norm(a - b @ turn), abs=1e-13)
    nuclear = np.linalg.svd(a.T @ b, compute_uv=False).sum()
    assert procrustes_distance(x, y) == pytest.approx((2 - 2 * nuclear) ** 0.5, abs=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "correlation"])
def test_rsa_against_scipy(distance: str, rng: np.random.Generator) -> None:
    x, y = pair(rng)
    expected = spearmanr(pdist(x, distance), pdist(y, distance)).statistic
    assert rsa(x, y, distance=distance) == pytest.approx(expected, abs=1e-13)


def test_rsa_of_class_codes_has_the_ties_of_exact_distances(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, size=60)
    codes = 0.3 * np.eye(4)[labels]
    x = rng.normal(size=(60, 5)) + labels[:, None]
    apart = pdist(labels[:, None]) > 0
    expected = spearmanr(pdist(x), apart).statistic
    assert len(np.unique(pdist(centred(codes) @ np.linalg.qr(rng.normal(size=(4, 4)))[0]))) > 2
    for turned in (codes, rotation(codes, rng)):
        assert rsa(x, turned) == pytest.approx(expected, abs=1e-12)


def slow_mutual_knn(x: np.ndarray, y: np.ndarray, k: int, distance: str) -> float:
    shared = 0
    for i in range(len(x)):
        sets = []
        for layer in (x, y):
            far = cdist(layer[i : i + 1], layer, distance)[0]
            order = sorted((far[j], j) for j in range(len(x)) if j != i)
            sets.append({j for _, j in order[:k]})
        shared += len(sets[0] & sets[1])
    return shared / (len(x) * k)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 10, N - 2])
def test_mutual_knn_against_loops(
    distance: str, k: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = pair(rng)
    expected = slow_mutual_knn(x, y, k, distance)
    assert mutual_knn(x, y, k=k, distance=distance) == pytest.approx(expected, abs=1e-14)
    monkeypatch.setattr(neighbours, "BLOCK", 3 * N)  # blocks of three rows, the last of one
    assert mutual_knn(x, y, k=k, distance=distance) == pytest.approx(expected, abs=1e-14)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 10))
def test_the_first_of_equally_near_neighbours_count(seed: int, k: int) -> None:
    """On a grid most distances tie; a rotation would break the ties but for the slack. In RSA they
    share a rank."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 3, size=(2, 12, 2)).astype(float)
    x[0], y[0] = 5, 5  # never all the same
    expected = slow_mutual_knn(x, y, k, "sqeuclidean")  # exact in integers
    assert mutual_knn(x, y, k=k) == pytest.approx(expected, abs=1e-14)
    assert mutual_knn(rotation(x, rng), 0.1 * y, k=k) == pytest.approx(expected, abs=1e-14)
    ranked = spearmanr(pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")).statistic
    assert rsa(rotation(x, rng), 0.1 * y) == pytest.approx(ranked, abs=1e-12)


# --- unrelated layers


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("regression", 7 / 29),
        ("cca-squared", 7 / 29),
        ("rsa", 0.0),
        ("mutual-knn", 10 / 29),
        ("cka", 0.0),
    ],
)
def test_the_mean_for_unrelated_layers(name: str, chance: float, rng: np.random.Generator) -> None:
    """x of 3 features, y of 7, on 30 examples; exact for any x and y under permutations."""
    draws = [(rng.normal(size=(30, 3)), rng.normal(size=(30, 7))) for _ in range(200)]
    values = np.array([MEASURES[name].function(x, y) for x, y in draws])
    assert values.mean() == pytest.approx(chance, abs=4 * values.std() / 200**0.5)
    assert 4 * values.std() / 200**0.5 < 0.06


# --- rank


def test_directions_count_down_to_rounding_and_no_further(rng: np.random.Generator) -> None:
    x = (
        orthonormal(rng, 50, 4)
        * [1, 1e-3, 1e-6, 1e-9]
        @ np.linalg.qr(rng.normal(size=(8, 8)))[0][:4]
    )
    y = rng.normal(size=(50, 3))
    assert span(read_pair(x, y)[0]).rank == 4
    # Float32 has 6e-8 of every activation; √58 of its epsilons are 9e-7.
    assert span(read_pair(x.astype(np.float32), y)[0]).rank == 3
    assert cca(x, y) == pytest.approx(cca(orthonormal_of(x, 4), y), abs=1e-6)


def orthonormal_of(x: np.ndarray, rank: int) -> np.ndarray:
    return np.linalg.svd(centred(x), full_matrices=False)[0][:, :rank]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_of_dependent_features_is_its_independent_ones(
    dtype: Any, rng: np.random.Generator
) -> None:
    x, y = pair(rng)
    wide = (x @ rng.normal(size=(P, 300)) + 10).astype(dtype)
    assert span(read_pair(wide, y)[0]).rank == P
    # What float32 rounds of 300 features, averaged in 6 directions whose sizes differ by 10.
    tolerance = 1e-5 if dtype == np.float32 else 1e-11
    for name in ("cca", "cca-squared"):
        function = MEASURES[name].function
        assert function(wide, y) == pytest.approx(function(x, y), abs=tolerance)
    assert linear_regression(y, wide) == pytest.approx(linear_regression(y, x), abs=tolerance)


@pytest.mark.parametrize("function", [cca, pwcca, lambda x, y: svcca(x, y, variance=1)])
@pytest.mark.parametrize("swap", [False, True])
def test_cca_of_too_few_examples_is_refused(
    function: Any, swap: bool, rng: np.random.Generator
) -> None:
    layers = [rng.normal(size=(20, 19)), rng.normal(size=(20, 2))]
    layers[0] += rng.normal(size=19)
    with pytest.raises(DegenerateError, match="span all 19 dimensions of 20 centred examples") as e:
        function(*(layers[::-1] if swap else layers))
    assert str(e.value).startswith("y" if swap else "x")
    narrower = [layers[0][:, :18], layers[1]]
    with pytest.warns(RepsimWarning, match="1 of 2 canonical correlations are 1 whatever"):
        value = cca(*narrower)
    assert value < 1 - 1e-3


def test_the_correlations_that_are_one_for_lack_of_examples(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 12)), rng.normal(size=(20, 11))
    rho = np.linalg.svd(orthonormal_of(x, 12).T @ orthonormal_of(y, 11), compute_uv=False)
    assert (rho > 1 - 1e-12).sum() == 12 + 11 - 19
    with pytest.warns(RepsimWarning, match="ranks 12 and 11 on 20 examples, so 4 of 11"):
        cca(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cca(x[:, :8], y)  # 8 + 11 = 19: none


def test_regression_on_as_many_directions_as_examples_is_refused(
    rng: np.random.Generator,
) -> None:
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(20, 50))
    with pytest.raises(DegenerateError, match=r"y: its features span all 19 .* R² = 1"):
        linear_regression(x, y)
    assert linear_regression(y, x) < 0.5


def test_the_tolerance_of_float64_is_that_of_numpy(rng: np.random.Generator) -> None:
    for smallest, rank in ((5e-15, 2), (5e-14, 3)):  # 50 epsilons are 1.1e-14
        x = orthonormal(rng, 50, 3) * [1, 1e-3, smallest]
        assert np.linalg.matrix_rank(x) == rank
        assert span(read_pair(x, x)[0]).rank == rank


# --- many features, other types


@pytest.mark.parametrize("name", BASELINES)
def test_more_features_than_examples(name: str, rng: np.random.Generator) -> None:
    """A rotation into a wider space changes nothing, but that pwcca adds up over features."""
    measure = MEASURES[name]
    x, y = pair(rng)
    wide = [layer @ np.linalg.qr(rng.normal(size=(500, w)))[0].T for layer, w in ((x, P), (y, Q))]
    assert narrow(torch.tensor(wide[0])).shape == (N, N)
    if name == "pwcca":
        wide[0] = np.hstack([x, np.zeros((N, 494))])
    assert measure.function(*wide) == pytest.approx(measure.function(x, y), abs=1e-11)


def test_narrow_keeps_inner_products_and_small_directions(rng: np.random.Generator) -> None:
    left, right = (np.linalg.qr(rng.normal(size=(n, 10)))[0] for n in (10, 300))
    sizes = torch.tensor(np.geomspace(1, 1e-12, 10))
    x = torch.tensor(left * sizes.numpy() @ right.T)
    small = narrow(x)
    assert small.shape == (10, 10)
    assert torch.allclose(small @ small.T, x @ x.T, rtol=0, atol=1e-14)
    # A Gram matrix would leave 1e-8 of the largest.
    assert torch.allclose(torch.linalg.svdvals(small), sizes, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    "convert",
    [
        np.float32,
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True),
        lambda x: x.tolist(),
        lambda x: x[::-1][::-1],
        lambda x: x.reshape(N, -1, 1, 1),
    ],
    ids=["float32", "tensor", "float32 with gradients", "list", "view", "maps"],
)
def test_kinds_of_input(name: str, convert: Any, rng: np.random.Generator) -> None:
    function = MEASURES[name].function
    x, y = pair(rng)
    value = function(convert(x), convert(y))
    assert type(value) is float
    # Float32 rounds activations by 6e-8, against the smallest spread of 0.3.
    assert value == pytest.approx(function(x, y), abs=1e-6)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float16, torch.bfloat16])
def test_exact_small_types(name: str, dtype: Any, rng: np.random.Generator) -> None:
    function = MEASURES[name].function
    x, y = rng.integers(0, 9, size=(2, N, 4)).astype(float)
    assert function(torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)) == function(x, y)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("name", BASELINES)
def test_no_epsilon_weighs_on_small_or_large_features(
    name: str, scale: float, rng: np.random.Generator
) -> None:
    function = MEASURES[name].function
    x, y = pair(rng)
    assert function(scale * x, y) == pytest.approx(function(x, y), abs=1e-12)
    assert function(x, scale * y) == pytest.approx(function(x, y), abs=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_features_far_from_zero(name: str, rng: np.random.Generator) -> None:
    function = MEASURES[name].function
    x, y = pair(rng)
    # A shift by 1e5 leaves 1e-11 of every activation, of spread 0.3 at least; 6 and 5 features
    # that do not vary share no direction.
    far_x = np.hstack([x + 1e5, np.full((N, 3), 1e5 / 3)])
    far_y = np.hstack([y - 1e5, np.full((N, 3), 1e5 / 3)])
    assert function(far_x, far_y) == pytest.approx(function(x, y), abs=1e-8)


# --- what is no distance, and errors


def test_correlation_and_cosine_are_of_the_features_as_they_are(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    assert abs(rsa(x + 1, y, distance="correlation") - rsa(x, y, distance="correlation")) < 1e-12
    shift = 5 * rng.normal(size=P)
    for function, distance in ((rsa, "correlation"), (mutual_knn, "cosine")):
        value = function(x, y, distance=distance)
        assert abs(function(x + shift, y, distance=distance) - value) > 1e-4
        assert function(3 * x, y, distance=distance) == pytest.approx(value, abs=1e-13)


def test_equal_distances_differ_by_less_than_the_slack(rng: np.random.Generator) -> None:
    for p in (1, 10, 1000):
        x = torch.tensor(rotation(np.repeat(np.eye(p)[:1], 40, 0) + rng.normal(size=p), rng))
        values, slack = squared_distances(x - x.mean(0))
        assert (values.abs() <= slack).all()
        codes = (
            np.eye(20)[rng.integers(0, 20, size=100)]
            @ np.linalg.qr(rng.normal(size=(p + 20, 20)))[0].T
        )
        values, slack = squared_distances(torch.tensor(codes))
        assert (((values - 2).abs() <= slack) | (values.abs() <= slack)).all()


GOOD = np.random.default_rng(0).normal(size=(20, 3))
BAD: dict[str, tuple[Any, Any, type[RepsimError], str]] = {
    "rows": (GOOD, GOOD[:19], ShapeError, "x has 20 rows, y has 19; expected the same examples"),
    "vector": (GOOD, GOOD[:, 0], ShapeError, r"y has shape \(20,\); expected \(n, p\)"),
    "few": (GOOD[:3], GOOD[:3], DegenerateError, "3 examples arrived; at least 4 are needed"),
    "empty": (GOOD[:0], GOOD[:0], DegenerateError, "0 examples arrived"),
    "nan": (GOOD, np.where(GOOD[3, 1] == GOOD, np.nan, GOOD), NonFiniteError, "y: it holds NaN"),
    "inf": (
        np.where(GOOD[3, 1] == GOOD, np.inf, GOOD),
        GOOD,
        NonFiniteError,
        "x: it holds NaN or infinity",
    ),
    "constant": (np.full((20, 3), 0.1), GOOD, DegenerateError, "x: it is the same for every"),
    "no features": (GOOD, GOOD[:, :0], DegenerateError, "y: it is the same for every example"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", BASELINES)
def test_errors_name_the_argument(name: str, case: str) -> None:
    x, y, kind, message = BAD[case]
    with pytest.raises(kind, match=message) as error:
        MEASURES[name].function(x, y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("variance", [0, -1, 1.01, float("nan")])
def test_a_share_of_variance_is_a_share(variance: float) -> None:
    with pytest.raises(UsageError, match="variance is .*; expected a share above 0"):
        svcca(GOOD, GOOD, variance=variance)


@pytest.mark.parametrize("k", [0, -1, 19, 20])
def test_neighbours_must_be_there(k: int) -> None:
    with pytest.raises(UsageError, match=f"k is {k}; expected 1 to 18 neighbours among 20"):
        mutual_knn(GOOD, GOOD, k=k)


@pytest.mark.parametrize("k", [2.5, 3.0, "3", None, float("nan")])
def test_neighbours_are_counted(k: Any) -> None:
    unchecked = inspect.unwrap(mutual_knn)  # as users call it: here, annotations are checked
    with pytest.raises(UsageError, match=f"k is {k!r}; expected a whole number of neighbours"):
        unchecked(GOOD, GOOD, k=k)
    assert unchecked(GOOD, GOOD, k=np.int64(3)) == 1


def test_unknown_distances() -> None:
    with pytest.raises(UsageError, match="unknown distance 'cosin'; did you mean 'cosine'"):
        mutual_knn(GOOD, GOOD, distance="cosin")
    with pytest.raises(UsageError, match="unknown distance 'cosine'; .*correlation, euclidean"):
        rsa(GOOD, GOOD, distance="cosine")


def test_rows_without_a_direction() -> None:
    flat = GOOD.copy()
    flat[4] = 0
    with pytest.raises(DegenerateError, match="y: row 4 is zero, so it has no cosine distance"):
        mutual_knn(GOOD, flat, distance="cosine")
    flat[4] = 0.1
    with pytest.raises(DegenerateError, match="x: row 4 is the same in every feature"):
        rsa(flat, GOOD, distance="correlation")
    assert 0 < mutual_knn(flat, GOOD, distance="cosine") < 1


def test_examples_all_at_one_distance() -> None:
    with pytest.raises(DegenerateError, match="y: its examples are all at the same distance"):
        rsa(GOOD, np.eye(20))


# --- the page


PAGE = Path(__file__).parent.parent / "docs" / "choosing.md"


def stated(cell: str) -> tuple[frozenset[str], frozenset[str]]:
    """Invariances of x and y from a cell such as ``x: scale; y: rotation, scale`` or ``scale``."""
    parts = dict(re.findall(r"\b([xy]): ([a-z, ]+)", cell)) or {"x": cell, "y": cell}
    x, y = (frozenset(re.findall("[a-z]+", parts[side])) for side in "xy")
    return x, y


def test_the_table_of_the_page_agrees_with_the_registry() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| `[a-z-]+` \|", line)
    ]
    named = {row[0].strip("`"): row for row in rows}
    assert named.keys() == MEASURES.keys()
    for name, (_, unchanged, symmetric, span_of_values, _, _, source) in named.items():
        measure = MEASURES[name]
        assert stated(unchanged) == (measure.invariances_x, measure.invariances_y), name
        assert symmetric == ("yes" if measure.symmetric else "no"), name
        assert span_of_values.startswith("0 is") == measure.distance, name
        assert source == measure.source, name


@pytest.mark.parametrize("name", MEASURES)
def test_values_lie_in_the_range_of_the_page(name: str, rng: np.random.Generator) -> None:
    low, high = {
        "cka": (-1, 1),
        "cka-rbf": (-1, 1),
        "rsa": (-1, 1),
        "procrustes": (0, 2**0.5),
    }.get(name, (0, 1))
    for _ in range(20):
        x, y = rng.normal(size=(2, 12, 3))
        assert low - 1e-13 <= MEASURES[name].function(x, y) <= high + 1e-13
