"""Rows of features: blocks, selections and functions of them, read when they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from repsim.activations.store.blocks import StoredLayer
from repsim.errors import NonFiniteError, ShapeError, UsageError
from repsim.probes import Features
from repsim.probes.features import BLOCK
from repsim.probes.standardisation import moments, standardise

N = 2 * BLOCK + 100


class Source:
    """An array (n, ...) that counts the rows that are read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape = values.shape
        self.reads: list[int] = []

    def __getitem__(self, rows: slice) -> np.ndarray:
        self.reads.append(len(self.values[rows]))
        return self.values[rows]


@pytest.fixture
def source(rng: np.random.Generator) -> Source:
    return Source(rng.normal(size=(N, 2, 3)))


def test_blocks_are_the_flattened_rows_in_order(source: Source) -> None:
    rows = Features.of(source)
    parts = list(rows.blocks())
    assert [len(x) for _, x in parts] == [BLOCK, BLOCK, 100]
    assert [(part.start, part.stop) for part, _ in parts] == [
        (0, BLOCK),
        (BLOCK, 2 * BLOCK),
        (2 * BLOCK, N),
    ]
    assert (rows.n, rows.p, len(rows), rows.shape, rows.count) == (N, 6, N, (N, 6), 3)
    assert rows.size == N * 6 * 8
    assert np.array_equal(rows.tensor().numpy(), source.values.reshape(N, 6))


def test_nothing_is_read_before_a_block_is_asked_for(source: Source) -> None:
    rows = Features.of(source)
    assert source.reads == [1]  # of which type they are
    chosen = rows.map(lambda x: 2 * x).take(torch.arange(0, N, 2)).map(lambda x: x + 1)
    assert source.reads == [1]
    block = chosen.block(2)
    assert source.reads == [1, 100]
    assert np.array_equal(block.numpy(), 2 * source.values.reshape(N, 6)[2 * BLOCK :: 2] + 1)


@pytest.mark.parametrize(
    "index", [[0, 5, BLOCK - 1, BLOCK, N - 1], [N - 1], list(range(BLOCK, 2 * BLOCK))]
)
def test_a_selection_is_that_of_the_matrix(source: Source, index: list[int]) -> None:
    chosen = Features.of(source).take(torch.tensor(index))
    assert chosen.n == len(index)
    assert np.array_equal(chosen.tensor().numpy(), source.values.reshape(N, 6)[index])
    seen = torch.cat([torch.arange(part.start, part.stop) for part, _ in chosen.blocks()])
    assert seen.tolist() == list(range(len(index)))


def test_blocks_without_a_chosen_row_are_not_read(source: Source) -> None:
    Features.of(source).take(torch.tensor([N - 1])).tensor()
    assert source.reads == [1, 100]


def test_a_selection_of_a_selection(source: Source) -> None:
    even = Features.of(source).take(torch.arange(0, N, 2))
    sixth = even.take(torch.arange(0, even.n, 3))
    assert np.array_equal(sixth.tensor().numpy(), source.values.reshape(N, 6)[::6])


def test_what_fits_in_memory_is_read_once(source: Source) -> None:
    rows = Features.of(source)
    held = rows.held(rows.size)
    assert source.reads == [1, BLOCK, BLOCK, 100]
    assert torch.equal(held.tensor(), torch.cat([x for _, x in held.blocks()]))
    assert len(source.reads) == 4
    assert rows.held(rows.size - 1) is rows


def test_a_map_may_change_columns_and_type(source: Source) -> None:
    thin = Features.of(source).map(lambda x: x[:, :2].float(), p=2, dtype=torch.float32)
    assert (thin.shape, thin.dtype, thin.size) == ((N, 2), torch.float32, N * 2 * 4)
    assert thin.tensor().dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.float16, torch.float32),
        (np.int16, torch.float32),
        (np.bool_, torch.float32),
        (np.float64, torch.float64),
    ],
)
def test_numbers_are_float64_if_they_were_and_float32_else(given: Any, dtype: torch.dtype) -> None:
    rows = Features.of(np.arange(12).reshape(4, 3).astype(given))
    assert rows.dtype == rows.block(0).dtype == dtype


def test_a_layer_of_a_file_comes_in_blocks(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.normal(size=(N, 4)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layer = StoredLayer([file.create_dataset("x", data=values)], "x")
        rows = Features.of(layer)
        assert rows.held(1000) is rows
        assert [len(x) for _, x in rows.blocks()] == [BLOCK, BLOCK, 100]
        assert np.array_equal(rows.take(torch.arange(N // 2)).tensor().numpy(), values[: N // 2])


def test_infinities_are_found_where_they_are_read(source: Source) -> None:
    source.values[N - 1, 0, 0] = np.inf
    rows = Features.of(source, "test_features")
    rows.block(0)
    with pytest.raises(NonFiniteError, match="^test_features hold NaN or infinity"):
        rows.block(2)


@pytest.mark.parametrize("shape", [(5,), (0, 3), (5, 0), (5, 0, 2)])
def test_what_is_no_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"x have shape .* expected \(n, ...\)"):
        Features.of(np.zeros(shape), "x")


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="complex numbers"):
        Features.of(np.zeros((2, 2), complex))


def test_labels_are_one_a_row(source: Source) -> None:
    rows = Features.of(source)
    assert rows.paired(torch.zeros(N, dtype=torch.int32)).dtype == torch.int64
    with pytest.raises(ShapeError, match=f"5 labels came with {N} training rows"):
        rows.paired(torch.zeros(5))


# --- standardisation


def test_mean_and_scale_are_those_of_the_columns(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5000, 4)) * [1, 1e-3, 1e3, 0] + [0, 1e4, -1e8, 0.1]
    standard = standardise(Features.of(x))
    assert standard.mean.numpy() == pytest.approx(x.mean(0), rel=1e-12, abs=1e-15)
    assert standard.scale.numpy() == pytest.approx([*x.std(0)[:3], 1.0], rel=1e-8)
    assert float(standard.scale[3]) == 1.0
    z = standard(torch.tensor(x)).numpy()
    assert z[:, :3].std(0) == pytest.approx(np.ones(3), rel=1e-8)


def test_columns_are_read_once(source: Source) -> None:
    standardise(Features.of(source))
    assert source.reads == [1, BLOCK, BLOCK, 100]


@pytest.mark.parametrize("cuts", [[1, 2, 4999], [2500], []])
def test_moments_of_any_blocks_are_those_of_the_whole(
    cuts: list[int], rng: np.random.Generator
) -> None:
    x = torch.tensor(rng.normal(size=(5000, 3)) * [1, 1e-2, 10] + [0, 50, -3])
    blocks = torch.tensor_split(x, cuts)
    found, diagonal = moments(blocks, full=True), moments(blocks)
    centred = x - x.mean(0)
    torch.testing.assert_close(found.products, centred.T @ centred, rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(diagonal.products, found.products.diagonal(), rtol=1e-12, atol=0.0)


def test_a_column_of_tiny_differences_is_not_constant() -> None:
    x = torch.full((100, 2), 0.1)
    x[0, 0] = torch.nextafter(x[0, 0], torch.tensor(1.0))
    scale = standardise(Features.of(x)).scale
    assert 0 < float(scale[0]) < 1e-8
    assert float(scale[1]) == 1.0


def test_squares_that_overflow_are_named() -> None:
    with pytest.raises(NonFiniteError, match="divide the features first"):
        standardise(Features.of(torch.tensor([[1e200], [-1e200]], dtype=torch.float64)))
