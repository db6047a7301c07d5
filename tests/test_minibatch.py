"""CKA from batches: one batch, many batches, small, constant and spoiled ones."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.activations import Capture
from repsim.errors import DegenerateError, MismatchError, ShapeError, UsageError
from repsim.measures import MinibatchCKA, batch_layer, cka_map, minibatch
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


def numbered(pairs: Any) -> Iterator[tuple[Side, Side, range]]:
    """Batches with ids of their examples, every one another."""
    count = 0
    for a, b in pairs:
        n = len(next(iter(a.values())))
        yield a, b, range(count, count + n)
        count += n


def run(pairs: Any, kernel: Any = "linear") -> Any:
    engine = MinibatchCKA(list(pairs[0][0]), list(pairs[0][1]), kernel=kernel)
    for batch in numbered(pairs):
        engine.update(*batch)
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


@pytest.mark.parametrize(("size", "count"), [(4, 8), (8, 4), (16, 2), (16, 5), (31, 3)])
def test_small_batches_are_noted_with_their_size_and_one_of_all_is_exact(
    size: int, count: int, rng: np.random.Generator
) -> None:
    """A few batches cannot show that they are sorted: the note gives their number and size."""
    n = size * count
    of = np.arange(n) // size
    x = rng.normal(size=(n, 6)) + of[:, None] / 2
    y = np.tanh(x @ rng.normal(size=(6, 4)))
    found = run(batches({"x": x}, {"y": y}, size))
    start = f"from {count} batches of {size} examples each, which see differences within a batch"
    assert found.notes["estimate"].startswith(start)
    assert f"compare all {n} at once" in found.notes["estimate"]
    assert list(run(batches({"x": x}, {"y": y}, n)).notes) == []
    exact = cka_map({"x": x}, {"y": y}).unbiased.item()
    assert run(batches({"x": x}, {"y": y}, n)).unbiased.item() == pytest.approx(exact, abs=1e-9)


def test_batches_of_enough_examples_are_not_noted(rng: np.random.Generator) -> None:
    assert run(batches(*network(rng, 96), size=32)).notes == {}


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
        **whole.notes,
    }
    assert list(whole.notes) == ["estimate"]


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
    assert list(found.notes) == ["a:a0", "estimate"]
    assert found.notes["a:a0"] == "batch 1: it holds NaN or infinity"


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
    assert list(found.notes) == ["b:b1", "estimate"]
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


def test_batches_are_dicts(rng: np.random.Generator) -> None:
    a, b = network(rng, 20)
    unchecked = inspect.unwrap(MinibatchCKA.update)  # here, annotations are checked
    with pytest.raises(UsageError, match="a is a ndarray; expected a dict of layer name to activ"):
        unchecked(MinibatchCKA(["a0"], ["b0"]), a["a0"], b["b0"])
    with pytest.raises(UsageError, match="b is a Tensor; expected a dict"):
        unchecked(MinibatchCKA(["a0"], ["b0"]), a, torch.tensor(b["b0"]))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_layer_keeps_its_width(kernel: Any, rng: np.random.Generator) -> None:
    a, b = network(rng, 40)
    engine = MinibatchCKA(list(a), list(b), kernel=kernel)
    engine.update(a, b)
    before = engine.compute().unbiased
    narrow = {**b, "b1": b["b1"][:, :1]}
    message = "layer 'b1' of b is of width 3 in a batch and was of width 6 before"
    with pytest.raises(ShapeError, match=message):
        engine.update(a, narrow)
    with pytest.raises(ShapeError, match=message):  # nor one that would be left out
        engine.update(*({k: v[:3] for k, v in side.items()} for side in (a, narrow)))
    other = MinibatchCKA(list(a), list(b), kernel=kernel)
    other.update(a, narrow)
    with pytest.raises(MismatchError, match="'b1' of b is of width 6 in one stream and of width 3"):
        engine.merge(other)
    assert (engine.batches, engine.skipped) == (1, 0)
    assert np.array_equal(engine.compute().unbiased, before)
    # The shape may change: 2 x 3 features are as many as 6.
    engine.update(a, {**b, "b1": b["b1"].reshape(40, 6)})
    assert engine.compute().unbiased == pytest.approx(before, abs=1e-12)


def test_a_merged_stream_keeps_the_widths_of_its_parts(rng: np.random.Generator) -> None:
    a, b = network(rng, 40)
    part, total = MinibatchCKA(["a0"], ["b0"]), MinibatchCKA(["a0"], ["b0"])
    part.update(a, b)
    total.merge(part)
    with pytest.raises(ShapeError, match="layer 'a0' of a is of width 2 in a batch and was of wi"):
        total.update({"a0": a["a0"][:, :2]}, b)


def test_nothing_to_compute_from(rng: np.random.Generator) -> None:
    a, b = network(rng, 3)
    engine = MinibatchCKA(list(a), list(b))
    with pytest.raises(DegenerateError, match=r"no batch of at least 4 examples arrived \(0 "):
        engine.compute()
    engine.update(a, b)
    with pytest.raises(DegenerateError, match=r"\(3 examples in smaller ones\)"):
        engine.compute()


# --- weights, orders and errors


def test_every_batch_weighs_by_its_examples(rng: np.random.Generator) -> None:
    a, b = network(rng, 47)
    a["a0"][40:] *= 3
    pairs = batches(a, b, 20)  # 20, 20 and a tail of 7
    found = run(pairs)
    parts = [len(one["a0"]) * hsic(one["a0"], two["b0"]) for one, two in pairs]
    assert found.n == 47
    assert found.unbiased[0, 0] == pytest.approx(ratio(np.sum(parts, axis=0)), abs=1e-12)
    even = [part / len(one["a0"]) for part, (one, _) in zip(parts, pairs, strict=True)]
    assert abs(found.unbiased[0, 0] - ratio(np.sum(even, axis=0))) > 1e-3


def test_the_mean_over_all_batches_that_there_could_be_is_the_whole(
    rng: np.random.Generator,
) -> None:
    # The subset identity of unbiased HSIC, by the engine itself: numerator and denominator.
    a, b = network(rng, 8)
    engine = MinibatchCKA(list(a), list(b))
    for chosen in combinations(range(8), 5):
        engine.update(*({k: v[list(chosen)] for k, v in side.items()} for side in (a, b)))
    assert engine.compute().unbiased == pytest.approx(cka_map(a, b).unbiased, abs=1e-12)
    assert engine._sums.ab[0, 0] / engine.examples == pytest.approx(
        hsic(a["a0"], b["b0"])[0], rel=1e-11
    )


def classes(rng: np.random.Generator, n: int, distance: float) -> tuple[Side, Side]:
    """Ten classes in order, their means so far apart, in units of the spread of each."""
    of = np.arange(n) * 10 // n
    x = distance * rng.normal(size=(10, 6))[of] + rng.normal(size=(n, 6))
    return {"x": x}, {"y": np.hstack([x, x[:, :3] ** 2]) + 2 * rng.normal(size=(n, 9))}


@pytest.mark.parametrize("seed", range(5))
def test_a_sorted_stream_is_noted_and_a_shuffled_one_is_not(seed: int) -> None:
    # Trap "class-sorted, unshuffled loader".
    rng = np.random.default_rng(seed)
    a, b = classes(rng, 400, distance=2)
    found = run(batches(a, b, 40))
    # Batches of one class: F is about 1 + 40 * 2², and the threshold at 1 + 6 √(2/9) = 3.8.
    assert found.notes["order"].startswith("the means of the batches differ ")
    assert float(found.notes["order"].split("differ ")[1].split(" times")[0]) > 30
    assert "shuffle it" in found.notes["order"]
    order = rng.permutation(400)
    mixed = tuple({k: v[order] for k, v in side.items()} for side in (a, b))
    assert run(batches(*mixed, 40)).notes == {}
    far = tuple({k: 1e3 * v + 1e5 for k, v in side.items()} for side in mixed)
    assert run(batches(*far, 40)).notes == {}


@pytest.mark.parametrize("mean", [0, 2, 1e6])
@pytest.mark.parametrize("p", [1, 40])
@pytest.mark.parametrize("merged", [False, True])
def test_the_ratio_of_the_batches_is_that_of_an_analysis_of_variance(
    merged: bool, p: int, mean: float, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(60, p)) + np.repeat(rng.normal(size=(4, p)), 15, axis=0) + mean
    engine = MinibatchCKA(["x"], ["x"])
    for one, two in batches({"x": x}, {"x": x}, 15):
        part = MinibatchCKA(["x"], ["x"]) if merged else engine
        part.update(one, two)
        if merged:
            engine.merge(part)
    groups = x.reshape(4, 15, p)
    between = 15 * np.square(groups.mean(1) - x.mean(0)).sum() / 3
    within = np.square(groups - groups.mean(1, keepdims=True)).sum() / 56
    # The mean itself is known to 1e-16 of it.
    assert [each.ratio() for each in engine._means] == pytest.approx(
        [between / within] * 2, rel=1e-7
    )


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_shards_are_added_up_to_one_pass(kernel: Any, rng: np.random.Generator) -> None:
    a, b = classes(rng, 90, distance=1)
    pairs = batches(a, b, 20)  # with a tail of 10
    pairs += batches(*({k: v[:3] for k, v in side.items()} for side in (a, b)), 3)  # left out
    whole = MinibatchCKA(["x"], ["y"], kernel=kernel)
    shards = [MinibatchCKA(["x"], ["y"], kernel=kernel) for _ in range(3)]
    for k, batch in enumerate(numbered(pairs)):
        whole.update(*batch)
        shards[k % 3 if k < 3 else 2].update(*batch)
    total = MinibatchCKA(["x"], ["y"], kernel=kernel)  # one that has seen nothing
    for shard in shards:
        total.merge(shard)
    one, two = total.compute(), whole.compute()
    assert one.unbiased == pytest.approx(two.unbiased, abs=1e-14)
    assert one.stderr == pytest.approx(two.stderr, rel=1e-10)
    assert one.notes == two.notes
    assert "batches" in one.notes
    assert (one.n, one.provenance) == (two.n, two.provenance)
    assert [m.ratio() for m in total._means] == pytest.approx(
        [m.ratio() for m in whole._means], rel=1e-10
    )
    # What was merged may go on.
    total.update(*pairs[0])
    whole.update(*pairs[0])
    assert total.compute().unbiased == pytest.approx(whole.compute().unbiased, abs=1e-14)


def test_a_spoiled_shard_spoils_its_layer(rng: np.random.Generator) -> None:
    a, b = network(rng, 40)
    fine, spoiled = MinibatchCKA(list(a), list(b)), MinibatchCKA(list(a), list(b))
    fine.update(a, b, range(40))
    spoiled.update({**a, "a1": a["a1"] * np.nan}, b, np.arange(40, 80))
    fine.merge(spoiled)
    found = fine.compute()
    assert np.isnan(found.unbiased[1]).all()
    assert np.isfinite(found.unbiased[0]).all()
    assert list(found.notes) == ["a:a1"]


@pytest.mark.parametrize(
    "other",
    [
        MinibatchCKA(["x", "z"], ["y"]),
        MinibatchCKA(["x"], ["z"]),
        MinibatchCKA(["x"], ["y"], kernel="rbf"),
    ],
    ids=["more", "others", "kernel"],
)
def test_shards_of_other_layers_or_kernels_are_refused(other: MinibatchCKA) -> None:
    with pytest.raises(MismatchError, match="merge streams of the same layers and kernel"):
        MinibatchCKA(["x"], ["y"]).merge(other)


def test_one_batch_has_no_error_and_two_have_that_of_their_spread(
    rng: np.random.Generator,
) -> None:
    a, b = network(rng, 60)
    assert run([(a, b)]).stderr is None
    pairs = batches(a, b, 15)
    parts = np.array([15 * hsic(one["a0"], two["b1"]) for one, two in pairs])
    total = parts.sum(0)
    value = ratio(total)
    z = parts[:, 0] / np.sqrt(total[1] * total[2])
    z = z - value / 2 * (parts[:, 1] / total[1] + parts[:, 2] / total[2])
    expected = np.sqrt(4 / 3 * np.sum(z**2))
    found = run(pairs)
    assert found.stderr is not None
    assert found.stderr[0, 1] == pytest.approx(expected, rel=1e-9)
    # Four batches know the spread with three degrees of freedom: Student's t is 3.182.
    assert (found.freedom == 3).all()
    reach = 3.182446305284263 * expected / (1 - value**2)
    ends = [end[0, 1] for end in found.interval()]
    assert ends == pytest.approx(np.tanh(np.arctanh(value) + np.array([-reach, reach])))


# --- passes


def passes(a: Side, b: Side, size: int, count: int, rng: np.random.Generator) -> MinibatchCKA:
    """A stream of several passes over the same examples, each in another order."""
    n = len(next(iter(a.values())))
    engine = MinibatchCKA(list(a), list(b))
    for _ in range(count):
        for rows in np.split(rng.permutation(n), range(size, n, size)):
            sides = ({k: v[rows] for k, v in side.items()} for side in (a, b))
            engine.update(*sides, rows.tolist())
    return engine


def test_passes_over_the_same_examples_are_found_by_their_ids(rng: np.random.Generator) -> None:
    a, b = network(rng, 48)
    found: Any = passes(a, b, 12, 5, rng).compute()
    assert (found.n, found.provenance["batches"], found.provenance["rows"]) == (48, 20, 240)
    assert found.notes["passes"] == "240 rows are of 48 different examples, which n counts"
    assert (found.freedom == 20 - 5).all()
    once: Any = passes(a, b, 12, 1, rng).compute()
    assert "passes" not in once.notes
    assert (once.freedom == 3).all()


def test_the_same_pass_again_adds_nothing(rng: np.random.Generator) -> None:
    """P copies of B batches: R Σ z² is the same, and P B / (P B - P) is B / (B - 1).

    Nor does it add degrees of freedom, as passes in other batches do.
    """
    a, b = network(rng, 48)
    pairs = batches(a, b, 12)
    once: Any = run(pairs)
    engine = MinibatchCKA(list(a), list(b))
    for _ in range(6):
        for batch in numbered(pairs):
            engine.update(*batch)
    again: Any = engine.compute()
    assert again.unbiased == pytest.approx(once.unbiased, abs=1e-13)
    assert again.stderr == pytest.approx(once.stderr, rel=1e-10)
    assert (once.freedom == 3).all()
    assert (again.freedom == 3).all()
    assert np.array(again.interval()) == pytest.approx(np.array(once.interval()), abs=1e-10)


def test_examples_that_repeat_within_a_batch_are_noted(rng: np.random.Generator) -> None:
    a, b = network(rng, 48)
    engine, other = (MinibatchCKA(list(a), list(b)) for _ in range(2))
    for stream, rows in ((engine, [*range(12), 3, 3, 5]), (other, range(12, 24))):
        at = list(rows)
        stream.update(*({k: v[at] for k, v in side.items()} for side in (a, b)), at)
    assert "repeats" not in other.compute().notes
    other.merge(engine)
    found: Any = other.compute()
    assert found.notes["repeats"].startswith("3 rows repeat an example of the same batch")
    assert (found.freedom == 1).all()  # of two batches that share no example


def test_passes_in_shards_are_found(rng: np.random.Generator) -> None:
    a, b = network(rng, 48)
    one, two = (passes(a, b, 12, 2, rng) for _ in range(2))
    one.merge(two)
    assert one.examples == 48
    assert (one.compute().freedom == 16 - 4).all()  # type: ignore[union-attr]


def test_without_ids_there_is_no_error_and_a_note(rng: np.random.Generator) -> None:
    a, b = network(rng, 48)
    engine = MinibatchCKA(list(a), list(b))
    for k, pair in enumerate(batches(a, b, 12)):
        engine.update(*pair, None if k == 3 else range(12 * k, 12 * k + 12))
    found = engine.compute()
    assert found.stderr is found.freedom is None
    assert "pass ids to update" in found.notes["stderr"]
    assert found.n == 48
    with pytest.raises(UsageError, match="no standard errors; without ids of the examples"):
        found.interval()


def test_one_batch_again_and_again_has_no_error(rng: np.random.Generator) -> None:
    a, b = network(rng, 12)
    assert passes(a, b, 12, 4, rng).compute().stderr is None


def test_ids_are_one_for_each_example(rng: np.random.Generator) -> None:
    a, b = network(rng, 12)
    with pytest.raises(ShapeError, match="a batch of 12 examples came with 11 ids"):
        MinibatchCKA(list(a), list(b)).update(a, b, range(11))


#: y = x A + noise, with CKA = |Σxy|² / (|Σxx| |Σyy|) of 0.05, 0.5 and 0.96.
SPREAD = np.linspace(0.5, 1.5, 6)
MAPS = [
    (np.random.default_rng(3).normal(size=(6, 5)), 11.0),
    (np.random.default_rng(3).normal(size=(6, 5)), 2.0),
    (np.eye(6), 0.25),
]


def coverage(n: int, size: int, count: int, draws: int) -> np.ndarray:
    """The share of draws whose interval has the value of the population in it, of each map."""
    Sxx = np.diag(SPREAD**2)
    true = [
        np.square(Sxx @ A).sum()
        / (np.linalg.norm(Sxx) * np.linalg.norm(A.T @ Sxx @ A + s**2 * np.eye(A.shape[1])))
        for A, s in MAPS
    ]
    covered = np.zeros(len(MAPS))
    for seed in range(draws):
        rng = np.random.default_rng([9, seed])
        x = SPREAD * rng.normal(size=(n, 6))
        y = {str(k): x @ A + s * rng.normal(size=(n, A.shape[1])) for k, (A, s) in enumerate(MAPS)}
        low, high = passes({"x": x}, y, size, count, rng).compute().interval()
        covered += (low[0] <= true) & (true <= high[0])
    return covered / draws


def simulated(*arguments: int) -> np.ndarray:
    """``coverage`` in a process of its own, where shapes are not checked at thousands of calls."""
    code = f"import test_minibatch; print(*test_minibatch.coverage{arguments})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return np.array(run.stdout.split(), float)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 8])
def test_intervals_of_few_batches_cover(count: int) -> None:
    found = simulated(40 * count, 40, 1, 600)  # 600 draws know 95 % to 0.9 %
    assert (found > 0.92).all(), found
    assert (found < 0.98).all(), found


@pytest.mark.slow
def test_intervals_of_ten_passes_cover() -> None:
    found = simulated(512, 64, 10, 100)  # 100 draws know 95 % to 2.2 %
    assert (found > 0.9).all(), found  # 44 % where rows count as examples


@pytest.mark.slow
def test_the_error_of_batches_is_the_spread_over_streams() -> None:
    mixed = np.random.default_rng(1).normal(size=(6, 5))
    values, errors = [], []
    for seed in range(150):
        rng = np.random.default_rng([5, seed])
        x = rng.normal(size=(288, 6))
        y = x @ mixed + 3 * rng.normal(size=(288, 5))
        found = run(batches({"x": x}, {"y": y}, 24))
        assert found.stderr is not None
        values.append(found.unbiased.item())
        errors.append(found.stderr.item())
    # 150 streams know a spread to 6 %; twelve batches lose a few per cent of theirs.
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.15)


# --- what is kept of a batch


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("p", [3, 200])
def test_reduced_activations_stand_for_themselves(
    p: int, kernel: Any, rng: np.random.Generator
) -> None:
    x = torch.tensor(rng.normal(size=(40, p)), dtype=torch.float32)
    y = torch.tensor(rng.normal(size=(40, p)), dtype=torch.float32) + x
    plain, reduced = (MinibatchCKA(["x"], ["y"], kernel=kernel) for _ in range(2))
    plain.update({"x": x}, {"y": y})
    plain.update({"x": y}, {"y": x})
    kept = reduced.reduce("x", x.clone()), reduced.reduce("y", y.clone())
    also = reduced.reduce("x", y.clone()), reduced.reduce("y", x.clone())
    for one, two in (kept, also):
        reduced.update({"x": one}, {"y": two})
    assert torch.equal(plain._sums.ab, reduced._sums.ab)
    assert np.array_equal(plain.compute().unbiased, reduced.compute().unbiased)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_what_is_reduced_may_be_overwritten(kernel: Any, rng: np.random.Generator) -> None:
    # Trap "hooked tensor kept without a copy": a later operation in place changes nothing.
    for p in (3, 200):
        x = torch.tensor(rng.normal(size=(30, p)))
        engine = MinibatchCKA(["x"], ["x"], kernel=kernel)
        whole = MinibatchCKA(["x"], ["x"], kernel=kernel)
        y = x + torch.tensor(rng.normal(size=(30, p)))
        whole.update({"x": x}, {"x": y})
        one = engine.reduce("x", x)
        x.zero_()
        engine.update({"x": one}, {"x": engine.reduce("x", y)})
        assert np.array_equal(engine.compute().unbiased, whole.compute().unbiased)


@pytest.mark.parametrize("n", [20, 150])
def test_channels_last_have_the_same_value(n: int, rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(n, 5, 4, 4)), dtype=torch.float32)
    y = x[:, :2].clone() + torch.tensor(rng.normal(size=(n, 2, 4, 4))).float()
    last = [v.to(memory_format=torch.channels_last) for v in (x, y)]
    assert last[0].stride() != x.stride()
    plain = run([({"x": x}, {"y": y})]).unbiased.item()
    for one, two in ((last[0], y), (x, last[1]), last):
        # Only the order of a sum over features differs.
        assert run([({"x": one}, {"y": two})]).unbiased.item() == pytest.approx(plain, abs=2e-6)


def test_channels_last_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    original = batch_layer.uncentred_layer
    monkeypatch.setattr(
        batch_layer, "uncentred_layer", lambda x, name: seen.append(x) or original(x, name)
    )
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(10, 5, 4, 4).to(memory_format=layout)
        MinibatchCKA(["x"], ["x"]).reduce("x", x)
        assert seen.pop().data_ptr() == x.data_ptr()


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(3)

    def one(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, width, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36 * width, 6)
        )

    return one(4), one(7).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_comparing_networks_is_the_minibatch_map_of_their_activations(kernel: Any) -> None:
    models = networks()
    images = torch.randn(70, 3, 8, 8)
    loader = images.split(32)  # with a tail of 6
    found = repsim.compare(*models, loader, kernel=kernel, name_a="four", name_b="seven")
    engine = None
    for k, part in enumerate(loader):
        taken = []
        for model in models:
            with Capture(model) as capture:
                model(part)
                taken.append(capture.take())
        engine = engine or MinibatchCKA(list(taken[0]), list(taken[1]), kernel=kernel)
        engine.update(*taken, [(k, row) for row in range(len(part))])
    assert engine is not None
    expected = engine.compute()
    assert found.layers_a == ("0", "1", "2", "3")
    assert found.unbiased == pytest.approx(expected.unbiased, abs=1e-13)
    assert found.stderr == pytest.approx(expected.stderr, abs=1e-13)
    assert (found.n, found.name_a, found.name_b) == (70, "four", "seven")
    # A plain ReLU and its input in place are not one layer (trap of hooks without a copy).
    assert found.unbiased[0, 0] != pytest.approx(found.unbiased[1, 0], abs=1e-3)


def test_comparing_networks_keeps_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0
    original = minibatch.reducing

    def reducing(name: str, activations: Any, *rest: Any) -> Any:
        nonlocal most
        reduced = yield from original(name, activations, *rest)
        alive.append(weakref.ref(activations))
        most = max(most, sum(ref() is not None for ref in alive))
        return reduced

    def loader() -> Iterator[Tensor]:
        for _ in range(5):
            yield torch.randn(16, 3, 8, 8)

    monkeypatch.setattr(minibatch, "reducing", reducing)
    models = networks()
    for model in models:
        model[1] = nn.ReLU()  # of its own output, not of its input
    repsim.compare(*models, loader())
    assert len(alive) == 5 * 8
    # The one that is reduced, the input of its module and what the caller's frames hold: never the
    # eight layers of a batch, let alone forty.
    assert most <= 3
    assert not any(ref() is not None for ref in alive[:-8])
