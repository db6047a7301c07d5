"""Rows are trusted to be their number only where that is known, and compared where they can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import repsim
from repsim.activations import head_features, layer_null_spaces, plan_harvest
from repsim.activations.harvesting.loaders import NoisyLoader
from repsim.data.noise import Noise
from repsim.errors import MismatchError, RepsimWarning, UsageError

N = 32
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 4
DATA = TensorDataset(X, Y)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = nn.Linear(6, 9), nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).relu())


class Reversed(SequentialSampler):
    def __iter__(self) -> Iterator[int]:
        return reversed(range(N))


class Swapped(BatchSampler):
    def __iter__(self) -> Iterator[list[int]]:
        return reversed(list(super().__iter__()))


class Around:
    """A loader around another one, as programs for several devices have."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


OTHERWISE: dict[str, Callable[[], Any]] = {
    "SubsetRandomSampler": lambda: DataLoader(DATA, 8, sampler=SubsetRandomSampler(range(N))),
    "WeightedRandomSampler": lambda: DataLoader(
        DATA, 8, sampler=WeightedRandomSampler(torch.ones(N), N, replacement=False)
    ),
    "Reversed": lambda: DataLoader(DATA, 8, sampler=Reversed(DATA)),
    "list": lambda: DataLoader(DATA, 8, sampler=list(reversed(range(N)))),
    "RandomSampler": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 8, False)
    ),
    "Swapped": lambda: DataLoader(DATA, batch_sampler=Swapped(SequentialSampler(DATA), 8, False)),
    "begun": lambda: iter(DataLoader(DATA, 8, sampler=SubsetRandomSampler(range(N)))),
    "within": lambda: Around(DataLoader(DATA, 8, sampler=SubsetRandomSampler(range(N)))),
}
ORDERS: dict[str, Callable[[], Any]] = {
    "sequential": lambda: DataLoader(DATA, 8),
    "range": lambda: DataLoader(DATA, 8, sampler=range(N)),
    "batches": lambda: DataLoader(DATA, batch_sampler=torch.arange(N).view(4, 8).tolist()),
    "a sampler of batches": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(SequentialSampler(DATA), 8, False)
    ),
    "list": lambda: list(X.split(8)),
    "generator": lambda: iter(X.split(8)),
}


def test_loaders_may_have_no_attributes(tmp_path: Path) -> None:
    class Bare:
        def __iter__(self) -> Iterator[Tensor]:
            return iter(X.split(8))

        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

    repsim.harvest(Net(), Bare(), tmp_path / "a.h5", examples=N).close()


@pytest.mark.parametrize("order", OTHERWISE)
def test_rows_without_ids_are_refused_in_an_order_that_is_not_known(
    tmp_path: Path, order: str
) -> None:
    with pytest.raises(UsageError, match=r"draws its examples by a .*\(inputs, labels, ids\)"):
        repsim.harvest(Net(), OTHERWISE[order](), tmp_path / "a.h5", examples=N)
    with pytest.raises(UsageError, match="draws its examples by a"):
        plan_harvest(Net(), OTHERWISE[order](), examples=N)
    with pytest.raises(UsageError, match="draws its examples by a"):
        head_features(Net(), OTHERWISE[order]())
    with pytest.raises(UsageError, match="draws its examples by a"):
        layer_null_spaces(Net(), OTHERWISE[order](), labels=Y)


@pytest.mark.parametrize(
    "sampler", [WeightedRandomSampler(torch.ones(N), N), RandomSampler(range(N), replacement=True)]
)
def test_draws_with_replacement_are_refused_with_ids_as_well(tmp_path: Path, sampler: Any) -> None:
    loader = DataLoader(TensorDataset(X, Y, torch.arange(N)), 8, sampler=sampler)
    with pytest.raises(UsageError, match=r"Sampler with replacement, which gives some of them twi"):
        repsim.harvest(Net(), loader, tmp_path / "a.h5", examples=N)


def test_the_remedy_for_a_sampler_does_what_it_says(tmp_path: Path) -> None:
    for shuffle in (None, False):
        loader = DataLoader(DATA, 8, sampler=SubsetRandomSampler(range(N)), shuffle=shuffle)
        with pytest.raises(UsageError, match=r"without that sampler \(shuffle=False leaves a"):
            repsim.harvest(Net(), loader, tmp_path / "a.h5")
    with pytest.raises(UsageError, match="without shuffle=True and without a RandomSampler"):
        repsim.harvest(Net(), DataLoader(DATA, 8, shuffle=True), tmp_path / "a.h5")
    repsim.harvest(Net(), DataLoader(DATA, 8), tmp_path / "a.h5").close()


@pytest.mark.parametrize("named", [(True, False), (False, True)])
def test_ids_come_with_all_batches_or_with_none(tmp_path: Path, named: tuple[bool, bool]) -> None:
    halves, ids = (X[: N // 2], X[N // 2 :]), [f"x{k}" for k in range(N // 2)]
    batches = [(x, None, ids) if told else (x, None) for x, told in zip(halves, named, strict=True)]
    with pytest.raises(UsageError, match="the first batch came with.* ids with all or with none"):
        repsim.harvest(Net(), batches, tmp_path / "a.h5", examples=N)
    with pytest.raises(UsageError, match="the first batch came with.* ids with all or with none"):
        repsim.compare(Net(), Net(), batches)


@pytest.mark.parametrize(
    "ids", [torch.rand(N), np.linspace(0, 1, N), [0.5] * N, [None] * N, [[1]] * N]
)
def test_ids_are_texts_or_whole_numbers(tmp_path: Path, ids: Any) -> None:
    with pytest.raises(UsageError, match="with an id that is a .*; expected a text or a whole num"):
        repsim.harvest(Net(), [(X, Y, ids)], tmp_path / "a.h5", examples=N)
    numbers = [torch.tensor(k) for k in range(N)]
    with repsim.harvest(Net(), [(X, Y, numbers)], tmp_path / "b.h5", examples=N) as store:
        assert [int(each) for each in store.example_ids] == list(range(N))


def test_a_fourth_entry_of_a_batch_is_said_to_be_unread(tmp_path: Path) -> None:
    batches = [(X, Y, [f"x{k}" for k in range(N)], 3 * Y)]
    with pytest.warns(RepsimWarning, match="a batch has 4 entries, of which the first three"):
        repsim.harvest(Net(), batches, tmp_path / "a.h5", examples=N).close()
    with pytest.warns(RepsimWarning, match="a batch has 4 entries, of which the first three"):
        repsim.compare(Net(), Net(), batches)


def test_labels_of_another_number_than_the_inputs_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"gave {N} inputs, of shape .*, and 30 labels or ids;"):
        repsim.harvest(Net(), [(X, Y[:30])], tmp_path / "a.h5", examples=N)


def test_empty_batches_before_the_first_example_are_left_out(tmp_path: Path) -> None:
    batches = [X[:0], X[:8], X[8:]]
    with repsim.harvest(Net(), batches, tmp_path / "a.h5", examples=N) as store:
        assert store.n == N
    assert repsim.compare(Net(), Net(), batches).n == N
    with pytest.raises(UsageError, match="the loader gave no batch"):
        repsim.harvest(Net(), [X[:0], X[:0]], tmp_path / "b.h5", examples=N)


@pytest.mark.parametrize("order", ORDERS)
def test_sequential_orders_need_no_ids(tmp_path: Path, order: str) -> None:
    with repsim.harvest(Net(), ORDERS[order](), tmp_path / "a.h5", examples=N) as store:
        np.testing.assert_allclose(store["head"][:], Net()(X).detach().numpy(), atol=1e-6)


def test_any_order_will_do_with_ids(tmp_path: Path) -> None:
    data = TensorDataset(X, Y, torch.arange(N))
    loader = DataLoader(data, 8, sampler=SubsetRandomSampler(range(N)))
    with repsim.harvest(Net(), loader, tmp_path / "a.h5", examples=N) as store:
        places = [int(each) for each in store.example_ids]
        want = Net()(X[places]).detach().numpy()
        np.testing.assert_allclose(store["head"][:], want, atol=1e-6)


def test_batches_as_workers_finish_are_in_no_order(tmp_path: Path) -> None:
    loader = DataLoader(DATA, 8)
    loader.num_workers, loader.in_order = 2, False
    with pytest.raises(UsageError, match="as its workers finish"):
        head_features(Net(), loader)


def test_noise_does_not_hide_a_sampler() -> None:
    class Some(Noise):
        def __init__(self) -> None: ...

    with pytest.raises(UsageError, match="draws its examples by a"):
        head_features(Net(), NoisyLoader(OTHERWISE["within"](), Some()))


def test_a_loader_of_unknown_order_is_read_twice(tmp_path: Path) -> None:
    class Stream(IterableDataset):
        def __init__(self, *, shuffled: bool) -> None:
            self.shuffled = shuffled

        def __iter__(self) -> Iterator[Tensor]:
            return iter(X[torch.randperm(N)] if self.shuffled else X)

    repsim.harvest(
        Net(), DataLoader(Stream(shuffled=False), 8), tmp_path / "a.h5", examples=N
    ).close()
    with pytest.raises(UsageError, match="gives other inputs when it is read again"):
        repsim.harvest(Net(), DataLoader(Stream(shuffled=True), 8), tmp_path / "b.h5", examples=N)


# --- two stores with equal ids


def store(path: Path, name: str, x: Tensor, y: Tensor | None = None, **about: Any) -> Any:
    batches = [(x, y)] if y is not None else [x]
    return repsim.harvest(Net(), batches, path / f"{name}.h5", examples=len(x), provenance=about)


def test_labels_of_equal_ids_are_compared(tmp_path: Path) -> None:
    a, b = store(tmp_path, "a", X, Y), store(tmp_path, "b", X, Y.flip(0))
    said = r"a.h5 and /.*b.h5 have equal .* another 'label' for 32 of 32, first 0 against 3"
    with pytest.raises(MismatchError, match=said):
        repsim.cka_map(a, b)


def test_classes_are_compared_by_name(tmp_path: Path) -> None:
    from repsim.comparable import _named
    from repsim.data.targets import Target

    a = Target("label", torch.tensor([0, 1]), ("cat", "dog"))
    b = Target("label", torch.tensor([1, 0]), ("dog", "cat"))
    x, y = _named(a, b)
    assert x.tolist() == y.tolist() == ["cat", "dog"]


def test_the_same_inputs_in_another_order_are_refused(tmp_path: Path) -> None:
    a, b = store(tmp_path, "a", X), store(tmp_path, "b", X.flip(0))
    with pytest.raises(MismatchError, match="the inputs of 32 of 32 come in another order"):
        repsim.cka_map(a, b)


def test_some_other_examples_are_refused(tmp_path: Path) -> None:
    other = X.clone()
    other[5] += 1
    a, b = store(tmp_path, "a", X), store(tmp_path, "b", other)
    with pytest.raises(MismatchError, match="1 of 32 have other inputs"):
        repsim.cka_map(a, b)


def test_other_files_are_refused_and_another_preprocessing_is_said(tmp_path: Path) -> None:
    files = [{"count": 3, "bytes": size, "sha256": str(size)} for size in (10, 11)]
    a, b = store(tmp_path, "a", X, files=files[0]), store(tmp_path, "b", X + 1, files=files[1])
    with pytest.raises(MismatchError, match="3 files of 10 bytes against 3 files of 11 bytes"):
        repsim.cka_map(a, b)
    c = store(tmp_path, "c", X + 1, files=files[0], normalise="unit")
    with pytest.warns(RepsimWarning, match=r"other inputs .*\(normalise None and unit\)"):
        assert repsim.cka_map(a, c).n == N


def test_numbered_rows_of_other_places_are_refused(tmp_path: Path) -> None:
    parts = [DataLoader(Subset(DATA, range(k, k + 16)), 8) for k in (0, 16)]
    a, b = (repsim.harvest(Net(), part, tmp_path / f"{k}.h5") for k, part in enumerate(parts))
    with pytest.raises(MismatchError, match="another 'label'|other places of their data sets"):
        repsim.cka_map(a, b)
    only = [DataLoader(Subset(TensorDataset(X), range(k, k + 16)), 8) for k in (0, 16)]
    a, b = (repsim.harvest(Net(), part, tmp_path / f"x{k}.h5") for k, part in enumerate(only))
    with pytest.raises(MismatchError, match="from other places of their data sets"):
        repsim.cka_map(a, b)
