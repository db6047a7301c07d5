"""Nearest neighbours against all distances in float64, and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from repsim.errors import ShapeError, UsageError
from repsim.probes import knn
from repsim.probes.features import Features


@pytest.fixture
def small_tiles(monkeypatch: Any) -> None:
    """Tiles of eight rows and chunks of four columns, so that small matrices have several."""
    monkeypatch.setattr(knn, "TILES", {"cpu": 8})
    monkeypatch.setattr(knn, "CHUNK", 4)
    monkeypatch.setattr(knn, "AT_ONCE", {"cpu": 16})


def found(train: Any, test: Any, k: int) -> tuple[Tensor, Tensor]:
    """Distances and places of all test rows."""
    parts = list(knn.neighbours(Features.of(train), Features.of(test), k=k))
    assert [part[0].start for part in parts[1:]] == [part[0].stop for part in parts[:-1]]
    return torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])


def all_distances(train: Any, test: Any) -> Tensor:
    """Squared, by differences in float64, (m, n)."""
    x, t = (torch.as_tensor(values).double() for values in (train, test))
    return torch.stack([(x - row).square().sum(1) for row in t])


def check(train: Any, test: Any, k: int) -> None:
    """The neighbours are those of float64 distances, in order; ties in order of their places."""
    expected = all_distances(train, test).sort(dim=1, stable=True)
    distances, places = found(train, test, k)
    assert torch.equal(places, expected.indices[:, :k])
    torch.testing.assert_close(distances, expected.values[:, :k].sqrt(), rtol=1e-13, atol=0.0)


# --- exactness


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    m=st.integers(1, 20),
    p=st.integers(1, 5),
    values=st.integers(1, 4),
    share=st.floats(0, 1),
    double=st.booleans(),
)
def test_neighbours_are_exact_among_many_ties(
    seed: int, n: int, m: int, p: int, values: int, share: float, double: bool
) -> None:
    rng = np.random.default_rng(seed)
    dtype = np.float64 if double else np.float32
    train, test = (rng.integers(0, values, (rows, p)).astype(dtype) for rows in (n, m))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "TILES", {"cpu": 8})
        patch.setattr(knn, "CHUNK", 4)
        patch.setattr(knn, "AT_ONCE", {"cpu": 16})
        check(train, test, 1 + int(share * (n - 1)))


@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_are_exact_across_tiles(k: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(k)
    train = torch.randn(4500, 20, generator=generator, dtype=dtype)
    test = torch.randn(300, 20, generator=generator, dtype=dtype)
    check(train, test, k)


def test_neighbours_of_nearly_equal_rows_are_those_of_float64(small_tiles: None) -> None:
    """Two far groups, in each of which distances differ by less than float32 can tell."""
    generator = torch.Generator().manual_seed(0)
    far = 1000.0 * torch.randn(2, 30, generator=generator)
    train, test = (
        far[torch.arange(rows) % 2] + 1e-3 * torch.randn(rows, 30, generator=generator)
        for rows in (200, 50)
    )
    # What float32 alone would find is something else, and so the bound has to send them to float64.
    plain = torch.addmm(train.square().sum(1), test, train.T, alpha=-2).argmin(1)
    assert not torch.equal(plain, found(train, test, 1)[1][:, 0])
    check(train, test, 1)
    check(train, test, 5)


def test_groups_in_float64_stay_exact_at_full_size() -> None:
    generator = torch.Generator().manual_seed(1)
    far = 1000.0 * torch.randn(2, 30, generator=generator)
    train = far[torch.arange(3000) % 2] + 1e-3 * torch.randn(3000, 30, generator=generator)
    check(train, train[:40] + 1e-3, 2)


@pytest.mark.parametrize("shift", [1e3, 1e6])
def test_neighbours_far_from_the_origin_are_exact(shift: float, rng: np.random.Generator) -> None:
    train, test = (rng.normal(size=(rows, 6)) + shift for rows in (150, 40))
    check(train, test, 3)
    check(train.astype(np.float32), test.astype(np.float32), 3)


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-20, 1e20, 1e30, 1e38])
def test_no_scale_of_float32_overflows(
    scale: float, rng: np.random.Generator, small_tiles: None
) -> None:
    train, test = (
        torch.tensor(scale * rng.uniform(-3, 3, size=(rows, 6))).float() for rows in (50, 20)
    )
    check(train, test, 2)


@pytest.mark.parametrize("scale", [2.0**-1060, 2.0**-600, 2.0**600, 2.0**1020])
def test_no_scale_of_float64_overflows(scale: float, rng: np.random.Generator) -> None:
    train, test = (rng.integers(-4, 5, size=(rows, 6)).astype(float) for rows in (50, 20))
    distances, places = found(scale * train, scale * test, 3)
    expected = found(train, test, 3)
    assert torch.equal(places, expected[1])
    exact = scale > 1e-300  # the smallest numbers have few digits
    torch.testing.assert_close(distances / scale, expected[0], rtol=0.0 if exact else 1e-3, atol=0)


def test_columns_of_all_sizes_count_as_they_are(
    rng: np.random.Generator, small_tiles: None
) -> None:
    train, test = (rng.normal(size=(rows, 8)) * np.geomspace(1e-6, 1e6, 8) for rows in (90, 30))
    check(train, test, 2)
    check(train.astype(np.float32), test.astype(np.float32), 2)


def test_outliers_do_not_hide_their_neighbours(rng: np.random.Generator, small_tiles: None) -> None:
    train, test = (rng.normal(size=(rows, 4)).astype(np.float32) for rows in (70, 30))
    train[[3, 40]] *= 1e12
    test[[5, 20]] *= 1e6
    test[7] *= 1e30
    check(train, test, 1)
    check(train, test, 4)


def test_a_constant_column_and_constant_features_are_no_trouble(
    rng: np.random.Generator, small_tiles: None
) -> None:
    train, test = (rng.integers(0, 3, (rows, 3)).astype(np.float32) for rows in (50, 20))
    train[:, 1], test[:, 1] = 1e30, 1e30
    check(train, test, 2)
    same = np.full((50, 3), 0.1, np.float32)
    check(same, same[:20], 2)
    check(same, test, 2)


def test_of_equal_rows_the_first_is_the_nearest(small_tiles: None) -> None:
    train = torch.zeros(60, 3)
    train[[5, 6, 21, 50]] = torch.tensor([0.3, 0.7, 0.1])
    test = torch.tensor([[0.3, 0.7, 0.1], [0.31, 0.7, 0.1]])
    assert found(train, test, 3)[1].tolist() == [[5, 6, 21]] * 2
    assert found(train, test, 5)[1].tolist() == [[5, 6, 21, 50, 0]] * 2


def test_many_equal_rows_take_no_longer_than_one_tile(monkeypatch: Any) -> None:
    """Once k neighbours are at distance 0, the rest of the training rows is not looked at."""
    compared = count_pairs(monkeypatch)
    check(torch.ones(20_000, 3), torch.ones(5, 3), 1)
    assert compared() <= 5 * (2048 + 2)


def test_few_rows_are_looked_at_twice(monkeypatch: Any, rng: np.random.Generator) -> None:
    compared = count_pairs(monkeypatch)
    train, test = (rng.normal(size=(rows, 10)).astype(np.float32) for rows in (9000, 200))
    check(train, test, 1)
    assert compared() < 10 * len(test)


def test_far_groups_and_far_means_are_told_apart_by_products(monkeypatch: Any) -> None:
    """By those in float64, or after centring: one pair at a time would take much longer."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(3000, 30, generator=generator)
    far = 1000.0 * torch.randn(2, 30, generator=generator)[torch.arange(3000) % 2]
    for train in (far + 1e-3 * noise, 1e4 + noise):
        compared = count_pairs(monkeypatch)
        found(train, train[:40] + 1e-3, 2)
        assert compared() < 40 * 100


def test_what_overflows_in_float32_is_compared_in_float64(
    rng: np.random.Generator, small_tiles: None
) -> None:
    train, test = ((1e-10 * rng.normal(size=(n, 3))).astype(np.float32) for n in (40, 9))
    test[4], test[6] = 3e38, [-3e38, 0, 0]
    check(train, test, 2)


def count_pairs(monkeypatch: Any) -> Any:
    exact, counts = knn.Pair.squared, []

    def squared(self: Any, rows: Tensor, columns: Tensor) -> Tensor:
        counts.append(len(rows))
        return exact(self, rows, columns)

    monkeypatch.setattr(knn.Pair, "squared", squared)
    return lambda: sum(counts)


def test_the_bound_holds_for_every_pair(rng: np.random.Generator) -> None:
    """|t|² (1 - e) - 2 g is never above the squared distance, and by more than rounding below."""
    for dtype in (torch.float32, torch.float64):
        train, test = (torch.tensor(rng.normal(size=(rows, 40)), dtype=dtype) for rows in (50, 30))
        frame = knn.Frame.of(Features.of(train), dtype)
        x, t = knn.Side.train(train, frame, dtype), knn.Side.test(test, frame, dtype)
        g = (t.values @ x.values.T)[:, :50].double()
        lower = t.squares[:, None] * (1 - knn._error(40, dtype)) - 2 * g
        slack = all_distances(train, test) * frame.scale**2 - lower
        assert float(slack.min()) > 0
        whole = x.squares + t.squares[:, None]
        assert bool((slack <= 2 * knn._error(40, dtype) * whole).all())


def test_a_sum_of_squares_does_not_depend_on_the_other_rows(rng: np.random.Generator) -> None:
    for p in (1, 2, 3, 7, 784, 1001):
        x = torch.tensor(rng.normal(size=(9, p)))
        found = knn._sum_of_squares(x.clone())
        torch.testing.assert_close(found, x.square().sum(1), rtol=1e-14, atol=0.0)
        for i in range(9):
            assert knn._sum_of_squares(x[i : i + 1].clone()) == found[i]


# --- rows in parts


def test_any_blocks_and_any_memory_give_the_same(
    rng: np.random.Generator, monkeypatch: Any, small_tiles: None
) -> None:
    train, test = (torch.tensor(rng.normal(size=(rows, 5))) for rows in (101, 33))
    expected = found(train, test, 3)[1]
    reads: list[int] = []

    def ragged(values: Tensor, starts: list[int], seen: list[int]) -> Features:
        def read(k: int) -> Tensor:
            seen.append(k)
            return values[starts[k] : starts[k + 1]]

        return Features(read, starts, 5, values.dtype, values.device)

    # Room for ten test rows: four parts, in each of which the training rows are read once.
    monkeypatch.setattr(knn, "default_memory", lambda device: 2 * 10 * (3 * 8 * 5 + 100 * 3))
    blocks = ragged(train, [0, 1, 1, 30, 30, 95, 101], reads)
    parts = list(knn.neighbours(blocks, ragged(test, [0, 0, 2, 20, 33], []), k=3))
    assert torch.equal(torch.cat([part[2] for part in parts]), expected)
    assert [len(part[2]) for part in parts] == [10, 10, 10, 3]
    assert reads == [0, 2, 4, 5] * 5  # once more for the mean


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_tiles_are_the_matrix_in_order(size: int) -> None:
    x = torch.arange(40.0).view(20, 2)
    rows = Features.of(x).take(torch.tensor([0, 1, 2, 5, 9, 10, 11, 18, 19]))
    tiles = list(knn._tiles(rows, size))
    assert [first for first, _ in tiles] == list(range(0, 9, size))
    assert torch.equal(torch.cat([tile for _, tile in tiles]), rows.tensor())


def test_wide_features_come_in_small_tiles() -> None:
    assert knn._tile(torch.empty(1, 784)) == 2048
    assert knn._tile(torch.empty(1, 65536)) == 512
    assert knn._tile(torch.empty(1, 1 << 22)) == 64


# --- votes


@pytest.mark.parametrize("k", [1, 5, 8])
def test_classes_are_those_of_scikit_learn(k: int, rng: np.random.Generator) -> None:
    x, t = rng.normal(size=(500, 6)), rng.normal(size=(100, 6))
    labels = rng.integers(0, 4, 500)
    predicted = knn.knn_predict(Features.of(x), torch.tensor(labels), Features.of(t), 4, k=k)
    reference = KNeighborsClassifier(k, algorithm="brute").fit(x, labels)
    assert np.array_equal(predicted.numpy(), reference.predict(t))
    distances, places = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(t)
    ours = found(x, t, k)
    assert np.array_equal(ours[1].numpy(), places)
    assert ours[0].numpy() == pytest.approx(distances, rel=1e-6)


def test_a_tie_goes_to_the_lower_class() -> None:
    train, test = Features.of([[0.0], [2.0], [9.0]]), Features.of([[0.9]])
    assert knn.knn_predict(train, torch.tensor([1, 0, 2]), test, 3, k=2).tolist() == [0]
    assert knn.knn_predict(train, torch.tensor([1, 0, 2]), test, 3, k=1).tolist() == [1]


def test_all_neighbours_vote_for_the_largest_class(rng: np.random.Generator) -> None:
    x, labels = rng.normal(size=(30, 2)), torch.arange(30) % 3 + (torch.arange(30) == 0).long()
    predicted = knn.knn_predict(Features.of(x), labels, Features.of(x[:5]), 3, k=30)
    assert predicted.tolist() == [1] * 5


def test_errors_name_the_argument() -> None:
    x, y = Features.of(np.ones((6, 2))), torch.zeros(6, dtype=torch.int64)
    with pytest.raises(ShapeError, match="5 labels came with 6 training rows"):
        knn.knn_predict(x, y[:5], x, 1)
    with pytest.raises(ShapeError, match="training rows have 2 columns, test rows 3"):
        knn.knn_predict(x, y, Features.of(np.ones((6, 3))), 1)
    for k in (0, 7):
        with pytest.raises(UsageError, match=f"k is {k}; expected 1 to 6"):
            knn.knn_predict(x, y, x, 1, k=k)
