"""CKA against published values, slow references and dense Gram matrices; its precision and errors.

Laws under transformations of the features are in ``test_laws.py``.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repsim.errors import (
    DegenerateError,
    MismatchError,
    NonFiniteError,
    RepsimError,
    ShapeError,
    UsageError,
)
from repsim.measures import RBF, Linear, cka, cka_map, features, gram, kernels, prepare
from repsim.measures.hsic import GramSums
from repsim.measures.kernels import median_square, parse_kernel
from repsim.measures.layer import Layer
from repsim.sources import ArraySource

KERNELS: list[Any] = ["linear", "rbf", RBF(0.2)]
ESTIMATORS = ["unbiased", "biased"]

# --- published values

# The demonstration of Kornblith et al. (2019), printed to five decimals.
PUBLISHED = [("linear", "biased", 0.55761), ("rbf", "biased", 0.65483)]
PUBLISHED += [("linear", "unbiased", 0.51346)]
FIVE_DECIMALS = 5e-6


def demonstration() -> tuple[np.ndarray, np.ndarray]:
    state = np.random.RandomState(1337)
    x = state.randn(100, 10)
    return x, state.randn(100, 10) + x


@pytest.mark.parametrize(("kernel", "estimator", "value"), PUBLISHED)
@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.float32,
        torch.tensor,
        lambda x: torch.tensor(x, dtype=torch.float32),
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: x.tolist(),
    ],
    ids=["float64", "float32", "tensor", "float32 tensor", "differentiable", "list"],
)
def test_published_values(kernel: str, estimator: str, value: float, convert: Any) -> None:
    x, y = demonstration()
    found = cka(convert(x), convert(y), kernel=kernel, estimator=estimator)
    assert torch.as_tensor(found).detach().item() == pytest.approx(value, abs=FIVE_DECIMALS)


@pytest.mark.parametrize(("kernel", "estimator", "value"), PUBLISHED)
def test_published_values_in_a_map(kernel: str, estimator: str, value: float) -> None:
    x, y = demonstration()
    found = cka_map({"x": x}, {"y": y}, kernel=kernel).values(estimator)
    assert found == pytest.approx(np.array([[value]]), abs=FIVE_DECIMALS)


# --- slow references


def grams(rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 5))
    y[:, 0] += x[:, 0]
    return torch.tensor(x @ x.T), torch.tensor(np.exp(-np.square(y[:, None] - y).sum(2) / 8))


def hsic_by_quadruples(K: Tensor, L: Tensor) -> float:
    """The U-statistic of Song et al. (2012, Theorem 3): a mean over quadruples of examples."""
    terms = [
        K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in permutations(range(len(K)), 4)
    ]
    return float(torch.stack(terms).mean())


def hsic_by_centering(K: Tensor, L: Tensor) -> float:
    """tr(KHLH) / (n-1)²."""
    n = len(K)
    H = torch.eye(n, dtype=K.dtype) - 1 / n
    return float((K @ H @ L @ H).trace() / (n - 1) ** 2)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_unbiased_hsic_is_the_mean_over_quadruples(n: int, rng: np.random.Generator) -> None:
    K, L = grams(rng, n)
    hsic = GramSums.of(K, L).unbiased()
    for found, pair in ((hsic.ab[0, 0], (K, L)), (hsic.aa[0], (K, K)), (hsic.bb[0], (L, L))):
        assert float(found) == pytest.approx(hsic_by_quadruples(*pair), rel=1e-10)


@pytest.mark.parametrize("n", [2, 4, 30])
def test_biased_hsic_is_the_trace_of_centered_grams(n: int, rng: np.random.Generator) -> None:
    K, L = grams(rng, n)
    hsic = GramSums.of(K, L).biased()
    for found, pair in ((hsic.ab[0, 0], (K, L)), (hsic.aa[0], (K, K)), (hsic.bb[0], (L, L))):
        assert float(found) == pytest.approx(hsic_by_centering(*pair), rel=1e-10)


def test_unbiased_hsic_does_not_see_the_diagonal(rng: np.random.Generator) -> None:
    K, L = grams(rng, 9)
    noise = torch.diag(torch.tensor(rng.normal(size=9)))
    assert float(GramSums.of(K + noise, L).unbiased().ab) == pytest.approx(
        float(GramSums.of(K, L).unbiased().ab), rel=1e-12
    )


def test_mean_of_unbiased_hsic_over_all_subsets_is_that_of_the_whole(
    rng: np.random.Generator,
) -> None:
    K, L = grams(rng, 8)
    subsets = [list(s) for s in combinations(range(8), 5)]
    parts = [GramSums.of(K[s][:, s], L[s][:, s]).unbiased().ab for s in subsets]
    whole = GramSums.of(K, L).unbiased().ab
    assert float(torch.stack(parts).mean()) == pytest.approx(float(whole), rel=1e-12)


# --- the sweep over tiles


class CountingSource(ArraySource):
    """Counts the rows that were read."""

    read = 0

    def rows(self, layer: str, start: int, stop: int) -> Any:
        type(self).read += stop - start
        return super().rows(layer, start, stop)


def networks(rng: np.random.Generator, n: int, dtype: Any = np.float64) -> tuple[dict, dict]:
    """Three layers and two, related; one is a map of channels, height and width."""
    first = rng.normal(size=(n, 6))
    a = {"a0": first, "a1": np.tanh(first @ rng.normal(size=(6, 9))), "a2": rng.normal(size=(n, 3))}
    b = {"b0": rng.normal(size=(n, 2, 3, 2)), "b1": first[:, :4] + rng.normal(size=(n, 4))}
    b["b0"][:, 0, 0, 0] += 2 * first[:, 0]
    return tuple({k: v.astype(dtype) for k, v in side.items()} for side in (a, b))  # type: ignore[return-value]


def dense(a: dict, b: dict, kernel: Any, estimator: str) -> np.ndarray:
    """The same map from whole Gram matrices, pair by pair."""

    def gram_of(array: np.ndarray) -> Tensor:
        x = torch.tensor(array, dtype=torch.float64).flatten(1)
        if kernel == "linear":
            return x @ x.T
        distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-((distances / parse_kernel(kernel).fraction) ** 2) / (2 * median(x) ** 2))

    hsic = [
        [getattr(GramSums.of(gram_of(x), gram_of(y)), estimator)() for y in b.values()]
        for x in a.values()
    ]
    return np.array([[float(one.cka()) for one in row] for row in hsic])


def median(x: Tensor) -> float:
    """The root of the median squared distance, as in Kornblith's code."""
    return float(np.median(np.square(x.numpy()[:, None] - x.numpy()).sum(2))) ** 0.5


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("memory", [None, 1], ids=["held", "read again"])
@pytest.mark.parametrize("n", [4, 39, 48])
def test_tiles_add_up_to_whole_gram_matrices(
    kernel: Any, memory: int | None, n: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setitem(gram.TILE, "cpu", 7)  # no tile is below 16 rows; 39 is no multiple of it
    a, b = networks(rng, n)
    stderr = memory is None  # the terms of each example take more than one byte
    found = cka_map(a, b, kernel=kernel, memory=memory, stderr=stderr, algebra="gram")
    for estimator in ESTIMATORS:
        expected = dense(a, b, kernel, estimator)
        assert found.values(estimator) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_float32_agrees_with_float64(kernel: Any, rng: np.random.Generator) -> None:
    a, b = networks(rng, 300, np.float32)
    found = cka_map(a, b, kernel=kernel)
    for estimator in ESTIMATORS:
        assert found.values(estimator) == pytest.approx(dense(a, b, kernel, estimator), abs=2e-6)


def test_rows_are_read_again_only_where_memory_is_short(
    rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setitem(gram.TILE, "cpu", 7)
    a, _ = networks(rng, 55)
    found, read = {}, {}
    for memory in (1, None):
        CountingSource.read = 0
        found[memory] = cka_map(
            CountingSource(a), memory=memory, stderr=False, algebra="gram"
        ).unbiased
        read[memory] = CountingSource.read / (55 * len(a))
    assert read[None] < 3.1  # the mean, the scale, the rows; the type and the width by one row
    assert read[1] > 5  # and one row of tiles after another: of four, each block is in four tiles
    assert found[1] == pytest.approx(found[None], abs=1e-13)


def test_a_gram_tile_is_computed_once_for_each_layer_and_not_for_each_pair(
    rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setitem(gram.TILE, "cpu", 16)
    calls, original = [], Layer.tile
    monkeypatch.setattr(Layer, "tile", lambda *args: calls.append(1) or original(*args))
    a, b = networks(rng, 48)
    for stderr in (False, True):  # a linear layer is centred before the sweep, for nothing more
        calls.clear()
        cka_map(a, b, algebra="gram", stderr=stderr)
        assert len(calls) == 5 * 6  # layers; tiles on and above the diagonal of 3 x 3
        calls.clear()
        cka_map(a, algebra="gram", stderr=stderr)
        assert len(calls) == 3 * 6


def told(*arguments: Any, **options: Any) -> list[tuple[int, int]]:
    """The calls that a map makes of its progress: steps done and in all."""
    steps: list[tuple[int, int]] = []
    cka_map(*arguments, progress=lambda done, total, note: steps.append((done, total)), **options)
    return steps


def test_progress_counts_the_steps(rng: np.random.Generator, monkeypatch: Any) -> None:
    monkeypatch.setitem(gram.TILE, "cpu", 16)
    monkeypatch.setattr(features, "ROWS", 16)
    a, b = networks(rng, 48)
    # Tiles on and above the diagonal; before them, the layers that are held as Gram matrices.
    assert told(a, algebra="gram") == [(done, 6) for done in range(1, 7)]
    assert told(a, b, kernel="rbf") == [(done, 6) for done in range(1, 7)]  # held before
    wide = {"wide": rng.normal(size=(48, 60)), **a}
    assert told(wide, algebra="gram") == [(done, 7) for done in range(1, 8)]
    # Blocks of rows; twice with the terms of each example.
    assert told(a, algebra="features", stderr=False) == [(done, 3) for done in range(1, 4)]
    assert told(a, algebra="features") == [(done, 6) for done in range(1, 7)]


# --- what a map says


def test_a_map_of_one_network_is_symmetric_with_a_diagonal_of_ones(
    rng: np.random.Generator,
) -> None:
    a, _ = networks(rng, 40)
    for found in (cka_map(a), cka_map(a, dict(a)), cka_map(a, kernel="rbf")):
        for values in (found.unbiased, found.biased):
            assert values == pytest.approx(values.T, abs=1e-13)
            assert values.diagonal() == pytest.approx(np.ones(3), abs=1e-12)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("p", [3, 64, 600])
def test_a_layer_is_like_itself_in_float32(kernel: Any, p: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(500, p)).astype(np.float32)
    assert cka(x, x.copy(), kernel=kernel) == pytest.approx(1, abs=1e-6)


def test_a_map_says_what_it_is_of(rng: np.random.Generator) -> None:
    a, b = networks(rng, 100)
    found = cka_map(ArraySource(a, name="left"), ArraySource(b, name="right"), kernel="rbf:0.4")
    assert (found.layers_a, found.layers_b) == (("a0", "a1", "a2"), ("b0", "b1"))
    assert (found.name_a, found.name_b, found.n, found.kernel) == ("left", "right", 100, "rbf:0.4")
    assert found.notes == {}
    assert found.provenance["a"]["n"] == 100
    assert found.provenance["sums"] == "float64"


def test_layers_can_be_chosen_and_keep_the_order_asked_for(rng: np.random.Generator) -> None:
    a, b = networks(rng, 23)
    whole = cka_map(a, b)
    part = cka_map(a, b, layers_a=["a2", "a0"], layers_b=["b1"])
    assert part.layers_a == ("a2", "a0")
    assert part.unbiased == pytest.approx(whole.unbiased[[2, 0]][:, [1]], abs=1e-13)
    itself = cka_map(a)
    assert cka_map(a, layers_a=["a1", "a2"]).unbiased == pytest.approx(
        itself.unbiased[1:, 1:], abs=1e-13
    )
    assert cka_map(a, layers_b=["a1"]).unbiased == pytest.approx(itself.unbiased[:, [1]], abs=1e-13)


def test_channels_are_features_even_where_their_number_is_that_of_the_examples(
    rng: np.random.Generator,
) -> None:
    x, y = rng.normal(size=(6, 6, 2, 2)), rng.normal(size=(6, 6))
    assert cka(x, y) == pytest.approx(cka(x.reshape(6, -1), y), abs=1e-14)
    assert cka(x, x.copy()) == pytest.approx(1, abs=1e-12)


def test_a_constant_layer_and_a_nan_layer_are_nan_with_a_reason_and_spoil_no_other(
    rng: np.random.Generator,
) -> None:
    a, b = networks(rng, 23)
    whole = cka_map(a, b)
    a["a1"] = np.full((23, 4), 0.1)
    b["b0"] = b["b0"].copy()
    b["b0"][5, 1, 2, 0] = np.nan
    found = cka_map(a, b)
    assert found.notes == {
        "a:a1": "it is the same for every example",
        "b:b0": "it holds NaN or infinity",
    }
    for values, before in ((found.unbiased, whole.unbiased), (found.biased, whole.biased)):
        assert np.isnan(values[1]).all()
        assert np.isnan(values[:, 0]).all()
        assert values[[0, 2], 1] == pytest.approx(before[[0, 2], 1], abs=1e-13)


def test_a_map_without_a_usable_layer_is_all_nan(rng: np.random.Generator) -> None:
    found = cka_map({"a": np.ones((9, 2))}, {"b": rng.normal(size=(9, 2))})
    assert np.isnan(found.unbiased).all()
    assert np.isnan(found.biased).all()
    assert list(found.notes) == ["a:a"]


def test_four_examples_have_no_standard_error_and_a_map_says_so(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 5, 1))
    found = cka_map({"x": x[:4]}, {"y": y[:4]})
    assert found.stderr is not None
    assert np.isnan(found.stderr).all()
    assert found.notes["stderr"] == "4 examples arrived; standard errors need at least 5"
    assert "stderr" not in cka_map({"x": x[:4]}, {"y": y[:4]}, stderr=False).notes
    assert "stderr" not in cka_map({"x": x}, {"y": y}).notes


def test_a_self_hsic_of_zero_is_nan_with_a_reason(rng: np.random.Generator) -> None:
    # So narrow a kernel underflows to the identity, which no example shares with another.
    found = cka_map({"x": rng.normal(size=(9, 2))}, kernel=RBF(1e-3))
    assert np.isnan(found.unbiased).all()
    assert found.biased == pytest.approx(np.ones((1, 1)), abs=1e-12)
    assert (
        "unbiased self-HSIC is 0, not positive beyond rounding: 9 examples are too few"
        in found.notes["a:x"]
    )


# --- kernels


def test_the_bandwidth_is_a_fraction_of_the_median_distance_in_the_layers_own_units(
    rng: np.random.Generator, monkeypatch: Any
) -> None:
    x = 1e3 * rng.normal(size=(50, 4)) + 7
    expected = 0.4 * median(torch.tensor(x))
    recorded = cka_map({"x": x}, kernel=RBF(0.4)).provenance["bandwidth"]
    assert recorded == {"a:x": pytest.approx(expected, rel=1e-12)}
    # Of many examples, an evenly spaced subset decides.
    monkeypatch.setattr(prepare, "MEDIAN_EXAMPLES", 8)
    recorded = cka_map({"x": x}, kernel=RBF(0.4)).provenance["bandwidth"]
    subset = x[np.linspace(0, 49, 8).round().astype(int)]
    assert recorded["a:x"] == pytest.approx(0.4 * median(torch.tensor(subset)), rel=1e-12)


@pytest.mark.parametrize("n", [4, 5, 8, 9, 30])
def test_a_median_by_sorting_is_that_by_partition(
    n: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    x = torch.tensor(rng.normal(size=(n, 3)))
    squared = torch.cdist(x, x).square().triu(1) - torch.ones(n, n).tril()  # below: anything
    by_partition = float(median_square(squared))
    assert by_partition**0.5 == pytest.approx(float(median(x)), rel=1e-12)
    monkeypatch.setattr(kernels, "is_plain", lambda value: False)
    assert float(median_square(squared)) == by_partition


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wide_rbf_tends_to_linear(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(200, 8)).astype(dtype)
    y = (x[:, :5] + rng.normal(size=(200, 5))).astype(dtype)
    for estimator in ESTIMATORS:
        linear = cka(x, y, estimator=estimator)
        near, nearer = (
            abs(cka(x, y, kernel=RBF(f), estimator=estimator) - linear) for f in (5, 20)
        )
        # exp(-d²/2σ²) = 1 - d²/2σ² + ..., so the difference falls with σ²: to about a sixteenth
        assert near < 0.02
        assert nearer < near / 8 + 1e-6


@pytest.mark.parametrize(
    ("text", "kernel"),
    [("linear", Linear()), ("rbf", RBF(0.5)), ("rbf:0.2", RBF(0.2)), (RBF(2), RBF(2))],
)
def test_kernels_by_name(text: Any, kernel: Any) -> None:
    assert parse_kernel(text) == kernel
    assert parse_kernel(str(kernel)) == kernel


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("cosine", "unknown kernel 'cosine'; there is: linear, rbf"),
        ("linaer", "did you mean 'linear'"),
        ("linear:2", "unknown kernel 'linear:2'"),
        ("rbf:half", "'half' is not a number; try 'rbf:0.5'"),
        ("rbf:0", "the fraction 0 of the median distance between examples; expected 0.001 to"),
        ("rbf:-1", "'rbf:-1': the bandwidth is the fraction -1 of the median .* such as 'rbf:0.5'"),
        ("rbf:inf", "expected 0.001 to 1000"),
        ("rbf:nan", "the fraction nan of the median distance"),
    ],
)
def test_kernels_that_are_not(kernel: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        cka(np.eye(5), np.eye(5), kernel=kernel)


# --- types, gradients and the caller's settings


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.uint8])
def test_halves_and_integers_are_computed_in_float32(
    dtype: torch.dtype, rng: np.random.Generator
) -> None:
    x = torch.tensor(rng.integers(0, 60, size=(40, 5))).to(dtype)
    y = torch.tensor(rng.normal(size=(40, 3)))
    assert cka(x, y.float()) == cka(x.float(), y.float())


def test_inputs_are_left_as_they_were(rng: np.random.Generator) -> None:
    x, y = torch.tensor(rng.normal(size=(20, 5))), torch.tensor(rng.normal(size=(20, 3)))
    before = x.clone(), y.clone()
    for kernel in KERNELS:
        cka(x, y, kernel=kernel)
        cka_map({"x": x}, {"y": y}, kernel=kernel)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_views_in_reverse_order_are_read(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    expected = pytest.approx(cka(x, y), abs=1e-14)
    assert cka(x[::-1], y[::-1]) == expected
    assert cka_map({"x": x[::-1]}, {"y": y[::-1]}).unbiased.item() == expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_agree_with_differences(estimator: Any, rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(9, 3)), requires_grad=True)
    y = torch.tensor(rng.normal(size=(9, 2)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: cka(x, y, estimator=estimator), (x, y))


def test_the_rbf_gradient_is_that_of_a_fixed_bandwidth(rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(9, 3)), requires_grad=True)
    y = torch.tensor(rng.normal(size=(9, 2)))
    (found,) = torch.autograd.grad(cka(x, y, kernel="rbf"), x)

    def at_fixed_bandwidth(x: Tensor) -> Tensor:
        sigma = [0.5 * median(v.detach()) for v in (x0, y)]
        grams = [
            torch.exp(-(v[:, None] - v).square().sum(2) / (2 * s**2))
            for v, s in zip((x, y), sigma, strict=True)
        ]
        return GramSums.of(*grams).unbiased().cka().squeeze()

    x0 = x.detach().clone()
    (expected,) = torch.autograd.grad(at_fixed_bandwidth(x), x)
    assert torch.allclose(found, expected, atol=1e-10)


@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_differentiable_value_is_the_value(
    kernel: Any, estimator: Any, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(30, 2, 4)), torch.tensor(rng.normal(size=(30, 3)))
    value = cka(x, y, kernel=kernel, estimator=estimator)
    leaf = torch.tensor(x, requires_grad=True)
    found = cka(leaf, y, kernel=kernel, estimator=estimator)
    assert isinstance(value, float)
    assert isinstance(found, Tensor)
    assert found.shape == ()
    assert found.item() == pytest.approx(value, abs=1e-12)
    found.backward()
    assert leaf.grad is not None
    assert leaf.grad.shape == leaf.shape


@pytest.mark.parametrize("scale", [1e-10, 1e10])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scales_have_no_part_in_the_differentiable_value(
    kernel: Any, estimator: Any, scale: float, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(30, 4)), torch.tensor(rng.normal(size=(30, 3)))
    values, gradients = [], []
    for factor in (1, scale):
        leaf = torch.tensor(factor * x, requires_grad=True)
        found = cka(leaf, y, kernel=kernel, estimator=estimator)
        found.backward()
        assert leaf.grad is not None
        values.append(found.item())
        gradients.append(factor * leaf.grad)
    assert values[1] == pytest.approx(values[0], abs=1e-12)
    assert torch.allclose(gradients[1], gradients[0], rtol=1e-8, atol=1e-12)
    assert gradients[0].abs().max() > 1e-4


@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_of_tiny_features_agree_with_differences(
    estimator: Any, rng: np.random.Generator
) -> None:
    x, y, way = (rng.normal(size=(30, p)) for p in (4, 3, 4))
    leaf = torch.tensor(1e-10 * x, requires_grad=True)
    (found,) = torch.autograd.grad(cka(leaf, y, estimator=estimator), leaf)
    up, down = (float(cka(1e-10 * (x + h * way), y, estimator=estimator)) for h in (1e-5, -1e-5))
    assert float((found * torch.tensor(way)).sum()) == pytest.approx((up - down) / 2e-15, rel=1e-6)


def test_rounding_does_not_make_a_simplex_vary(rng: np.random.Generator) -> None:
    simplex = np.linalg.qr(rng.normal(size=(64, 64)))[0]  # every example as far from every other
    y = rng.normal(size=(64, 3))
    for scale in (1e-10, 1, 1e10):
        for x in (torch.tensor(scale * simplex), torch.tensor(scale * simplex).requires_grad_()):
            with pytest.raises(DegenerateError, match="x: its self-HSIC is .*, not positive"):
                cka(x, y)


def test_a_map_takes_activations_that_still_require_gradients(rng: np.random.Generator) -> None:
    x = rng.normal(size=(20, 5))
    found = cka_map({"x": torch.tensor(x, requires_grad=True)}, {"y": x[:, :2].copy()})
    assert found.unbiased.item() == pytest.approx(cka(x, x[:, :2]), abs=1e-13)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_an_autocast_region_changes_nothing(kernel: Any, rng: np.random.Generator) -> None:
    a, b = networks(rng, 30, np.float32)
    expected = cka_map(a, b, kernel=kernel).unbiased
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(cka_map(a, b, kernel=kernel).unbiased, expected)


# --- errors

FINE = np.random.default_rng(0).normal(size=(9, 3))
ERRORS: list[tuple[Any, Any, dict[str, Any], type[RepsimError], str]] = [
    (FINE, FINE[:8], {}, ShapeError, "x has 9 rows, y has 8; expected the same examples"),
    (FINE[:, 0], FINE, {}, ShapeError, r"x has shape \(9,\); expected \(n, p\)"),
    (FINE, FINE[0], {}, ShapeError, r"y has shape \(3,\)"),
    (FINE[:3], FINE[:3], {}, DegenerateError, "3 examples arrived; CKA needs at least 4"),
    (FINE, FINE, {"estimator": "biassed"}, UsageError, "did you mean 'biased'"),
    (FINE, np.full((9, 2), np.nan), {}, NonFiniteError, "y: it holds NaN or infinity"),
    (FINE * np.inf, FINE, {}, NonFiniteError, "x: it holds NaN or infinity"),
    (np.full((9, 2), 0.1), FINE, {}, DegenerateError, "x: it is the same for every example"),
    (FINE, FINE[:, :0], {}, DegenerateError, "y: it is the same for every example"),
    (np.eye(9)[0] + 0 * FINE[:, :1], FINE, {"kernel": "rbf"}, DegenerateError, "x: it is the same"),
    (np.eye(9)[:, :1], FINE, {"kernel": "rbf"}, DegenerateError, "x: the median distance .* is 0"),
    (FINE, FINE, {"kernel": RBF(1e-3)}, DegenerateError, "x: its self-HSIC is 0, not positive"),
]


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize(("x", "y", "options", "error", "message"), ERRORS)
def test_errors_name_the_argument(
    x: Any, y: Any, options: Any, error: Any, message: str, differentiable: bool
) -> None:
    x = torch.tensor(x, requires_grad=differentiable)
    with pytest.raises(error, match=message):
        cka(x, y, **options)


@pytest.mark.parametrize("n", [9, 33, 59])
def test_rounding_does_not_make_a_constant_layer_vary(n: int, rng: np.random.Generator) -> None:
    # The mean of 33 times 0.1 is not 0.1 in binary.
    y = torch.tensor(rng.normal(size=(n, 3)))
    for constant in (0.1, 1e6, 1e-6):
        x = torch.full((n, 3), constant, dtype=torch.float64)
        for leaf in (x, x.clone().requires_grad_()):
            with pytest.raises(DegenerateError, match="x: it is the same for every example"):
                cka(leaf, y)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({},), ShapeError, "no layers arrived"),
        (({"x": FINE, "y": FINE[:5]},), ShapeError, "layer 'y' has 5 rows, 'x' has 9"),
        (({"x": FINE[0]},), ShapeError, r"layer 'x' has shape \(3,\)"),
        (({"x": FINE[:3]},), DegenerateError, "3 examples arrived"),
        (({"x": FINE}, {"y": FINE[:5]}), MismatchError, "a has 9 examples, b has 5; harvest both"),
    ],
)
def test_errors_of_a_map(arguments: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        cka_map(*arguments)


def test_unknown_and_empty_choices_of_layers_are_refused() -> None:
    with pytest.raises(UsageError, match="a has no layer 'bg1'; did you mean 'bg0'"):
        cka_map({"bg0": FINE}, layers_a=["bg1"])
    with pytest.raises(UsageError, match="b has no layer 'x'"):
        cka_map({"x": FINE}, {"y": FINE}, layers_b=["x"])
    with pytest.raises(UsageError, match="no layer of a was chosen; there is: x"):
        cka_map({"x": FINE}, layers_a=[])


def test_other_examples_are_refused_by_their_ids() -> None:
    ids = np.arange(9).astype("S")
    other = ids.copy()
    other[[2, 4]] = other[[4, 2]]
    a = ArraySource({"x": FINE}, name="left", example_ids=ids)
    b = ArraySource({"x": FINE}, name="right", example_ids=other)
    with pytest.raises(MismatchError, match="differ in 2 of 9 example ids, first at row 2: 2 aga"):
        cka_map(a, b)
    assert cka_map(a, ArraySource({"x": FINE}, example_ids=ids.copy())).n == 9
    assert cka_map(a, {"x": FINE}).n == 9  # without ids there is nothing to compare


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_a_gpu_gives_what_the_cpu_gives(kernel: Any, rng: np.random.Generator) -> None:
    a, b = networks(rng, 300, np.float32)
    on_cpu, on_gpu = (cka_map(a, b, kernel=kernel, device=device) for device in ("cpu", "cuda"))
    for estimator in ESTIMATORS:
        assert on_gpu.values(estimator) == pytest.approx(on_cpu.values(estimator), abs=2e-6)
