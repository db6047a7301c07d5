"""Uncertainty of a value: leave-one-out, standard errors, intervals, permutations."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import repsim
from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.measures import RBF, cka, cka_map, gram, influence
from repsim.measures.algebra import pair_sums
from repsim.measures.hsic import GramSums, Terms
from repsim.measures.kernels import Kernel, Linear, parse_kernel
from repsim.measures.prepare import prepare_layer
from repsim.measures.tiles import centring
from repsim.measures.uncertainty import leave_one_out, standard_errors
from repsim.sources import ArraySource


def related(rng: np.random.Generator, n: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Layers that share a part, of uneven directions and not of mean zero."""
    x = rng.normal(size=(n, 4)) * [2, 1, 1, 0.5] + 3
    return x, np.tanh(x - 3) @ rng.normal(size=(4, 6)) + noise * rng.normal(size=(n, 6))


def sums_of(x: np.ndarray, y: np.ndarray, kernel: Kernel, algebra: Any = "gram") -> GramSums:
    """The sums that the engine keeps of two layers, with the terms of the examples."""
    source = ArraySource({"x": x, "y": y})
    cpu = torch.device("cpu")
    layers = [prepare_layer(source, name, kernel, cpu, torch.float64) for name in "xy"]
    return pair_sums(layers[:1], layers[1:], memory=1 << 30, terms=True, algebra=algebra)


def gram_of(x: np.ndarray, kernel: Kernel) -> torch.Tensor:
    """The Gram matrix, in the engine's units: those of the layer's spread or bandwidth."""
    x = x - x.mean(0)
    if isinstance(kernel, Linear):
        return torch.tensor(x @ x.T / np.square(x).sum(1).mean())
    squared = np.square(x[:, None] - x).sum(2)
    return torch.tensor(np.exp(-squared / (2 * kernel.fraction**2 * np.median(squared))))


# --- without each example


@pytest.mark.parametrize("n", [5, 6, 23])
@pytest.mark.parametrize(
    ("kernel", "algebra"),
    [(Linear(), "gram"), (Linear(), "features"), (RBF(0.5), "gram"), (RBF(2), "gram")],
    ids=str,
)
def test_leaving_one_out_is_computing_without_it(
    kernel: Kernel, algebra: Any, n: int, rng: np.random.Generator
) -> None:
    x, y = related(rng, n)
    found = sums_of(x, y, kernel, algebra).leave_one_out()
    K, L = gram_of(x, kernel), gram_of(y, kernel)
    for i in range(n):
        rest = [k for k in range(n) if k != i]
        # At the bandwidth of all: an example less does not change it.
        expected = GramSums.of(K[rest][:, rest], L[rest][:, rest]).unbiased()
        # Wide kernels lose to 1 what K has beyond it, but neither the sums nor this do.
        assert float(found.ab[i]) == pytest.approx(float(expected.ab), abs=1e-11)
        assert float(found.aa[i]) == pytest.approx(float(expected.aa), abs=1e-11)
        assert float(found.bb[i]) == pytest.approx(float(expected.bb), abs=1e-11)
        assert float(leave_one_out(sums_of(x, y, kernel, algebra))[i]) == pytest.approx(
            float(expected.cka()), abs=1e-8, nan_ok=True
        )


def test_leaving_one_out_of_any_gram_matrices(rng: np.random.Generator) -> None:
    n = 9
    K, L = (torch.tensor(v + v.T) for v in rng.normal(size=(2, n, n)))
    U, V = (
        (M - u[:, None] - u).fill_diagonal_(0)
        for M in (K, L)
        for u in [centring(M.sum(1) - M.diagonal())]
    )
    assert U.sum(1) == pytest.approx(np.zeros(n), abs=1e-12)
    sums = GramSums.of(U, V)
    of_each = [(P * Q).sum(1) for P, Q in ((U, V), (U, U), (V, V))]
    terms = Terms(of_each[0][:, None, None], of_each[1][:, None], of_each[2][:, None])
    kept = GramSums(**{**vars(sums), "terms": terms})
    for i in range(n):
        rest = [k for k in range(n) if k != i]
        expected = GramSums.of(K[rest][:, rest], L[rest][:, rest]).unbiased()
        assert float(kept.leave_one_out().ab[i]) == pytest.approx(float(expected.ab), rel=1e-10)


@pytest.mark.parametrize("kernel", [Linear(), RBF(0.5)], ids=str)
def test_the_mean_without_each_example_is_the_whole(
    kernel: Kernel, rng: np.random.Generator
) -> None:
    # The mean over all subsets of n - 1 of a U-statistic.
    sums = sums_of(*related(rng, 30), kernel)
    for part, whole in zip(sums.leave_one_out(), sums.unbiased(), strict=True):
        assert part.mean(0).numpy() == pytest.approx(whole.numpy(), rel=1e-11)


@pytest.mark.parametrize("n", [5, 12, 40])
@pytest.mark.parametrize("convert", [np.asarray, np.float32, torch.tensor])
def test_the_influence_of_an_example_is_the_value_less_that_without_it(
    n: int, convert: Any, rng: np.random.Generator
) -> None:
    x, y = (convert(v) for v in related(rng, n, noise=0.1))
    found = repsim.influence(x, y)
    assert found.shape == (n,)
    assert found.dtype == np.float64
    rest = ~np.eye(n, dtype=bool)
    expected = [cka(x, y) - cka(x[keep], y[keep]) for keep in rest]
    # Products of float32 are rounded at 2^-24; of four examples that are left, the unbiased HSIC is
    # a difference that makes this up to a hundred times as much, and processors round differently.
    tolerance = 100 * 2**-24 if convert is np.float32 else 1e-10
    assert found == pytest.approx(np.array(expected), abs=tolerance)
    assert influence(y, x) == pytest.approx(found, abs=tolerance)


def test_the_influence_by_rbf_is_at_the_bandwidth_of_all(rng: np.random.Generator) -> None:
    x, y = related(rng, 15)
    K, L = (gram_of(v, RBF(0.5)) for v in (x, y))
    rest = [[k for k in range(15) if k != i] for i in range(15)]
    without = [float(GramSums.of(K[r][:, r], L[r][:, r]).unbiased().cka()) for r in rest]
    expected = cka(x, y, kernel="rbf") - np.array(without)
    assert influence(x, y, kernel="rbf") == pytest.approx(expected, abs=1e-10)


def test_the_example_that_two_layers_see_differently_has_the_least_influence(
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(60, 5))
    y = x + 0.1 * rng.normal(size=(60, 5))
    y[17] = -3 * y[17]
    assert influence(x, y).argmin() == 17
    # Nor does it depend on where the example stands, or on the units of a layer.
    order = rng.permutation(60)
    assert influence(1e3 * x[order] + 5, y[order]) == pytest.approx(
        influence(x, y)[order], abs=1e-11
    )


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.eye(4), np.eye(4), DegenerateError, "4 examples arrived; influence needs at least 5"),
        (np.eye(3), np.eye(3), DegenerateError, "3 examples arrived"),
        (np.eye(6), np.eye(5), ShapeError, "x has 6 rows, y has 5"),
        (np.eye(6), np.eye(6)[0], ShapeError, "y has shape"),
        (np.ones((6, 2)), np.eye(6), DegenerateError, "x: it is the same for every example"),
        (np.eye(6), np.eye(6) * np.nan, NonFiniteError, "y: it holds NaN"),
    ],
)
def test_influence_that_is_not(x: Any, y: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        influence(x, y)


# --- standard errors


@pytest.mark.parametrize("kernel", ["linear", RBF(0.5)], ids=str)
@pytest.mark.parametrize("n", [5, 30])
def test_the_standard_error_is_the_jackknife(kernel: Any, n: int, rng: np.random.Generator) -> None:
    x, y = related(rng, n, noise=0.1)
    without = cka(x, y, kernel=kernel) - influence(x, y, kernel=kernel)
    expected = np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))
    found = cka_map({"x": x}, {"y": y}, kernel=kernel).stderr
    assert found is not None
    assert found.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
def test_four_examples_have_no_standard_error(kernel: Any, rng: np.random.Generator) -> None:
    x, y = related(rng, 4)
    for algebra in ("gram", "features") if kernel == "linear" else ("gram",):
        found = cka_map({"x": x}, {"y": y}, kernel=kernel, algebra=algebra)  # type: ignore[arg-type]
        assert found.stderr is not None
        assert np.isnan(found.stderr).all()
        assert found.unbiased.item() == pytest.approx(cka(x, y, kernel=kernel), abs=1e-12)
    assert np.isnan(standard_errors(sums_of(x, y, Linear())).numpy()).all()


def test_a_layer_and_its_copy_have_no_error(rng: np.random.Generator) -> None:
    x, _ = related(rng, 50)
    found = cka_map({"x": x}, {"y": 7 * x[:, ::-1] + 1})
    assert found.stderr is not None
    assert found.stderr.item() < 1e-12
    assert [end.item() for end in found.interval()] == [found.unbiased.item()] * 2


def test_the_error_falls_with_the_root_of_the_examples(rng: np.random.Generator) -> None:
    errors = [cka_map({"x": x}, {"y": y}).stderr for x, y in (related(rng, n) for n in (500, 8000))]
    # Four times, and the error of each is itself known to 1/√(2n) and more, as tails weigh.
    assert (errors[0] / errors[1]).item() == pytest.approx(4, rel=0.2)  # type: ignore[operator]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_the_error_is_the_spread_of_random_halves(kernel: Any, rng: np.random.Generator) -> None:
    # Of halves drawn without replacement the first-order variance is (1/m - 1/n) σ² = σ²/n: that of
    # the whole. A bootstrap would draw examples twice, and a U-statistic takes copies for likeness.
    # The bandwidth is that of all examples, as the error takes it.
    n = 300
    x, y = related(rng, n)
    K, L = (gram_of(v, parse_kernel(kernel)) for v in (x, y))
    found = cka_map({"x": x}, {"y": y}, kernel=kernel).stderr
    halves = [rng.permutation(n)[: n // 2] for _ in range(400)]
    values = [GramSums.of(K[half][:, half], L[half][:, half]).unbiased().cka() for half in halves]
    # 400 draws know a spread to 1/√800 = 3.5 %; second-order terms are 1/n of it.
    assert found is not None
    assert found.item() == pytest.approx(np.std(values), rel=0.12)


# --- populations whose CKA is known

Draw = Callable[[np.random.Generator], tuple[np.ndarray, list[np.ndarray]]]


def gaussian(n: int) -> tuple[Draw, np.ndarray]:
    """y = x A + noise: CKA = |Σxy|² / (|Σxx| |Σyy|), from low to high."""
    spread = np.linspace(0.5, 1.5, 6)
    Sxx = np.diag(spread**2)
    mixed = np.random.default_rng(3).normal(size=(6, 5))
    maps = [(mixed, 11.0), (mixed, 2.0), (np.eye(6), 0.25)]

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
        x = rng.normal(size=(n, 6)) * spread
        return x, [x @ A + s * rng.normal(size=(n, A.shape[1])) for A, s in maps]

    values = [
        np.square(Sxx @ A).sum()
        / np.linalg.norm(Sxx)
        / np.linalg.norm(A.T @ Sxx @ A + s**2 * np.eye(A.shape[1]))
        for A, s in maps
    ]
    return draw, np.array(values)


def atoms(n: int, kernel: Kernel, noise: Callable[..., Any]) -> tuple[Draw, np.ndarray]:
    """400 points with weights, in classes with ``noise``; HSIC is from sums over the points."""
    rng = np.random.default_rng(5)
    x = 2 * rng.normal(size=(8, 5))[rng.integers(0, 8, 400)] + noise(rng, (400, 5))
    mixed = rng.normal(size=(5, 4)) / 2
    layers = [x @ A + s * noise(rng, (400, A.shape[1])) for A, s in
              ((mixed, 8.0), (mixed, 1.0), (np.eye(5), 0.35))]  # fmt: skip
    weights = rng.dirichlet(np.full(400, 3.0))

    def gram_of(points: np.ndarray) -> np.ndarray:
        if isinstance(kernel, Linear):
            return points @ points.T
        squared = np.square(points[:, None] - points).sum(2)
        order = np.argsort(squared, axis=None)
        below = np.cumsum(np.outer(weights, weights).ravel()[order])
        median = squared.ravel()[order[np.searchsorted(below, 0.5)]]
        return np.exp(-squared / (2 * kernel.fraction**2 * median))

    def hsic(K: np.ndarray, L: np.ndarray) -> float:
        """E[K L] + E[K] E[L] - 2 E[E'[K] E'[L]]; Gretton et al. (2005, Lemma 1)."""
        k, m = K @ weights, L @ weights
        whole = (weights @ k) * (weights @ m)
        return float(weights @ (K * L) @ weights + whole - 2 * weights @ (k * m))

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
        chosen = rng.choice(400, size=n, p=weights)
        return x[chosen], [y[chosen] for y in layers]

    K, others = gram_of(x), [gram_of(y) for y in layers]
    return draw, np.array([hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L)) for L in others])


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_t(4, size=shape)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def independent(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    return rng.normal(size=(100, 20)), [rng.normal(size=(100, p)) for p in (2, 20)]


# With heavy tails, RBF intervals around high values cover 91 % at n = 200; so do those at half the
# median, whose own spread the error leaves out.
POPULATIONS: dict[str, tuple[Callable[[], tuple[Draw, np.ndarray]], Any]] = {
    "gaussian": (lambda: gaussian(150), "linear"),
    "atoms with heavy tails": (lambda: atoms(200, Linear(), heavy), "linear"),
    "atoms, rbf": (lambda: atoms(200, RBF(1.0), normal), RBF(1.0)),
    "independent": (lambda: (independent, np.zeros(2)), "linear"),
}


@functools.cache
def simulated() -> dict[str, dict[str, np.ndarray]]:
    """The estimates that ``simulate`` finds of each population, the true values, and p-values.

    In a process of its own, where shapes are not checked at each of thousands of calls; in one for
    all, since to start it takes as long as some of them.
    """
    run = subprocess.run(
        [sys.executable, "-c", "import test_uncertainty; test_uncertainty.report()"],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        name: {key: np.array(values) for key, values in found.items()}
        for name, found in json.loads(run.stdout).items()
    }


def report() -> None:
    found: dict[str, dict[str, np.ndarray]] = {}
    for population, (make, kernel) in POPULATIONS.items():
        draw, target = make()
        found[population] = {**simulate(draw, kernel, 500), "target": target}
    for kernel in ("linear", "rbf"):
        found[f"p-values, {kernel}"] = p_values_of_independent_layers(kernel)
    print(json.dumps(found, default=np.ndarray.tolist))


def simulate(draw: Draw, kernel: Any, draws: int) -> dict[str, np.ndarray]:
    """Values, errors and ends of intervals of many draws, (draws, layers) each."""
    found: dict[str, list[np.ndarray]] = {"value": [], "stderr": [], "low": [], "high": []}
    for seed in range(draws):
        x, layers = draw(np.random.default_rng([11, seed]))
        one = cka_map({"x": x}, {str(k): y for k, y in enumerate(layers)}, kernel=kernel)
        assert one.stderr is not None
        parts = (one.unbiased, one.stderr, *one.interval())
        for key, part in zip(found, parts, strict=True):
            found[key].append(part[0])
    return {key: np.array(parts) for key, parts in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("population", ["gaussian", "atoms with heavy tails", "atoms, rbf"])
def test_intervals_cover_the_value_of_the_population(population: str) -> None:
    found = simulated()[population]
    target = found["target"]
    covered = ((found["low"] <= target) & (target <= found["high"])).mean(0)
    # 500 draws know 95 % to 1 %.
    assert (covered > 0.92).all(), covered
    assert (covered < 0.975).all(), covered
    # The errors are those that there are, to 3.2 % from 500 draws and to O(1/n) beyond; more
    # where the value is small, and towards √2 where it is 0.
    ratio = np.sqrt(np.square(found["stderr"]).mean(0)) / found["value"].std(0)
    assert ratio[1:] == pytest.approx(np.ones(2), abs=0.1)
    assert 0.95 < ratio[0] < 1.25
    # Unbiased in both HSICs; their ratio is off by O(1/n).
    off = np.abs(found["value"].mean(0) - target)
    assert (off < 3 * found["value"].std(0) / 500**0.5 + 1 / 150).all()


@pytest.mark.slow
def test_errors_of_independent_layers_are_too_large_by_the_root_of_two() -> None:
    found = simulated()["independent"]
    ratio = np.sqrt(np.square(found["stderr"]).mean(0)) / found["value"].std(0)
    assert ratio == pytest.approx(np.full(2, 2**0.5), rel=0.08)  # 3.2 % from the draws, and O(1/√n)
    assert (abs(found["value"].mean(0)) < 3 * found["value"].std(0) / 500**0.5).all()


# --- permutations


def by_hand(x: np.ndarray, layers: list[np.ndarray], kernel: Any, count: int, seed: int) -> Any:
    """p-values from CKA computed anew for every order of the examples of b."""
    generator = np.random.default_rng(seed)
    n = len(x)
    orders = [np.arange(n), *(generator.permutation(n) for _ in range(count))]
    found = np.array([[cka(x, y[order], kernel=kernel) for y in layers] for order in orders])
    single = [(1 + sum(v >= of[0] for v in of[1:])) / (1 + count) for of in found.T]
    standard = (found - found.mean(0)) / found.std(0, ddof=1)
    most = standard.max(1)
    return single, [(1 + sum(most[1:] >= of[0])) / (1 + count) for of in standard.T]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_p_values_are_the_share_of_permutations_with_at_least_the_value(
    kernel: Any, rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setattr("repsim.measures.uncertainty.ROWS", 16)
    x = rng.normal(size=(30, 3))
    layers = [x + s * rng.normal(size=(30, 3)) for s in (2.5, 5)] + [rng.normal(size=(30, 3))]
    sides = {"x": x}, {str(k): y for k, y in enumerate(layers)}
    single, corrected = by_hand(x, layers, kernel, 40, 4)
    for memory in (None, 1 << 18):
        options: dict[str, Any] = {"kernel": kernel, "permutations": 40, "memory": memory}
        found = cka_map(*sides, seed=4, **options)
        assert found.p_value is not None
        assert found.p_value_max is not None
        assert found.p_value[0] == pytest.approx(np.array(single), abs=1e-12)
        assert found.p_value_max[0] == pytest.approx(np.array(corrected), abs=1e-12)
        again, other = cka_map(*sides, seed=4, **options), cka_map(*sides, seed=5, **options)
        assert np.array_equal(again.p_value, found.p_value)  # type: ignore[arg-type]
        assert not np.array_equal(other.p_value, found.p_value)  # type: ignore[arg-type]
        assert found.provenance["permutations"] == 40
        assert found.provenance["seed"] == 4
        # The values are those of a map without permutations.
        plain = cka_map(*sides, kernel=kernel, memory=memory).unbiased
        assert np.array_equal(plain, found.unbiased)


def test_permutations_of_one_network_with_itself(rng: np.random.Generator) -> None:
    a = {"x": rng.normal(size=(40, 3)), "y": rng.normal(size=(40, 3))}
    itself, copy = (cka_map(*each, permutations=99) for each in ((a,), (a, dict(a))))
    assert itself.p_value == pytest.approx(copy.p_value, abs=1e-12)
    assert itself.p_value_max == pytest.approx(copy.p_value_max, abs=1e-12)
    assert itself.p_value.diagonal() == pytest.approx([0.01, 0.01])  # type: ignore[union-attr]
    part = cka_map(a, layers_b=["y"], permutations=99)
    assert part.p_value == pytest.approx(copy.p_value[:, 1:], abs=1e-12)  # type: ignore[index]


def test_a_layer_without_a_value_has_no_p_value_and_spoils_no_other(
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(40, 3))
    found = cka_map({"x": x, "same": np.ones((40, 2))}, {"y": x}, permutations=19)
    assert found.p_value is not None
    assert found.p_value_max is not None
    for table in (found.p_value, found.p_value_max):
        assert table[0, 0] == 0.05
        assert np.isnan(table[1, 0])
    assert cka_map({"x": x}).p_value is None


def p_values_of_independent_layers(kernel: Any) -> dict[str, np.ndarray]:
    """Of 150 maps of 3 x 3 independent layers, 39 permutations each; plain and corrected."""
    single, corrected = [], []
    for seed in range(150):
        rng = np.random.default_rng([2, seed])
        a, b = ({str(k): rng.normal(size=(16, 2)) for k in range(3)} for _ in range(2))
        found = cka_map(a, b, kernel=kernel, permutations=39, seed=seed, stderr=False)
        assert found.p_value is not None
        assert found.p_value_max is not None
        single.append(found.p_value)
        corrected.append(found.p_value_max)
    return {"single": np.array(single), "corrected": np.array(corrected)}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_p_values_of_independent_layers_are_even_and_the_correction_holds(kernel: str) -> None:
    single, corrected = (simulated()[f"p-values, {kernel}"][k] for k in ("single", "corrected"))
    assert single.shape == (150, 3, 3)
    assert (corrected >= single).all()
    # p is even over 1/40, 2/40, ...
    assert single.min() >= 1 / 40
    first = single[:, 0, 0]
    assert first.mean() == pytest.approx(0.5 + 1 / 80, abs=4 * 12**-0.5 / 150**0.5)
    # A twentieth of 1,350 and of 150; a share of 150 is known to 1.8 %.
    assert (single <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (single.min((1, 2)) <= 0.05).mean() > 0.2  # looking at all pairs finds something
    assert (corrected.min((1, 2)) <= 0.05).mean() < 0.05 + 2.5 * 0.018


def test_dependence_is_found_after_the_correction(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 3))
    a = {str(k): rng.normal(size=(60, 3)) for k in range(4)}
    b = {str(k): rng.normal(size=(60, 3)) for k in range(4)}
    a["1"], b["2"] = x, np.square(x) + 0.3 * rng.normal(size=(60, 3))
    linear = cka_map(a, b, permutations=199)
    assert linear.p_value_max is not None
    found = cka_map(a, b, kernel="rbf", permutations=199).p_value_max
    assert found is not None
    assert found[1, 2] == 1 / 200  # RBF sees what is not linear
    assert np.delete(found.ravel(), 6).min() > 0.05


def test_a_permutation_test_that_does_not_fit_is_refused(rng: np.random.Generator) -> None:
    a, b = ({str(k): rng.normal(size=(500, 2)) for k in range(2)} for _ in range(2))
    # Four Gram matrices, those of a again, those of b whole and in another order: 10 times 500²
    # numbers of 8 bytes.
    with pytest.raises(
        UsageError,
        match="of 4 layers on 500 examples holds their Gram matrices, 19.07 MiB, and may take 4 MiB"
        "; choose fewer layers or examples, or allow more memory",
    ):
        cka_map(a, b, permutations=9, memory=4 << 20)
    assert cka_map(a, b, permutations=9, memory=20 << 20).p_value is not None


def test_progress_of_permutations(rng: np.random.Generator, monkeypatch: Any) -> None:
    monkeypatch.setitem(gram.TILE, "cpu", 64)
    told: list[tuple[int, int]] = []
    cka_map(
        {"x": rng.normal(size=(60, 3))},
        permutations=5,
        algebra="gram",
        progress=lambda done, total, note: told.append((done, total)) if note else None,
    )
    assert told == [(done, 5) for done in range(6)]
