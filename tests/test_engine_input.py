"""Input that the engine refuses, and input for which float32 would not do."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsim.cli.main import main
from repsim.errors import DegenerateError, UsageError
from repsim.measures import MEASURES, MinibatchCKA, cka, cka_map, influence, procrustes_distance

N = 200


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shared = rng.normal(size=(N, 5))
    return tuple(  # type: ignore[return-value]
        shared @ rng.normal(size=(5, p)) + rng.normal(size=(N, p)) for p in (40, 30)
    )


@pytest.mark.parametrize("algebra", ["gram", "features"])
@pytest.mark.parametrize("factor", [1, 30, 1e2, 1e3, 1e5])
def test_a_row_that_outweighs_the_others_costs_no_digits(
    algebra: Any, factor: float, rng: np.random.Generator
) -> None:
    x, y = pair(rng)
    x[0] *= factor
    y[0] *= factor
    single = {"x": x.astype(np.float32)}, {"y": y.astype(np.float32)}
    exact = tuple({k: v.astype(np.float64) for k, v in side.items()} for side in single)
    found, expected = (cka_map(*sides, algebra=algebra) for sides in (single, exact))
    assert found.unbiased == pytest.approx(expected.unbiased, rel=1e-5)
    # What float32 leaves of it, with one row a thousand times the others.
    assert found.stderr == pytest.approx(expected.stderr, rel=1e-3)
    assert cka(*(next(iter(side.values())) for side in single)) == pytest.approx(
        float(expected.unbiased[0, 0]), rel=1e-5
    )


@pytest.mark.parametrize("near", [1e-3, 1e-4])
def test_a_tight_cluster_keeps_its_bandwidth_in_float32(
    near: float, rng: np.random.Generator
) -> None:
    x, y = pair(rng)
    x[:160] = x[0] + near * x[:160]
    x, y = x.astype(np.float32), y.astype(np.float32)
    expected = cka(x.astype(np.float64), y.astype(np.float64), kernel="rbf")
    assert cka(x, y, kernel="rbf") == pytest.approx(expected, rel=1e-5)
    stream = MinibatchCKA(["x"], ["y"], kernel="rbf")
    stream.update({"x": x}, {"y": y})
    assert stream.compute().unbiased[0, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [64, 4096])
def test_no_bandwidth_is_taken_from_rounding(dtype: Any, p: int, rng: np.random.Generator) -> None:
    x = np.maximum(0, rng.normal(size=(N, p)) + 0.2)
    x[:150] = 0  # more than half of all pairs coincide
    with pytest.raises(DegenerateError, match="x: the median distance between examples is 0"):
        cka(x.astype(dtype), pair(rng)[1].astype(dtype), kernel="rbf")


@pytest.mark.parametrize("differentiable", [False, True])
def test_nor_from_rounding_far_from_zero(differentiable: bool, rng: np.random.Generator) -> None:
    x, y = pair(rng)
    x[:150] = 1e3 + 1e-12 * x[:150]  # most examples coincide but for their last digits
    leaf = torch.tensor(x, requires_grad=differentiable)
    with pytest.raises(DegenerateError, match="x: the median distance between examples is 0"):
        cka(leaf, y, kernel="rbf")
    leaf = torch.tensor(1e6 + 1e-10 * x[150:], requires_grad=differentiable)  # all of them do
    with pytest.raises(DegenerateError, match="x: it is the same for every example"):
        cka(leaf, y[150:], kernel="rbf")


def test_features_are_for_the_linear_kernel(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    with pytest.raises(UsageError, match="the rbf:0.5 kernel has no products of features"):
        cka_map({"x": x}, {"y": y}, kernel="rbf", algebra="features")
    with pytest.raises(UsageError, match="unknown algebra 'feature'; did you mean 'features'"):
        cka_map({"x": x}, {"y": y}, algebra="feature")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((9, 2)) * 1j, "x: it holds complex numbers; expected a dense array of real"),
        (torch.ones(9, 2) * 1j, "x: it holds complex numbers"),
        (np.ma.masked_less(np.arange(18.0).reshape(9, 2), 3), "x: it has masked entries"),
        (np.array([["a"]] * 9), "x: it holds text"),
        (np.array([[object()]] * 9), "x: it holds Python objects"),
        (torch.eye(9).to_sparse(), "x: it is sparse"),
        ([[1, 2], [3]], "x: it is no array of numbers"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused(value: Any, message: str) -> None:
    other = np.random.default_rng(0).normal(size=(9, 3))
    for call in (
        lambda: cka(value, other),
        lambda: cka_map({"x": value}, {"y": other}),
        lambda: influence(value, other),
        *(partial(measure.function, value, other) for measure in MEASURES.values()),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_other_byte_orders_and_long_doubles_are_read(rng: np.random.Generator) -> None:
    x, y = pair(rng)
    expected = cka(x, y)
    assert cka(x.astype(">f8"), y) == expected
    assert cka(x.astype(np.longdouble), y) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory is 0; expected a whole number of at least 1"),
        ({"permutations": -1}, "permutations is -1; expected a whole number of at least 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_counts_that_cannot_be(options: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match=message):
        cka_map({"x": pair(rng)[0]}, **options)


def test_a_batch_that_is_rounding_alone_adds_nothing() -> None:
    simplex = torch.eye(64)  # every example as far from every other
    stream = MinibatchCKA(["x"], ["y"])
    for _ in range(3):
        stream.update({"x": simplex}, {"y": 2 * simplex})
    found = stream.compute()
    assert np.isnan(found.unbiased).all()
    assert "its summed self-HSIC is 0, not positive" in found.notes["a:x"]


def test_a_stream_is_not_merged_with_itself() -> None:
    stream = MinibatchCKA(["x"], ["y"])
    with pytest.raises(UsageError, match="merge takes another MinibatchCKA"):
        stream.merge(stream)


# --- the commands


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["repsim", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"])
def test_a_file_that_is_no_array_gives_one_line(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.npy").write_bytes(content)
    assert run(monkeypatch, "cka", "--a", "x.npy") == 1
    assert "repsim: error: x.npy is not an array of numbers" in capsys.readouterr().err


def test_influence_names_the_examples_that_drive_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = pair(rng)
    x[7] *= 5
    y[7] *= 5
    np.save("x.npy", x)
    np.save("y.npy", y)
    command = ("influence", "--a", "x.npy", "--b", "y.npy", "--layer", "x", "--layer-b", "y")
    assert run(monkeypatch, *command, "--top", "2") == 0
    printed = capsys.readouterr().out
    assert "what each of 200 examples adds to the linear CKA of x x and y y" in printed
    rows = [line.split() for line in printed.splitlines() if line.split()[:1] == ["7"]]
    expected = influence(x, y)
    assert rows == [["7", f"{1000 * expected[7]:.3f}"]]
    lines = Path("results/influence-x-y-x-y.csv").read_text().splitlines()
    assert lines[0] == "example,influence"
    assert [float(line.split(",")[1]) for line in lines[1:]] == expected.tolist()
    assert run(monkeypatch, *command) == 0  # it is there already, of the same inputs
    assert run(monkeypatch, *command, "--overwrite", "--layer", "z") == 2
    assert "x has no layer 'z'; there is: x" in capsys.readouterr().err


@pytest.mark.parametrize(("factor", "size"), [(1e160, "great"), (1e-170, "small")])
def test_values_whose_squares_overflow_are_not_called_constant(factor: float, size: str) -> None:
    x = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    said = f"it has values too {size} for their squares in float64; multiply it by a constant"
    for function in (cka, influence, procrustes_distance):
        with pytest.raises(DegenerateError, match=said):
            function(factor * x, x)
    with pytest.raises(DegenerateError, match=said):
        cka((factor * x).requires_grad_(), x)
    assert said in cka_map({"a": factor * x}, {"b": x}).notes["a:a"]
    assert "is the same" in cka_map({"a": 0 * x + factor}, {"b": x}).notes["a:a"]
