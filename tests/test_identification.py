"""Layers that a measure takes for the counterpart: counted by hand, ties, gaps, directions."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from repsim.errors import DegenerateError, MismatchError, RepsimWarning, UsageError
from repsim.measures import cka_map
from repsim.measures.cca import svcca
from repsim.measures.identification import identified, layer_identification
from repsim.measures.registry import MEASURES
from repsim.results import SimilarityMap
from repsim.sources import ArraySource

LAYERS = tuple(f"layer{i}" for i in range(5))
N, P = 200, 24

Network = dict[str, np.ndarray]


def toy(rng: np.random.Generator) -> tuple[Network, Network]:
    """Two networks of five layers. All layers span the same, but for noise; they differ in what is
    large in it, and which rotation comes on top."""
    common = rng.normal(size=(N, P))
    networks: tuple[Network, Network] = ({}, {})
    for name in LAYERS:
        sizes = rng.permutation(np.geomspace(0.02, 2, P))
        for network in networks:
            rotation = np.linalg.qr(rng.normal(size=(P, P)))[0]
            network[name] = (common + 0.3 * rng.normal(size=(N, P))) * sizes @ rotation
    return networks


def similarity_map(values: Any, **changes: Any) -> SimilarityMap:
    values = np.asarray(values, dtype=float)
    layers = LAYERS[: len(values)]
    made = SimilarityMap(layers, layers, values, None, N, "a", "b", "linear")
    return replace(made, **changes)


# --- networks


@pytest.mark.parametrize("measure", ["cka", "cka-biased", "cka-rbf", "procrustes", "rsa"])
def test_corresponding_layers_are_found(measure: str, rng: np.random.Generator) -> None:
    a, b = toy(rng)
    assert layer_identification(a, b, measure=measure) == 1


def test_cca_cannot_tell_layers_of_one_span_apart(rng: np.random.Generator) -> None:
    shares = [layer_identification(*toy(rng), measure="cca") for _ in range(5)]
    linear = [layer_identification(*toy(rng)) for _ in range(5)]
    assert linear == [1] * 5
    assert np.mean(shares) < 0.6  # chance is 0.2, with a standard error of 0.08


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_against_a_table_of_its_own_values(
    name: str, rng: np.random.Generator
) -> None:
    measure = MEASURES[name]
    a, b = ({layer: values[:60, :5] for layer, values in network.items()} for network in toy(rng))
    found = 0
    for i, x in enumerate(a.values()):
        scores = [measure.function(x, y) + measure.function(y, x) for y in b.values()]
        found += int((np.argmin if measure.distance else np.argmax)(scores)) == i
    assert layer_identification(a, b, measure=name) == found / 5
    assert layer_identification(a, b, measure=measure) == found / 5


def test_a_measure_of_ones_own(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    seen: list[tuple[int, int]] = []

    def count(x: np.ndarray, y: np.ndarray) -> float:
        seen.append((x.shape[1], y.shape[1]))
        return float(-np.abs(x - y).sum())

    mine = replace(MEASURES["procrustes"], name="mine", function=count, distance=False)
    assert layer_identification(a, {k: v + 1e-3 for k, v in a.items()}, measure=mine) == 1
    assert len(seen) == 25
    half = replace(MEASURES["svcca"], function=partial(svcca, variance=0.5))
    assert 0 <= layer_identification(a, b, measure=half) <= 1


def test_asymmetric_measures_are_averaged_over_both_orders(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    values = {
        (id(x), id(y)): value
        for (x, y), value in zip(
            [(x, y) for x in a.values() for y in b.values()], rng.normal(size=25), strict=True
        )
    }

    def one_way(x: np.ndarray, y: np.ndarray) -> float:
        """Identifies in the order (b, a) what it denies, less strongly, in (a, b)."""
        forward = (id(x), id(y)) in values
        diagonal = any({id(x), id(y)} == {id(a[name]), id(b[name])} for name in LAYERS)
        return -1.0 * diagonal if forward else 3.0 * diagonal

    class Held(ArraySource):
        def rows(self, layer: str, start: int, stop: int) -> Any:
            return self._arrays[layer]

    sources = Held(a, name="a"), Held(b, name="b")
    regression = replace(MEASURES["regression"], function=one_way)
    assert layer_identification(*sources, measure=regression) == 1
    forward_only = replace(regression, symmetric=True)
    assert layer_identification(*sources, measure=forward_only) == 0


def test_layers_are_matched_by_name_not_place(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    turned = dict(reversed(b.items()))
    assert layer_identification(a, turned) == 1
    assert layer_identification(a, turned, measure="procrustes") == 1
    renamed = dict(zip(LAYERS, reversed(b.values()), strict=True))
    assert layer_identification(a, renamed) == 1 / 5  # the middle one


def test_chosen_layers(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    b["layer4"] = b["layer0"]
    assert layer_identification(a, b) == 3 / 5  # layers 0 and 4
    assert layer_identification(a, b, layers_a="layer[0-3]") == 1
    assert layer_identification(a, b, layers_a="layer[0-3]", measure="procrustes") == 1
    chosen = {"layers_a": ["layer1", "layer2"], "layers_b": ["layer2", "layer1"]}
    assert layer_identification({"more": a["layer0"], **a}, b, **chosen) == 1


# --- ready maps


def test_shares_by_hand() -> None:
    values = [[0.9, 0.8, 0.1], [0.7, 0.6, 0.5], [0.1, 0.2, 0.3]]
    assert layer_identification(similarity_map(values)) == 2 / 3
    assert layer_identification(similarity_map(np.transpose(values))) == 1 / 3
    biased = similarity_map(values, biased=np.eye(3)[[1, 2, 0]])
    assert layer_identification(biased, measure="cka-biased") == 0


def test_a_ready_map_gives_what_its_networks_give(rng: np.random.Generator) -> None:
    a, b = ({k: v[:20] for k, v in network.items()} for network in toy(rng))
    for kernel in ("linear", "rbf:0.2"):
        found = cka_map(a, b, kernel=kernel)
        best = sum(match == i for i, match in enumerate(found.best_match()))
        assert layer_identification(found) == best / 5
    assert layer_identification(cka_map(a, b)) == layer_identification(a, b)


def test_a_tie_identifies_nothing() -> None:
    assert layer_identification(similarity_map(np.ones((4, 4)))) == 0
    near = np.full((2, 2), 0.5)
    assert layer_identification(similarity_map(near + 1e-12 * np.eye(2))) == 0
    assert layer_identification(similarity_map(near + 1e-6 * np.eye(2))) == 1


def test_a_layer_and_its_flattened_copy_are_a_tie(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    for network in (a, b):
        network["layer4"] = network["layer3"].reshape(N, 2, 3, 4)
    for measure in ("cka", "procrustes"):
        assert layer_identification(a, b, measure=measure) == 3 / 5


def test_which_layers_are_identified() -> None:
    values = np.array([[0.9, 0.8, 0.9], [0.7, 0.2, 0.5], [np.nan, 0.2, 0.3], [0.1, 0.3, np.nan]])
    names_a, names_b = ("x", "y", "z", "x"), ("y", "x", "z")
    assert identified(values, names_a, names_b).tolist() == [False, True, True, True]
    assert identified(values[:, :1], ("y",) * 4, ("y",)).tolist() == [True, True, False, True]


def test_layers_without_values_are_not_identified() -> None:
    values = np.eye(4)
    values[3] = values[:, 3] = np.nan
    values[2, 2] = np.nan
    made = similarity_map(values, notes={"biased": "?", "a:layer3": "it is the same for every"})
    with pytest.warns(RepsimWarning, match="8 of 16 pairs of layers have no value; it is the same"):
        assert layer_identification(made) == 2 / 4
    nothing = similarity_map(np.full((2, 2), np.nan), notes={"a:layer0": "it holds NaN"})
    with pytest.raises(DegenerateError, match="no pair of layers has a value; it holds NaN"):
        layer_identification(nothing)


@pytest.mark.parametrize("measure", ["cka", "cca", "procrustes"])
def test_a_constant_layer_is_said_and_not_identified(
    measure: str, rng: np.random.Generator
) -> None:
    a, b = toy(rng)
    a = {k: v[:, :3] for k, v in a.items()}
    b = {k: v.copy()[:, :3] for k, v in a.items()}
    b["layer2"][:] = 7
    with pytest.warns(RepsimWarning, match="5 of 25 pairs .*; .*it is the same for every example"):
        assert layer_identification(a, b, measure=measure) == 4 / 5


# --- warnings and errors


def test_many_warnings_become_one(rng: np.random.Generator) -> None:
    a, b = ({k: v[:30] for k, v in network.items()} for network in toy(rng))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer_identification(a, b, measure="cca")
    assert [str(w.message) for w in caught] == [
        "x and y have ranks 24 and 24 on 30 examples, so 19 of 24 canonical correlations are 1 "
        "whatever the data; use more examples, svcca with a smaller variance, or cka; and 24 more "
        "like it"
    ]
    with pytest.raises(DegenerateError, match="no pair of layers has a value; 'layer0' with"):
        layer_identification(
            {k: v[:20] for k, v in a.items()}, {k: v[:20] for k, v in b.items()}, measure="cca"
        )


def test_warnings_of_others_pass(rng: np.random.Generator) -> None:
    def hasty(x: Any, y: Any) -> float:
        warnings.warn("of another kind", FutureWarning, stacklevel=1)
        return 1.0

    a, b = toy(rng)
    mine = replace(MEASURES["procrustes"], function=hasty)
    with pytest.warns(FutureWarning, match="of another kind"):
        assert layer_identification(a, b, measure=mine) == 0


def test_errors(rng: np.random.Generator) -> None:
    a, b = toy(rng)
    made = similarity_map(np.eye(3))
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((a,), {}, "b is missing"),
        ((a, b), {"measure": "ckaa"}, "unknown measure 'ckaa'; did you mean 'cka'"),
        ((a, {k: b[k] for k in LAYERS[:4]}), {}, "must have the same layers; 1 .*'layer4'"),
        ((a, b), {"layers_a": "layer1"}, "one layer was chosen"),
        ((a, b), {"layers_a": "layer9"}, "a has no layer 'layer9'"),
        ((a, b), {"layers_b": "layer1,layer2"}, "must have the same layers; 3 are in one only"),
        ((made, b), {}, "a is a SimilarityMap; it stands alone"),
        ((made,), {"layers_a": "layer1"}, "a is a SimilarityMap; it stands alone"),
        ((made,), {"measure": "rsa"}, "a is a SimilarityMap; measure says"),
        ((made,), {"measure": "cka-biased"}, "no biased values"),
    ]
    for arguments, options, message in cases:
        with pytest.raises(UsageError, match=message):
            layer_identification(*arguments, **options)
    shorter = {k: v[:-1] for k, v in b.items()}
    for measure in ("cka", "procrustes"):
        with pytest.raises(MismatchError, match="a has 200 examples, b has 199"):
            layer_identification(a, shorter, measure=measure)
