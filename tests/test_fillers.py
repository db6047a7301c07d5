"""Padding that shows in the values alone: what fills examples up, and lengths behind inputs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import repsim
from repsim.activations.capture.fillers import begins_filled, ends_at, is_filled
from repsim.errors import RepsimWarning, UsageError

SIZES = [3, 5, 2, 6, 4, 7, 3, 8]
GENERATOR = torch.Generator().manual_seed(0)
SERIES = [torch.randn(size, 4, generator=GENERATOR) for size in SIZES]


class Steps(nn.Module):
    """A layer on each step of a series, in which missing values are 0."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.nan_to_num(0)
        return self.layer(x if x.ndim == 3 else x.unsqueeze(2))


def padded(some: list[Tensor], value: float | None, side: str = "right") -> Tensor:
    """Examples as long as the longest; filled with their last step where there is no value."""
    length = max(map(len, some))
    filler = [x[-1] if value is None else torch.full_like(x[-1], value) for x in some]
    filled = [
        torch.cat([x, one.expand(length - len(x), *x.shape[1:])][:: 1 if side == "right" else -1])
        for x, one in zip(some, filler, strict=True)
    ]
    return torch.stack(filled)


FILLERS = [float("nan"), -80.0, -1.0, 0.0, None]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("value", FILLERS)
def test_examples_that_are_filled_up_are_refused(
    value: float | None, side: str, tmp_path: Path
) -> None:
    if (value, side) == (None, "left"):
        pytest.skip("a last step is repeated behind")
    batches = [padded(SERIES[k : k + 4], value, side) for k in (0, 4)]
    refused = pytest.raises(UsageError, match="'x' comes in lengths of 6 and 8, filled up")
    with warnings.catch_warnings(), refused as error:
        warnings.simplefilter("ignore", RepsimWarning)  # of NaN at the ends, in the first batch
        repsim.harvest(Steps(), batches, tmp_path / "a.h5", examples=8, pooling="avg")
    assert "\n" not in str(error.value)
    lengths = [torch.tensor(SIZES[k : k + 4]) for k in (0, 4)]
    told = [{"x": x, "lengths": k} for x, k in zip(batches, lengths, strict=True)]
    if side == "right":
        given = {"examples": 8, "pooling": "avg", "masks": "*=lengths", "overwrite": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepsimWarning)  # forward takes no lengths
            with repsim.harvest(Steps(), told, tmp_path / "a.h5", **given) as store:
                right = torch.stack([Steps()(x[None])[0].mean(0) for x in SERIES]).detach()
                np.testing.assert_allclose(store["layer"][:], right, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), -80.0, 0.0])
def test_single_numbers_that_are_filled_up_are_refused(value: float, tmp_path: Path) -> None:
    batches = [padded([x[:, 0] for x in SERIES[k : k + 4]], value) for k in (0, 4)]
    with pytest.raises(UsageError, match="'x' comes in lengths of 6 and 8, filled up"):
        repsim.harvest(Steps(1), batches, tmp_path / "a.h5", examples=8, pooling="avg")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, -80.0])
def test_maps_of_any_number_of_axes_get_one_warning(
    axes: int, value: float, tmp_path: Path
) -> None:
    shapes = [(3, size, *[5] * (axes - 1)) for size in SIZES]
    maps = [torch.randn(shape, generator=GENERATOR) for shape in shapes]
    batches = [
        padded([x.movedim(1, 0) for x in maps[k : k + 4]], value).movedim(1, 2) for k in (0, 4)
    ]
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    network = nn.Sequential(convolution(3, 6, 3, padding=1), nn.ReLU())
    given = {"examples": 8, "layers": "1", "pooling": "avg", "overwrite": True}
    if axes == 1:
        with pytest.raises(UsageError, match="comes in lengths of 6 and 8"):
            repsim.harvest(network, batches, tmp_path / "a.h5", **given)
        return
    with pytest.warns(RepsimWarning, match="comes in sizes of 6 and 8, filled up to") as caught:
        repsim.harvest(network, batches, tmp_path / "a.h5", **given).close()
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = [each.unsqueeze(0) for each in maps]
        repsim.harvest(network, alone, tmp_path / "a.h5", **given).close()


@pytest.mark.parametrize(
    "values",
    [
        torch.randn(8, 6, 4),
        torch.randint(1, 4, (8, 6, 4)),
        torch.rand(8, 6),
        torch.randint(0, 9, (8, 6)),
        F.one_hot(torch.randint(0, 4, (8, 12)), 4).float(),
        torch.full((8, 6, 4), -80.0),  # all of it silence
        torch.tensor([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0], [2.0, 2.0, 2.0]])[..., None],
        torch.randn(8, 6, 1).masked_fill(torch.arange(6)[:, None] == 2, float("nan")),
    ],
)
def test_values_that_are_not_filled_up(values: Tensor) -> None:
    assert not is_filled(values)


def test_rows_that_are_repeated_elsewhere_too_fill_nothing() -> None:
    series = padded(SERIES[:4], None)
    assert is_filled(series)
    resting = series.clone()
    resting[0, 1] = resting[0, 0]
    assert not is_filled(resting)
    silent = padded(SERIES[:4], -80.0)
    assert is_filled(silent)
    silent[3, 1:3] = -80
    assert not is_filled(silent)


# --- lengths behind the inputs

LENGTHS = torch.tensor([3, 5, 2, 8, 4, 7, 8, 5] * 2)
REAL = torch.arange(8) < LENGTHS[:, None]
X = torch.randn(16, 8, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("value", [0.0, float("nan"), -80.0])
@pytest.mark.parametrize("form", ["steps", "front", "channels", "videos", "numbers", "named"])
def test_lengths_in_the_place_of_labels_are_refused(
    form: str, value: float, tmp_path: Path
) -> None:
    x = X.masked_fill(~REAL[..., None], value)
    shaped = {
        "steps": x,
        "front": x.flip(1),
        "channels": x.transpose(1, 2),
        "videos": x[:, None, :, :, None],
        "numbers": x[..., 0],
        "named": x,
    }[form]
    sets = list(DataLoader(TensorDataset(shaped, LENGTHS), 8))
    batches = [[{"x": a}, b] for a, b in sets] if form == "named" else sets
    with pytest.raises(UsageError, match="are the lengths of examples that are padded") as error:
        repsim.harvest(Steps(6), batches, tmp_path / "a.h5", examples=16, pooling="avg")
    assert "\n" not in str(error.value)
    assert "'lengths': ...}" in str(error.value)


def test_labels_by_name_may_be_lengths(tmp_path: Path) -> None:
    x = X * REAL[..., None]
    batches = [(x, {"label": LENGTHS})]
    with repsim.harvest(Steps(6), batches, tmp_path / "a.h5", examples=16, pooling="avg") as store:
        assert np.array_equal(store.labels, LENGTHS)


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (X, LENGTHS),
        (X * REAL[..., None], LENGTHS.roll(1)),
        (X * REAL[..., None], torch.full((16,), 8)),
        (X * REAL[..., None], LENGTHS - 2),
        (torch.zeros(16, 8, 6), LENGTHS),
        (X[:4] * REAL[:4, :, None], LENGTHS[:4]),  # too few to be no chance
    ],
)
def test_labels_that_are_no_lengths(values: Tensor, counts: Tensor) -> None:
    assert not ends_at(values, counts)


# --- lengths of inputs that are padded in front

BEHIND = REAL.flip(1)
AMID = torch.stack([row.roll(int(8 - row.sum()) // 2) for row in REAL])
TOKENS = torch.randint(1, 20, (16, 8), generator=torch.Generator().manual_seed(2))


class Words(nn.Module):
    """A layer on each token, of a table in which 0 stands for padding, or for nothing."""

    def __init__(self, padding: int | None = 0, rows: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 5) if rows else nn.Embedding(20, 5, padding_idx=padding)

    def forward(self, x: Tensor, **others: Tensor) -> Tensor:
        return self.layer(x)


def words(kind: str, mask: Tensor) -> tuple[nn.Module, Tensor]:
    """A network and its inputs, padded where a mask is False."""
    if kind in ("padding_idx", "zeros"):
        return Words(0 if kind == "padding_idx" else None), TOKENS * mask
    value = {"rows": 0.0, "missing": -80.0}[kind]
    return Words(rows=True), X.masked_fill(~mask[..., None], value)


def average(network: nn.Module, x: Tensor, mask: Tensor) -> np.ndarray:
    values = network.layer(x).detach()
    return torch.stack([v[m].mean(0) for v, m in zip(values, mask, strict=True)]).numpy()


@pytest.mark.parametrize("kind", ["padding_idx", "zeros", "rows", "missing"])
@pytest.mark.parametrize(
    ("name", "size", "mask"),
    [("lengths", 4, BEHIND), ("seq_len", 16, BEHIND), ("input_lengths", 16, AMID)],
)
def test_lengths_of_inputs_padded_in_front_are_refused(
    kind: str, name: str, size: int, mask: Tensor, tmp_path: Path
) -> None:
    network, x = words(kind, mask)
    given = {"examples": 16, "overwrite": True}
    entries = {"x": x, name: LENGTHS, "attention_mask": mask.long()}
    batches = [{k: v[at : at + size] for k, v in entries.items()} for at in range(0, 16, size)]
    counted = [{k: v for k, v in each.items() if k != "attention_mask"} for each in batches]
    for pooling in ("avg", "last", "positions"):
        for told in ({}, {"masks": f"*={name}"}):
            refused = pytest.raises(UsageError, match=rf"padding in front: 'x'.*behind '{name}'")
            with refused as error:
                rows = {"examples": int(LENGTHS.sum())} if pooling == "positions" else {}
                harvest = {**given, **rows, "pooling": pooling, **told}
                repsim.harvest(network, counted, tmp_path / "a.h5", **harvest)
            assert "\n" not in str(error.value)
    with repsim.harvest(network, batches, tmp_path / "b.h5", pooling="avg", **given) as store:
        np.testing.assert_allclose(store["layer"][:], average(network, x, mask), atol=1e-6)


@pytest.mark.parametrize("kind", ["padding_idx", "zeros", "rows", "missing"])
def test_lengths_of_inputs_padded_behind_are_taken(kind: str, tmp_path: Path) -> None:
    network, x = words(kind, REAL)
    batch = {"x": x, "lengths": LENGTHS}
    given = {"examples": 16, "pooling": "avg"}
    with repsim.harvest(network, [batch], tmp_path / "a.h5", **given) as store:
        np.testing.assert_allclose(store["layer"][:], average(network, x, REAL), atol=1e-6)


def test_another_input_may_be_padded_in_front(tmp_path: Path) -> None:
    class Pair(Words):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Embedding(20, 5, padding_idx=0)

        def forward(self, x: Tensor, y: Tensor, **others: Tensor) -> Tensor:
            return self.layer(x).sum(1) + self.other(y).mean(1)

    y = torch.cat([torch.zeros_like(TOKENS[:, :3]), TOKENS * BEHIND], 1)
    batch = {"x": TOKENS * REAL, "lengths": LENGTHS, "y": y, "y_mask": y != 0}
    network, given = Pair(), {"examples": 16, "pooling": "avg", "layers": "layer"}
    with repsim.harvest(network, [batch], tmp_path / "a.h5", **given) as store:
        right = average(network, batch["x"], REAL)
        np.testing.assert_allclose(store["layer"][:], right, atol=1e-6)


STARTED = torch.where(torch.arange(8) == 0, 7, TOKENS)  # all texts begin with one token


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (X, LENGTHS),  # nothing is filled up
        (X * REAL[..., None], LENGTHS),
        (STARTED * REAL, LENGTHS),
        (STARTED * (torch.arange(8) < 7), torch.full((16,), 7)),
        (padded([x[:, 0].cumsum(0) - x[0, 0] for x in SERIES], None), torch.tensor(SIZES)),
        (X * BEHIND[..., None], torch.full((16,), 8)),  # no example is shorter
        (torch.zeros(16, 8, 6), LENGTHS),
    ],
)
def test_inputs_that_do_not_begin_with_padding(values: Tensor, counts: Tensor) -> None:
    assert not begins_filled(values, counts)


def test_one_example_padded_in_front_by_one_position_is_seen() -> None:
    counts = torch.tensor([8, 8, 7, 8])
    x = X[:4].clone()
    x[2, 0] = 0
    assert begins_filled(x, counts)
    assert not begins_filled(STARTED[:4] * (torch.arange(8) < counts[:, None]), counts)
