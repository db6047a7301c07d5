"""Means over pairs of networks: closed forms, designs, and simulated coverage."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest

from repsim.confidence import mean_interval
from repsim.errors import UsageError
from repsim.jackknife import Networks, families, fewest, network_interval, over_networks

ABC = [("a", "b"), ("a", "c"), ("b", "c")]


def test_of_a_sum_of_effects_the_error_is_that_of_the_effects(rng: np.random.Generator) -> None:
    """y = a_i + a_j has the mean 2 ā, whose standard error is 2 s / √n, with n - 1 degrees."""
    for n in (3, 4, 7):
        effects = rng.normal(size=n)
        pairs = list(combinations(range(n), 2))
        mean, stderr, freedom = over_networks([effects[i] + effects[j] for i, j in pairs], pairs)
        assert mean == pytest.approx(2 * effects.mean())
        assert stderr == pytest.approx(2 * effects.std(ddof=1) / math.sqrt(n))
        assert freedom == pytest.approx(n - 1)


def test_across_two_families_variances_add_with_the_degrees_of_welch_and_satterthwaite(
    rng: np.random.Generator,
) -> None:
    a, b = rng.normal(size=3), 2 * rng.normal(size=5)
    pairs = [(f"a{i}", f"b{j}") for i, j in product(range(3), range(5))]
    values = (a[:, None] + b).ravel()
    mean, stderr, freedom = over_networks(values, pairs)
    u, v = a.var(ddof=1) / 3, b.var(ddof=1) / 5
    assert mean == pytest.approx(a.mean() + b.mean())
    assert stderr == pytest.approx(math.sqrt(u + v))
    assert freedom == pytest.approx((u + v) ** 2 / (u**2 / 2 + v**2 / 4))


@pytest.mark.parametrize(
    "networks",
    [
        [("a0",), ("a1",), ("a2",), ("a3",)],  # single networks
        [("a0", "b0"), ("a1", "b1"), ("a2", "b2"), ("a3", "b3")],  # two families, by seed
        [("a0", "a0"), ("a1", "a1"), ("a2", "a2"), ("a3", "a3")],  # each with itself
    ],
)
def test_values_that_share_no_network_have_students_interval(
    networks: Networks, rng: np.random.Generator
) -> None:
    values = rng.normal(size=(4, 2, 3))
    for ours, students in zip(
        network_interval(values, networks, 0.9), mean_interval(values, 0.9), strict=True
    ):
        assert ours == pytest.approx(students, abs=1e-14)


def test_networks_are_told_apart_by_their_names_and_not_by_their_place() -> None:
    values = [0.1, 0.5, 0.2]
    expected = network_interval(values, ABC)
    turned = network_interval(values, [("b", "a"), ("a", "c"), ("c", "b")])
    assert turned == pytest.approx(expected)
    assert expected[1] != pytest.approx(mean_interval(values)[1])
    order = [2, 0, 1]
    again = network_interval([values[k] for k in order], [ABC[k] for k in order])
    assert again == pytest.approx(expected)


def test_families_and_their_sizes() -> None:
    assert families(ABC) == [["a", "b", "c"]]
    crossed = [(i, j) for i in "ab" for j in "xyz"]
    assert families(crossed) == [["a", "b"], ["x", "y", "z"]]
    assert families([("a", "x"), ("b", "y")]) == [["a", "b"]]
    assert [fewest(each) for each in (ABC, crossed, [("a",)] * 2, [])] == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "networks",
    [
        [("a", "b")],  # one pair
        [("a", "b"), ("a", "c")],  # nothing is left without a
        [("a", "x"), ("b", "x"), ("c", "x")],  # one network of the second family
        [("a",), ("a",)],
    ],
)
def test_without_a_network_left_out_there_is_no_interval(networks: Networks) -> None:
    mean, low, high = network_interval([0.25] * len(networks), networks)
    assert mean == 0.25
    assert np.isnan([low, high]).all()


def test_values_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    crossed = [(i, j) for i in "ab" for j in "xyz"]
    for networks in (ABC, crossed):
        ends = network_interval([0.8] * len(networks), networks)
        assert [float(end) for end in ends] == pytest.approx([0.8] * 3, abs=1e-15)


def test_a_value_that_is_nan_makes_its_mean_nan_and_no_other() -> None:
    values = np.array([[0.1, 0.1], [0.2, math.nan], [0.4, 0.3]])
    parts = network_interval(values, ABC)
    assert [np.isnan(part).tolist() for part in parts] == [[False, True]] * 3


def test_numbers_that_no_interval_can_be_of_are_refused() -> None:
    with pytest.raises(UsageError, match="no values to average"):
        network_interval([], [])
    with pytest.raises(UsageError, match="2 entries of networks came with 3 values"):
        network_interval([1.0, 2.0, 3.0], ABC[:2])
    with pytest.raises(UsageError, match="the network or the two networks of each value"):
        network_interval([1.0, 2.0], [("a",), ("a", "b")])
    with pytest.raises(UsageError, match="level is 95; expected between 0 and 1"):
        network_interval([1.0, 2.0, 3.0], ABC, level=95)


def covered(values: np.ndarray, networks: Networks) -> float:
    """The share of draws, along the last axis, whose interval has the true mean 0 in it."""
    _, low, high = network_interval(values, networks)
    return float(((low <= 0) & (high >= 0)).mean())


#: Draws by which a coverage is known to 0.15 points.
DRAWS = 20_000


@pytest.mark.slow
@pytest.mark.parametrize("interaction", [0.0, 0.3])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_over_pairs_of_one_family_cover(n: int, interaction: float) -> None:
    rng = np.random.default_rng([17, n])
    effects, pairs = rng.normal(size=(n, DRAWS)), list(combinations(range(n), 2))
    values = np.array([effects[i] + effects[j] for i, j in pairs])
    values += interaction * rng.normal(size=values.shape)
    assert 0.93 < covered(values, pairs) < 0.98
    # Student's t over pairs does not: it takes them for independent.
    _, low, high = mean_interval(values)
    assert ((low <= 0) & (high >= 0)).mean() < 0.86


@pytest.mark.slow
@pytest.mark.parametrize("interaction", [0.0, 0.3])
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_intervals_over_pairs_across_two_families_cover(spread: float, interaction: float) -> None:
    rng = np.random.default_rng([18, round(10 * spread)])
    a, b = rng.normal(size=(3, DRAWS)), spread * rng.normal(size=(3, DRAWS))
    pairs = list(product(range(3), range(3, 6)))
    values = np.array([a[i] + b[j - 3] for i, j in pairs])
    values += interaction * rng.normal(size=values.shape)
    assert 0.93 < covered(values, pairs) < 0.98
