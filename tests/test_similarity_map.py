"""Similarity maps: what they answer, their intervals, tables and files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_results import same, similarity, tables

from repsim.errors import StoreError, UsageError
from repsim.results import Result, SimilarityMap


def test_the_best_match_passes_over_nan_and_is_none_without_a_value(
    rng: np.random.Generator,
) -> None:
    nan = np.nan
    unbiased = np.array([[0.1, 0.9], [nan, -0.2], [nan, nan]])
    result = similarity(rng, unbiased=unbiased, biased=1 - unbiased)
    assert result.best_match() == (1, 1, None)
    assert result.best_match("biased") == (0, 1, None)


def test_the_diagonal_is_of_networks_with_the_same_layers(rng: np.random.Generator) -> None:
    assert similarity(rng).diagonal() is None
    square = similarity(
        rng, layers_a=("x", "y"), layers_b=("x", "y"), unbiased=np.arange(4.0).reshape(2, 2)
    )
    assert square.diagonal().tolist() == [0, 3]


def test_a_part_of_a_map_keeps_the_order_asked_for(rng: np.random.Generator) -> None:
    result = similarity(rng)
    part = result.select(("bg1.b0.even", "stem"), ("pooled",))
    assert (part.layers_a, part.layers_b) == (("bg1.b0.even", "stem"), ("pooled",))
    assert np.array_equal(part.unbiased, result.unbiased[[2, 0]][:, [1]])
    assert np.array_equal(part.biased, result.biased[[2, 0]][:, [1]])
    assert part.n == result.n
    assert similarity(rng, biased=None).select(("stem",), ("stem",)).biased is None


def test_estimators_that_a_map_does_not_hold(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="unknown estimator 'unbaised'; did you mean 'unbiased'"):
        similarity(rng).values("unbaised")
    with pytest.raises(UsageError, match="a map from minibatches has no biased values"):
        similarity(rng, biased=None).best_match("biased")


def test_a_part_of_a_map_keeps_all_its_tables(rng: np.random.Generator) -> None:
    result = similarity(rng, **tables(rng))
    part = result.select(("bg1.b0.even", "stem"), ("pooled",))
    for key in SimilarityMap.TABLES:
        assert np.array_equal(getattr(part, key), getattr(result, key)[[2, 0]][:, [1]]), key
    beside = ("stderr", "freedom", "p_value", "p_value_max")
    assert ("unbiased", "biased", *beside) == SimilarityMap.TABLES
    assert similarity(rng).select(("stem",), ("stem",)).stderr is None


def test_the_interval_is_that_of_fishers_transform(rng: np.random.Generator) -> None:
    values = np.array([[0.5, -0.05], [np.nan, 0.99], [1.0, 0.0]])
    errors = np.array([[0.1, 0.02], [np.nan, 0.03], [1e-9, 0.1]])
    result = similarity(rng, unbiased=values, stderr=errors)
    low, high = result.interval()
    z = 1.959963984540054
    # d artanh(v) = dv / (1 - v²)
    assert low[0, 0] == pytest.approx(math.tanh(math.atanh(0.5) - z * 0.1 / 0.75), abs=1e-12)
    assert high[0, 0] == pytest.approx(math.tanh(math.atanh(0.5) + z * 0.1 / 0.75), abs=1e-12)
    assert (high[2, 1], low[2, 1]) == pytest.approx((math.tanh(z * 0.1), -math.tanh(z * 0.1)))
    assert np.isnan([low[1, 0], high[1, 0]]).all()
    assert (low[2, 0], high[2, 0]) == (1, 1)  # a layer and itself
    assert -1 < low[1, 1] < 0.99 < high[1, 1] < 1
    # Small errors: the plain interval, to second order.
    assert (high - low)[0, 1] == pytest.approx(2 * z * 0.02, rel=2e-3)
    narrow = result.interval(0.5)
    inside = ~np.isnan(values) & (values < 1)
    assert (low < narrow[0])[inside].all()
    assert (narrow[1] < high)[inside].all()
    assert narrow[0][2, 1] == pytest.approx(math.tanh(-0.6744897501960817 * 0.1))


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan])
def test_levels_that_cannot_be_are_refused(level: float, rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="level is .*; expected between 0 and 1, such as 0.95"):
        similarity(rng, **tables(rng)).interval(level)
    with pytest.raises(UsageError, match="this map has no standard errors; .* stderr=True"):
        similarity(rng).interval()


def test_a_file_of_before_there_were_errors_still_loads(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    content = json.loads(path.read_text())
    for key in ("stderr", "p_value", "p_value_max"):
        assert content.pop(key) is None
    path.write_text(json.dumps(content))
    assert same(SimilarityMap.load(path), similarity(np.random.default_rng(0)))


@pytest.mark.parametrize("key", ["stderr", "p_value", "p_value_max"])
@pytest.mark.parametrize("damage", ["much", [1, 2]])
def test_a_file_whose_errors_do_not_fit_is_refused(
    key: str, damage: Any, rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: damage}))
    with pytest.raises(StoreError, match="not a whole similarity-map"):
        SimilarityMap.load(path)


def test_the_table_has_the_ends_of_the_intervals(rng: np.random.Generator, tmp_path: Path) -> None:
    result = similarity(rng, unbiased=rng.uniform(size=(3, 2)), **tables(rng))
    _, path = result.save(tmp_path / "map.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = {key: getattr(result, key) for key in SimilarityMap.TABLES}
    expected["low"], expected["high"] = result.interval()
    assert set(rows[0]) == {"layer_a", "layer_b", *expected}
    for key, table in expected.items():
        found = np.array([float(row[key] or "nan") for row in rows]).reshape(3, 2)
        assert np.array_equal(found, table, equal_nan=True), key


def test_a_map_whose_values_do_not_fit_its_layers_is_refused(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    path, _ = similarity(rng).save(tmp_path / "map.json")
    content = json.loads(path.read_text())
    content["layers_b"].append("head")
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="not a whole similarity-map"):
        Result.load(path)


def test_the_table_of_a_map_has_a_line_for_every_pair(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    result = similarity(rng)
    _, path = result.save(tmp_path / "map.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["layer_a", "layer_b", "unbiased", "biased"]
    assert [(row["layer_a"], row["layer_b"]) for row in rows] == [
        (a, b) for a in result.layers_a for b in result.layers_b
    ]
    for name in ("unbiased", "biased"):
        found = np.array([float(row[name]) for row in rows]).reshape(3, 2)
        assert np.array_equal(found, result.values(name), equal_nan=True)


def test_the_table_has_a_column_for_what_the_map_holds_and_no_other(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    def columns(**changes: Any) -> list[str]:
        _, path = similarity(rng, **changes).save(tmp_path / "map.json", overwrite=True)
        return path.read_text().splitlines()[0].split(",")

    some = np.full((3, 2), 0.1)
    assert columns(biased=None) == ["layer_a", "layer_b", "unbiased"]
    assert columns(stderr=some)[4:] == ["stderr", "low", "high"]
    assert columns(p_value=some, p_value_max=some)[4:] == ["p_value", "p_value_max"]
