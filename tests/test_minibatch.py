"""CKA from batches: one batch, many batches, small, constant and spoiled ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from repsim.errors import DegenerateError, ShapeError, UsageError
from repsim.measures import MinibatchCKA, cka_map
from repsim.measures.hsic import GramSums

Side = dict[str, np.ndarray]


def network(rng: np.random.Generator, n: int) -> tuple[Side, Side]:
    x = rng.normal(size=(n, 5))
    a = {"a0": x, "a1": 100 * np.tanh(x) + 7}
    return a, {"b0": x[:, :3] + rng.normal(size=(n, 3)), "b1": rng.normal(size=(n, 2, 3))}


def batches(a: Side, b: Side, size: int) -> list[tuple[Side, Side]]:
    n = len(next(iter(a.values())))
    return [
        tuple({k: v[i : i + size] for k, v in side.items()} for side in (a, b))  # type: ignore[misc]
        for i in range(0, n, size)
    ]


def run(pairs: Any, kernel: Any = "linear") -> Any:
    engine = MinibatchCKA(list(pairs[0][0]), list(pairs[0][1]), kernel=kernel)
    for a, b in pairs:
        engine.update(a, b)
    return engine.compute()


def hsic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unbiased (ab, aa, bb) of one batch, from whole Gram matrices."""
    x, y = (torch.tensor(v).flatten(1) for v in (x, y))
    found = GramSums.of(x @ x.T, y @ y.T).unbiased()
    return np.array([float(found.ab), float(found.aa), float(found.bb)])


def ratio(sums: np.ndarray) -> float:
    return sums[0] / np.sqrt(sums[1] * sums[2])


@pytest.mark.parametrize("kernel", ["linear", "rbf", "rbf:0.2"])
def test_one_batch_gives_the_exact_map(kernel: str, rng: np.random.Generator) -> None:
    a, b = network(rng, 50)
    found = run([(a, b)], kernel)
    assert found.unbiased == pytest.approx(cka_map(a, b, kernel=kernel).unbiased, abs=1e-13)
    assert found.biased is None
    assert (found.n, found.kernel, found.layers_a) == (
        50,
        cka_map(a, kernel=kernel).kernel,
        tuple(a),
    )
    assert found.provenance["batches"] == 1


def test_many_batches_give_the_ratio_of_sums_and_not_the_mean_of_ratios(
    rng: np.random.Generator,
) -> None:
    a, b = network(rng, 60)
    a["a0"][:10] *= 3  # batches that weigh differently
    pairs = batches(a, b, 10)
    found = run(pairs).unbiased
    for i, of_a in enumerate(a):
        for j, of_b in enumerate(b):
            parts = [hsic(one[of_a], two[of_b]) for one, two in pairs]
            assert found[i, j] == pytest.approx(ratio(np.sum(parts, axis=0)), abs=1e-12)
            assert abs(found[i, j] - np.mean([ratio(part) for part in parts])) > 1e-3
            assert abs(found[i, j] - ratio(parts[-1])) > 1e-3  # nor the last batch alone


def test_the_order_of_batches_does_not_matter(rng: np.random.Generator) -> None:
    pairs = batches(*network(rng, 60), size=10)
    assert run(pairs[::-1]).unbiased == pytest.approx(run(pairs).unbiased, abs=1e-13)


def test_shuffled_batches_come_near_the_exact_value_and_sorted_ones_do_not(
    rng: np.random.Generator,
) -> None:
    classes = np.arange(400) // 40
    x = 4 * rng.normal(size=(10, 6))[classes] + rng.normal(size=(400, 6))
    y = x @ rng.normal(size=(6, 4)) + 4 * rng.normal(size=(400, 4))
    exact = cka_map({"x": x}, {"y": y}).unbiased.item()
    order = rng.permutation(400)
    shuffled = run(batches({"x": x[order]}, {"y": y[order]}, 40)).unbiased.item()
    ordered = run(batches({"x": x}, {"y": y}, 40)).unbiased.item()
    assert abs(shuffled - exact) < 0.02
    assert abs(ordered - exact) > 0.1


@pytest.mark.parametrize("tail", [1, 2, 3])
def test_a_tail_of_fewer_than_four_is_counted_and_left_out(
    tail: int, rng: np.random.Generator
) -> None:
    a, b = network(rng, 40 + tail)
    found = run(batches(a, b, 20))
    whole = run(batches(*({k: v[:40] for k, v in side.items()} for side in (a, b)), 20))
    assert np.array_equal(found.unbiased, whole.unbiased)
    assert found.n == 40
    assert found.notes == {
        "batches": f"{tail} examples lay in batches of fewer than 4; left out",
    }
    assert whole.notes == {}


def test_a_batch_of_four_counts(rng: np.random.Generator) -> None:
    assert run(batches(*network(rng, 24), size=20)).n == 24


def test_a_spoiled_batch_spoils_its_layer_for_good_and_no_other(rng: np.random.Generator) -> None:
    a, b = network(rng, 60)
    whole = run(batches(a, b, 20)).unbiased
    a["a0"] = a["a0"].copy()
    a["a0"][25, 2] = np.inf
    found = run(batches(a, b, 20))
    assert np.isnan(found.unbiased[0]).all()
    assert found.unbiased[1] == pytest.approx(whole[1], abs=1e-13)
    assert found.notes == {"a:a0": "batch 1: it holds NaN or infinity"}


@pytest.mark.parametrize("alone", [True, False])
def test_a_layer_constant_over_a_batch_adds_nothing_there_and_the_others_still_count(
    alone: bool, rng: np.random.Generator
) -> None:
    a, b = network(rng, 60)
    a["a0"] = a["a0"].copy()
    a["a0"][:20] = 0.1
    if alone:
        del a["a1"]
    pairs = batches(a, b, 20)
    parts = [hsic(one["a0"], two["b0"]) for one, two in pairs]
    assert parts[0][:2] == pytest.approx(np.zeros(2), abs=1e-15)
    assert parts[0][2] > 0  # what b has of itself in that batch belongs to the ratio
    assert run(pairs).unbiased[0, 0] == pytest.approx(ratio(np.sum(parts, axis=0)), abs=1e-12)


def test_a_layer_constant_in_every_batch_is_nan_with_a_reason(rng: np.random.Generator) -> None:
    a, b = network(rng, 60)
    b["b1"] = np.repeat(rng.normal(size=(3, 2)), 20, axis=0)
    found = run(batches(a, b, 20))
    assert np.isnan(found.unbiased[:, 1]).all()
    assert np.isfinite(found.unbiased[:, 0]).all()
    assert list(found.notes) == ["b:b1"]
    assert "not positive: it is constant in every batch" in found.notes["b:b1"]


def test_no_graph_is_kept_of_activations_that_require_gradients(rng: np.random.Generator) -> None:
    a, b = network(rng, 40)
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in a.items()}
    engine = MinibatchCKA(list(a), list(b))
    engine.update(leaves, b)
    assert not any(total.requires_grad for total in engine._sums)
    assert engine.compute().unbiased == pytest.approx(run([(a, b)]).unbiased, abs=1e-13)


def test_an_autocast_region_changes_nothing(rng: np.random.Generator) -> None:
    a, b = ({k: v.astype(np.float32) for k, v in side.items()} for side in network(rng, 40))
    expected = run([(a, b)], "rbf").unbiased
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(run([(a, b)], "rbf").unbiased, expected)


def test_names_of_the_networks_reach_the_map_and_its_notes(rng: np.random.Generator) -> None:
    a, b = network(rng, 20)
    engine = MinibatchCKA(list(a), list(b))
    engine.update({**a, "a0": a["a0"] * np.nan}, b)
    found = engine.compute(name_a="simclr", name_b="supervised")
    assert (found.name_a, found.name_b) == ("simclr", "supervised")
    assert list(found.notes) == ["simclr:a0"]


def test_layers_keep_the_order_and_the_names_they_were_given(rng: np.random.Generator) -> None:
    a, b = network(rng, 20)
    named = {"all": a["a0"], "odd": a["a1"], "x[0]": a["a0"] + 1, "x0": -a["a1"]}  # no patterns
    engine = MinibatchCKA(["x[0]", "odd", "all"], ["b1"])
    engine.update(named, b)
    found = engine.compute()
    assert found.layers_a == ("x[0]", "odd", "all")
    expected = [
        cka_map({"x": named[layer]}, {"y": b["b1"]}).unbiased.item() for layer in found.layers_a
    ]
    assert found.unbiased[:, 0] == pytest.approx(expected, abs=1e-13)


def test_batches_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    a, b = network(rng, 20)
    engine = MinibatchCKA(["a0"], ["b0"])
    with pytest.raises(ShapeError, match="a batch has 20 examples in a and 19 in b"):
        engine.update(a, {k: v[:19] for k, v in b.items()})
    with pytest.raises(ShapeError, match="a batch has 5 examples in a and 20 in a"):
        MinibatchCKA(list(a), ["b0"]).update({**a, "a1": a["a1"][:5]}, b)
    with pytest.raises(UsageError, match="b has no layer 'b0'; there is: b1"):
        engine.update(a, {"b1": b["b1"]})
    with pytest.raises(UsageError, match="unknown kernel 'cosine'"):
        MinibatchCKA(["a0"], ["b0"], kernel="cosine")


def test_nothing_to_compute_from(rng: np.random.Generator) -> None:
    a, b = network(rng, 3)
    engine = MinibatchCKA(list(a), list(b))
    with pytest.raises(DegenerateError, match=r"no batch of at least 4 examples arrived \(0 "):
        engine.compute()
    engine.update(a, b)
    with pytest.raises(DegenerateError, match=r"\(3 examples in smaller ones\)"):
        engine.compute()
