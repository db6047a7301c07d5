"""Between the network and the file: nothing lost, nothing mixed up, memory bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim.activations.harvesting.stream import Stream, _Ring, ahead
from repsim.activations.store.format import ExampleRows
from repsim.errors import NonFiniteError

CPU = torch.device("cpu")


class Recorder:
    """Stands for a ``StoreWriter``, and may be slow or fail."""

    def __init__(self, *, delay: float = 0.0, fails_at: int = -1) -> None:
        self.written: list[tuple[str, np.ndarray]] = []
        self.commits: list[tuple[list[str], int]] = []
        self._delay, self._fails_at = delay, fails_at

    def write(self, layer: str, values: np.ndarray) -> None:
        time.sleep(self._delay)
        if len(self.written) == self._fails_at:
            raise OSError(28, "No space left on device")
        self.written.append((layer, np.array(values)))

    def commit(self, examples: ExampleRows) -> None:
        self.commits.append((list(examples.ids), len(self.written)))


def stream(recorder: Recorder, memory: int = 1 << 16) -> Stream:
    return Stream(recorder, memory, CPU)  # type: ignore[arg-type]


def test_what_is_put_is_written_in_order_whatever_becomes_of_the_tensor() -> None:
    recorder = Recorder(delay=0.001)
    x = torch.empty(100, 7)
    with stream(recorder, 8192) as into:
        for k in range(30):
            into.put("a", x.fill_(k), torch.float32)
            x.mul_(-1)
            if k % 10 == 9:
                into.commit(ExampleRows([str(k)]))
    assert [float(values[0, 0]) for _, values in recorder.written] == list(range(30))
    assert all((values == values[0, 0]).all() for _, values in recorder.written)
    assert recorder.commits == [(["9"], 10), (["19"], 20), (["29"], 30)]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "expanded"])
def test_the_layout_in_memory_does_not_matter(layout: str) -> None:
    x = torch.randn(4, 6, 5, 3)
    shown = {
        "contiguous": x,
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3),
        "expanded": x[:, :1].expand(4, 6, 5, 3),
    }[layout]
    recorder = Recorder()
    with stream(recorder) as into:
        into.put("a", shown, torch.float32)
    np.testing.assert_array_equal(recorder.written[0][1], shown.numpy())


def test_half_types_are_converted_once_and_bfloat16_goes_as_bits() -> None:
    x, recorder = torch.randn(8, 5), Recorder()
    with stream(recorder) as into:
        into.put("half", x, torch.float16)
        into.put("brain", x, torch.bfloat16)
    half, brain = (values for _, values in recorder.written)
    np.testing.assert_array_equal(half, x.half().numpy())
    assert brain.dtype == np.uint16
    np.testing.assert_array_equal(brain.view(np.int16), x.bfloat16().view(torch.int16).numpy())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_number_that_is_none_is_found(value: float, dtype: torch.dtype) -> None:
    x = torch.ones(50, 3, dtype=dtype)
    x[31, 2] = value
    with (
        pytest.raises(NonFiniteError, match="'a' gives NaN or infinity"),
        stream(Recorder()) as into,
    ):
        into.put("a", x, dtype)


def test_a_sum_that_overflows_is_no_infinity() -> None:
    x, recorder = torch.full((50, 3), 3e38), Recorder()
    with stream(recorder) as into:
        into.put("a", x, torch.float32)
    np.testing.assert_array_equal(recorder.written[0][1], x.numpy())


def test_numbers_that_float16_cannot_hold_are_refused() -> None:
    with pytest.raises(NonFiniteError, match="above 65,504"), stream(Recorder()) as into:
        into.put("a", torch.full((2, 2), 1e5), torch.float16)


def test_a_full_disk_stops_the_network() -> None:
    recorder = Recorder(fails_at=3)
    with pytest.raises(OSError, match="No space left"), stream(recorder, 4096) as into:
        for _ in range(1000):
            into.put("a", torch.ones(16, 16), torch.float32)
    assert len(recorder.written) == 3
    assert threading.active_count() < 10


def test_an_error_of_the_network_is_not_hidden_by_the_writer() -> None:
    with pytest.raises(KeyError, match="forward"), stream(Recorder(fails_at=0)) as into:
        into.put("a", torch.ones(2, 2), torch.float32)
        raise KeyError("forward")


def test_a_batch_larger_than_the_memory_passes() -> None:
    recorder = Recorder()
    with stream(recorder, 256) as into:
        for size in (4, 400, 8, 900):
            into.put("a", torch.full((size, 2), float(size)), torch.float32)
    assert [len(values) for _, values in recorder.written] == [4, 400, 8, 900]
    assert all((values == len(values)).all() for _, values in recorder.written)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12_000), min_size=1, max_size=40),
    keep=st.integers(1, 6),
)
def test_pieces_that_are_out_never_overlap(sizes: list[int], keep: int) -> None:
    ring, out = _Ring(1 << 17, pinned=False), []  # always room for one more than is out
    for number, size in enumerate(sizes):
        if len(out) == keep:
            place, piece, filled = out.pop(0)
            assert (piece == filled).all()
            ring.give_back(place)
        place, piece = ring.take(size)
        piece.fill_(number)
        out.append((place, piece, number))
    assert all((piece == number).all() for _, piece, number in out)


def test_batches_are_got_ahead_of_time_and_no_further() -> None:
    got: list[int] = []

    def source() -> Iterator[int]:
        for k in range(10):
            got.append(k)
            yield k

    taken = []
    for k in ahead(source()):
        time.sleep(0.02)
        taken.append(k)
        assert len(got) <= k + 4
    assert taken == list(range(10))


def test_an_error_of_the_loader_comes_out_where_it_belongs() -> None:
    def source() -> Iterator[Any]:
        yield 1
        raise ValueError("broken image")

    items = ahead(source())
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken image"):
        next(items)


def test_a_loader_that_is_left_early_does_not_stay_behind() -> None:
    before = threading.active_count()
    items = ahead(iter(range(1000)))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    for _ in range(50):
        if threading.active_count() <= before:
            break
        time.sleep(0.02)
    assert threading.active_count() <= before
