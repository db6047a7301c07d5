"""Equal distances share a rank: measures of ranks against distances that are exact in integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from repsim.measures import mutual_knn, neighbours, rsa

#: Seeds of the quick suite; RSA was wrong for the last six while a gap had the slack of one value.
FEW, MANY = (0, 1, 3, 4, 2, 7, 8, 13, 15, 22), range(400)


def layers(seed: int) -> list[Int[np.ndarray, "n p"]]:
    """Two layers of whole numbers, most of whose distances tie; some rows coincide."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.choice([12, 30, 100, 300])), int(rng.choice([1, 2, 3]))
    x, y = rng.choice([-1, 0, 0, 0, 1], (n, p)), rng.integers(0, 3, (n, 2))
    x[0, 0], y[0, 0] = 7, 7  # never all the same, and of another norm than the others
    return [x, y]


def squared(x: Int[np.ndarray, "n p"]) -> Int[np.ndarray, "n n"]:
    """Squared distances of all rows, exactly."""
    return np.square(x[:, None] - x[None]).sum(-1)


def check_rsa(seed: int) -> None:
    x, y = layers(seed)
    above = np.triu_indices(len(x), 1)
    expected = spearmanr(squared(x)[above], squared(y)[above]).statistic
    assert rsa(x.astype(float), y.astype(float)) == pytest.approx(expected, abs=1e-12)


def nearest(x: Int[np.ndarray, "n p"], k: int) -> Float[np.ndarray, "n n"]:
    """1 at the k nearest rows of each, of equally near ones the first, and 0 elsewhere."""
    far = squared(x).astype(float)
    np.fill_diagonal(far, np.inf)
    mask = np.zeros_like(far)
    np.put_along_axis(mask, far.argsort(1, kind="stable")[:, :k], 1, axis=1)
    return mask


def check_mutual_knn(seed: int) -> None:
    x, y = layers(seed)
    for k in (1, 4, 10):
        expected = (nearest(x, k) * nearest(y, k)).sum() / len(x) / k
        found = mutual_knn(x.astype(float), y.astype(float), k=k)
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("check", [check_rsa, check_mutual_knn])
def test_of_whole_numbers_by_exact_distances(check) -> None:  # type: ignore[no-untyped-def]
    for seed in FEW:
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_rsa, check_mutual_knn])
def test_of_whole_numbers_by_exact_distances_many_times(check) -> None:  # type: ignore[no-untyped-def]
    for seed in MANY:
        check(seed)


def test_a_far_example_beside_near_ones_breaks_no_tie() -> None:
    """The rounding of a distance follows the norms of its rows, so two equal distances may lie
    apart by more than the smaller of their slacks."""
    x = np.array([[0, 0], [0, 1], [1, 0], [10**6, 10**6], [10**6, 10**6 + 1]])
    y = np.array([[0], [1], [3], [7], [12]])
    above = np.triu_indices(5, 1)
    expected = spearmanr(squared(x)[above], squared(y)[above]).statistic
    assert rsa(x.astype(float), y.astype(float)) == pytest.approx(expected, abs=1e-12)


def test_a_neighbour_is_tied_within_the_slack_of_either_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of each row, the first two others are equally near; the second is computed as nearer."""
    values = torch.tensor([[0, 2, 1, 9.0], [2, 0, 1, 9], [2, 1, 0, 9], [2, 1, 9, 0]]).double()
    slack = torch.tensor([[0, 0.1, 1, 0.1], [0.1, 0, 1, 0.1], [0.1, 1, 0, 0.1], [0.1, 1, 0.1, 0]])
    distances = (values, slack.double())
    monkeypatch.setattr(neighbours, "squared_distances", lambda *_: [d.clone() for d in distances])
    found = neighbours._neighbours(torch.zeros(4, 1).double(), slice(0, 4), 1)
    assert found.int().argmax(1).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_ranks_are_in_float64_whatever_the_default(
    dtype: torch.dtype, rng: np.random.Generator
) -> None:
    x, y = rng.normal(size=(2, 90, 3))
    above = np.triu_indices(90, 1)
    expected = spearmanr(
        *(np.square(z[:, None] - z[None]).sum(-1)[above] for z in (x, y))
    ).statistic
    torch.set_default_dtype(dtype)
    try:
        found = rsa(x, y)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == pytest.approx(expected, abs=1e-12)
