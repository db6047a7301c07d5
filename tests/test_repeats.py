"""Examples that come several times: the warning of a harvest, and the count of a map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

import repsim
from repsim.errors import RepsimWarning
from repsim.repeats import examples_of_rows

N = 60


class Unshared(IterableDataset[Tensor]):
    """Examples that every worker of a loader reads from the first to the last."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(rows())


def rows(n: int = N) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(0))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 3), nn.Tanh()).eval()


def test_each_worker_reads_the_whole_of_an_unshared_data_set(tmp_path: Path) -> None:
    loader = DataLoader(Unshared(), 10, num_workers=2)
    with pytest.warns(RepsimWarning, match="the 120 examples of the loader have 60 different inp"):
        repsim.harvest(network(), loader, tmp_path / "twice.h5", examples=2 * N).close()


def test_n_and_standard_errors_count_different_examples(tmp_path: Path) -> None:
    x = rows()
    with pytest.warns(RepsimWarning, match="have 60 different inputs"):
        stores = [
            repsim.harvest(network(k), [x, x], tmp_path / f"{k}.h5", examples=2 * N) for k in (0, 1)
        ]
    once = repsim.cka_map(*[{"1": network(k)(x).detach()} for k in (0, 1)])
    twice = repsim.cka_map(*stores, layers_a="1", layers_b="1")
    assert (once.n, twice.n) == (N, N)
    assert "120 rows are of 60 different examples" in twice.notes["repeats"]
    assert "repeats" not in once.notes
    assert twice.stderr is not None
    assert once.stderr is not None
    assert twice.stderr[0, 0] == pytest.approx(once.stderr[0, 0], rel=0.1)
    assert twice.biased == pytest.approx(once.biased, rel=1e-6)


def test_one_repeated_example_of_many_is_no_news(tmp_path: Path) -> None:
    x = rows(200)
    x[1] = x[0]
    with repsim.harvest(network(), [x], tmp_path / "one.h5", examples=200) as store:
        found = repsim.cka_map(store)
    assert found.n == 200
    assert "repeats" not in found.notes


def test_positions_of_one_example_are_told_apart(tmp_path: Path) -> None:
    conv = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    x = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "rows.h5"
    with repsim.harvest(conv, [x], path, examples=20, pooling="positions") as store:
        assert (store.n, len(np.unique(store.inputs))) == (80, 20)
        assert examples_of_rows(store) is None
