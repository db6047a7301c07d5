"""Similarity on a simulated device: values, refusals and transfers; run by test_on_a_device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simulated_device
import torch
from simulated_device import logged, on_device, without_float64
from torch import Tensor

from repsim import RBF, MinibatchCKA, cka, cka_map, influence
from repsim.devices import default_memory
from repsim.measures import MEASURES
from repsim.measures.algebra import pair_sums
from repsim.measures.kernels import parse_kernel
from repsim.measures.prepare import prepare_layer
from repsim.sources import ArraySource

simulated_device.start()

KERNELS = ["linear", "rbf"]
SEVEN = (8, 30, 20, 10, 12, 14, 40)


def network(widths: tuple[int, ...] = (8, 100, 20), n: int = 60, seed: int = 0) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 4, generator=random)
    layers = {f"l{p}": torch.randn(n, p, generator=random) for p in widths}
    return {name: x + shared @ torch.ones(4, x.shape[1]) for name, x in layers.items()}


def moved(network: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: on_device(x) for name, x in network.items()}


A, B = network(), network((9, 70, 21), seed=1)


# --- the device itself


def test_the_device_refuses_and_counts_as_a_gpu_does() -> None:
    x = on_device(torch.ones(3))
    for mixed in (
        lambda: x + torch.ones(3),
        lambda: torch.stack([x.sum(), torch.ones(())]),
        lambda: torch.ones(()).add_(x.sum()),
        lambda: torch.ones(3)[on_device(torch.tensor([1]))],
        lambda: torch.rand(3, generator=torch.Generator(), device=x.device),
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()
    for numpy in (lambda: np.asarray(x), x.numpy):
        with pytest.raises(TypeError, match="to numpy"):
            numpy()
    assert (x * torch.tensor(2.0)).device == x.device
    with logged() as log:
        assert x.tolist() == [1, 1, 1]
        assert float(x.sum()) == 3
        x.nonzero()
        x[x > 0]
        x.cpu()
        torch.tensor([1.0], device=x.device)
        x[torch.tensor([0, 1])]
        x + 1
    assert log.count("sync") == 4
    assert log.count("to host") == 1
    assert log.count("to device") == 2
    with without_float64(), pytest.raises(TypeError, match="no float64"):
        x.double()


def test_a_moment_has_the_line_of_the_project() -> None:
    x, y = on_device(A["l8"]), on_device(B["l9"])
    with logged() as log:
        cka(x, y)
    assert log.count()
    assert log.count() == log.count(within="repsim/measures/")


# --- values


@pytest.mark.parametrize("kernel", KERNELS)
def test_maps_are_those_of_the_cpu(kernel: str) -> None:
    options: dict[str, Any] = {"kernel": kernel, "permutations": 20}
    found, expected = cka_map(moved(A), moved(B), **options), cka_map(A, B, **options)
    for table in ("unbiased", "biased", "stderr", "p_value", "p_value_max"):
        assert getattr(found, table) == pytest.approx(getattr(expected, table), abs=1e-12), table
    assert found.provenance["device"].startswith("sim")


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_those_of_the_cpu(name: str) -> None:
    measure = MEASURES[name].function
    expected = measure(A["l20"], B["l9"])
    assert measure(on_device(A["l20"]), on_device(B["l9"])) == pytest.approx(expected, abs=1e-9)
    assert measure(on_device(A["l20"]), B["l9"].numpy()) == pytest.approx(expected, abs=1e-9)
    assert measure(A["l20"].numpy(), on_device(B["l9"])) == pytest.approx(expected, abs=1e-9)


def test_influence_is_that_of_the_cpu() -> None:
    found = influence(on_device(A["l20"]), on_device(B["l9"]))
    assert torch.as_tensor(found).cpu().numpy() == pytest.approx(
        torch.as_tensor(influence(A["l20"], B["l9"])).numpy(), abs=1e-9
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("elsewhere", ["device", "array", "cpu"])
def test_gradients_are_those_of_the_cpu(kernel: str, elsewhere: str) -> None:
    expected, found = A["l8"].clone().requires_grad_(), on_device(A["l8"]).requires_grad_()
    other = {"device": on_device, "array": Tensor.numpy, "cpu": Tensor.clone}[elsewhere](B["l9"])
    value = cka(found, other, kernel=kernel)
    assert isinstance(value, Tensor)
    value.backward()
    cka(expected, B["l9"], kernel=kernel).backward()
    assert torch.allclose(found.grad.cpu(), expected.grad, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_without_float64_all_is_computed_on_the_cpu(kernel: str) -> None:
    a, b = moved(A), moved(B)
    leaf = on_device(A["l8"]).requires_grad_()
    with without_float64():
        found = cka_map(a, b, kernel=kernel)
        assert cka(a["l8"], b["l9"], kernel=kernel) == cka(A["l8"], B["l9"], kernel=kernel)
        cka(leaf, b["l9"], kernel=kernel).backward()
        stream = streamed(a, b, kernel=kernel).compute()
        for measure in MEASURES.values():
            expected = measure.function(A["l20"], B["l9"])
            assert measure.function(a["l20"], b["l9"]) == pytest.approx(expected, abs=1e-9)
    assert np.array_equal(found.unbiased, cka_map(A, B, kernel=kernel).unbiased)
    assert np.array_equal(stream.unbiased, streamed(A, B, kernel=kernel).compute().unbiased)
    assert leaf.grad is not None


# --- streams


def streamed(a: dict[str, Any], b: dict[str, Any], batches: int = 4, **options: Any) -> Any:
    stream = MinibatchCKA(list(a), list(b), **options)
    for k in range(batches):
        rows = slice(15 * k, 15 * (k + 1))
        stream.update(
            {name: x[rows] for name, x in a.items()},
            {name: x[rows] for name, x in b.items()},
            ids=range(rows.start, rows.stop),
        )
    return stream


def same(found: MinibatchCKA, expected: MinibatchCKA) -> None:
    left, right = found.compute(), expected.compute()
    assert left.unbiased == pytest.approx(right.unbiased, abs=1e-9, nan_ok=True)
    assert left.stderr == pytest.approx(right.stderr, abs=1e-9, nan_ok=True)
    assert left.notes == right.notes


@pytest.mark.parametrize("kernel", [*KERNELS, RBF(2.0)], ids=str)
def test_streams_are_those_of_the_cpu(kernel: Any) -> None:
    same(streamed(moved(A), moved(B), kernel=kernel), streamed(A, B, kernel=kernel))


def test_streams_of_layers_that_cannot_be_compared_are_those_of_the_cpu() -> None:
    a, b = dict(A), dict(B)
    a["constant"] = torch.full((60, 5), 0.1)
    b["hole"] = torch.where(torch.arange(60)[:, None] == 20, torch.nan, B["l9"])
    a["far"] = A["l8"] + 1e6
    b["outlier"] = torch.where(torch.arange(60)[:, None] == 20, 1e6, B["l70"])
    same(streamed(moved(a), moved(b)), streamed(a, b))


@pytest.mark.parametrize("kernel", KERNELS)
def test_streams_on_two_devices_add_up(kernel: str) -> None:
    for first, second in ((moved, dict), (dict, moved)):
        total = streamed(first(A), first(B), kernel=kernel)
        total.merge(streamed(second(A), second(B), kernel=kernel))
        expected = streamed(A, B, kernel=kernel)
        expected.merge(streamed(A, B, kernel=kernel))
        same(total, expected)
        empty = MinibatchCKA(list(A), list(B), kernel=kernel)
        empty.merge(total)
        same(empty, expected)


def test_batches_may_lie_on_two_devices_by_turns() -> None:
    stream = streamed(moved(A), moved(B), 2)
    for k in (2, 3):
        rows = slice(15 * k, 15 * (k + 1))
        of_a, of_b = ({name: x[rows] for name, x in side.items()} for side in (A, B))
        stream.update(of_a, of_b, ids=range(rows.start, rows.stop))
    same(stream, streamed(A, B))


def test_layers_of_one_batch_may_lie_on_two_devices() -> None:
    same(streamed(moved(A), B), streamed(A, B))
    same(streamed({name: x.numpy() for name, x in A.items()}, moved(B)), streamed(A, B))


# --- transfers


@pytest.mark.parametrize("terms", [False, True])
@pytest.mark.parametrize(
    ("kernel", "algebra"), [("linear", "gram"), ("linear", "features"), ("rbf", "gram")]
)
def test_nothing_is_transferred_within_a_sweep(kernel: str, algebra: Any, terms: bool) -> None:
    def layers(network: dict[str, Any]) -> list[Any]:
        source = ArraySource(network, name="network")
        options = (parse_kernel(kernel), source.device, torch.float32)
        return [prepare_layer(source, name, *options) for name in network]

    sides = layers(moved(A)), layers(moved(B))
    with logged() as log:
        pair_sums(*sides, memory=default_memory(torch.device("cpu")), algebra=algebra, terms=terms)
    assert not log.count(), log


def test_medians_are_taken_on_the_device() -> None:
    a, b = moved(A), moved(B)
    with logged() as log:
        cka_map(a, b, kernel="rbf")
    assert not log.count(within="kernels.py"), log
    assert log.count("to host") == 3, log  # the tables of the map
    # Two numbers a layer, its scale and its bandwidth, and a few for the map.
    assert log.count("sync", within="answers.py") == 2 * (len(A) + len(B)), log


@pytest.mark.parametrize("kernel", KERNELS)
def test_permutations_take_no_transfer_each(kernel: str) -> None:
    a, b = moved(A), moved(B)
    counts = []
    for permutations in (1, 60):
        with logged() as log:
            cka_map(a, b, kernel=kernel, permutations=permutations)
        counts.append(log.count())
    assert counts[0] == counts[1]
    assert log.count(within="uncertainty.py") == 2, log  # the orders, and the values


@pytest.mark.parametrize(("kernel", "each"), [("linear", 1), ("rbf", 2)])
def test_a_batch_takes_one_transfer(kernel: str, each: int) -> None:
    """Of an RBF kernel two: the bandwidths follow from the scales."""
    a, b = moved(network(SEVEN)), moved(network(SEVEN, seed=1))
    with logged() as log:
        stream = streamed(a, b, batches=4, kernel=kernel)
    assert log.count() == 4 * each, log
    with logged() as log:
        for name, x in a.items():
            stream.reduce(name, x)
    assert log.count() == len(a) * each, log  # a hook has one layer at a time


def test_cka_as_a_loss_looks_at_few_numbers() -> None:
    x, y = on_device(A["l8"]).requires_grad_(), on_device(B["l9"])
    with logged() as log:
        cka(x, y).backward()
    assert not log.count("to host", "to device"), log
    assert log.count("sync") <= 8, log  # the checks of values
