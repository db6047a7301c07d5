"""Direct writing: the bytes are those that HDF5 would have written, whatever the system does."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repsim
from repsim.activations.store import direct_io, writer
from repsim.activations.store import layout as layouts
from repsim.activations.store.direct_io import ALIGNMENT, DirectFile, open_direct
from repsim.activations.store.format import ExampleRows, LayerSpec, part_path
from repsim.activations.store.writer import write_store
from repsim.errors import StoreError

DTYPES = ("float32", "float16", "bfloat16", "float64", "uint8", ">f4")
STORED = {"bfloat16": "uint16"}

#: Layers of rows that fit no page, in chunks of several rows, one row, and less than a page.
LAYERS = {
    "wide": LayerSpec("Conv2d", (7, 31, 33), "float32"),
    "half": LayerSpec("Linear", (50_001,), "bfloat16"),
    "row": LayerSpec("Linear", (300_007,), "float32"),
    "narrow": LayerSpec("Linear", (5,), "float64"),
}
N = 61


@contextmanager
def patched(**changes: Any) -> Iterator[pytest.MonkeyPatch]:
    """Names of ``direct`` changed; the fixture would not fit a test that hypothesis repeats."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(direct_io, name, value)
        yield patch


@pytest.fixture(autouse=True)
def has_direct(tmp_path: Path) -> None:
    (tmp_path / "probe").touch()
    probe = open_direct(tmp_path / "probe")
    if probe is None:
        pytest.skip("the file system has no direct writing")
    probe.close()


def numbers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Rows as a store takes them, of any bits."""
    kind = np.dtype(STORED.get(dtype, dtype))
    return np.frombuffer(
        np.random.default_rng(seed).bytes(math.prod(shape) * kind.itemsize), kind
    ).reshape(shape)


def in_layout(rows: np.ndarray, layout: str) -> np.ndarray:
    """The same rows, otherwise in memory."""
    if layout == "channels last" and rows.ndim > 2:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(rows, 1, -1)), -1, 1)
    if layout == "every other":
        held = np.zeros((2 * len(rows), *rows.shape[1:]), rows.dtype)
        held[::2] = rows
        return held[::2]
    if layout == "shifted":
        held = np.zeros(rows.nbytes + 8, np.uint8)
        shifted = held[8:].view(rows.dtype).reshape(rows.shape)
        shifted[...] = rows
        return shifted
    return rows


def make(path: Path, data: dict[str, np.ndarray], cuts: list[int]) -> Path:
    """A store of ``LAYERS``, in batches that end at the cuts."""
    with write_store(
        path,
        n=N,
        layers=LAYERS,
        heads={},
        provenance={},
        resume=False,
    ) as writer:
        for start, stop in zip([0, *cuts], [*cuts, N], strict=True):
            for layer, rows in data.items():
                writer.write(layer, rows[start:stop])
            writer.commit(ExampleRows([str(k) for k in range(start, stop)]))
    return path


def without_direct(path: Path, data: dict[str, np.ndarray]) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "open_direct", lambda path: None)
        return make(path, data, [20]).read_bytes()


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    return {layer: numbers((N, *spec.shape), spec.dtype) for layer, spec in LAYERS.items()}


@pytest.fixture(scope="module")
def expected(data: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that HDF5 alone writes."""
    return without_direct(tmp_path_factory.mktemp("plain") / "a.h5", data)


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Bytes written past the cache, and through it."""
    original, seen = os.pwrite, {"direct": 0, "cached": 0}

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        kind = "direct" if is_direct(descriptor) else "cached"
        seen[kind] += len(data)
        return original(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        yield seen


def is_direct(descriptor: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def opened(folder: Path) -> list[str]:
    """Files below a folder that this process has open."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(each))
        except OSError:  # the listing's own
            continue
    return [link for link in links if link.startswith(str(folder))]


# The same numbers


@st.composite
def layers(draw: st.DrawFn) -> tuple[tuple[int, ...], str, int, list[int]]:
    """Shape, number type, rows of a chunk, and where batches end."""
    n = draw(st.integers(1, 40))
    shape = draw(
        st.one_of(
            st.tuples(st.integers(1, 9000)),
            st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)),
        )
    )
    cuts = draw(st.lists(st.integers(0, n), max_size=5).map(sorted))
    return (n, *shape), draw(st.sampled_from(DTYPES)), draw(st.integers(1, n)), cuts


@settings(deadline=None, max_examples=150)
@given(
    layer=layers(),
    layout=st.sampled_from(["plain", "channels last", "every other", "shifted"]),
    smallest=st.sampled_from([0, ALIGNMENT, direct_io.SMALLEST]),
    pad=st.integers(0, 700),
)
def test_rows_are_those_that_hdf5_writes(
    tmp_path_factory: pytest.TempPathFactory,
    layer: tuple[tuple[int, ...], str, int, list[int]],
    layout: str,
    smallest: int,
    pad: int,
) -> None:
    shape, dtype, chunk, cuts = layer
    folder = tmp_path_factory.mktemp("rows")
    rows = numbers(shape, dtype)
    room = chunk * rows[:1].nbytes
    with (
        patched(SMALLEST=smallest) as patch,
        h5py.File(folder / "a.h5", "w", rdcc_nbytes=0) as file,
    ):
        patch.setattr(layouts, "CHUNK_BYTES", room)
        file["pad"] = np.zeros(pad, np.uint8)  # so that chunks begin anywhere
        dataset = layouts.allocate(file, "direct", shape, dtype)
        plain = layouts.allocate(file, "plain", shape, dtype)
        neighbour = layouts.allocate(file, "neighbour", shape, dtype)
        # As many chunks as there must be, of one size: the last has little room to spare.
        count = -(-shape[0] // chunk)
        assert dataset.chunks[0] == -(-shape[0] // count)
        for each in (plain, neighbour):
            writer.write_rows(each, 0, rows)
        file.flush()
        with closing(DirectFile(folder / "a.h5")) as out:
            for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
                pieces = out.write(dataset, start, in_layout(rows[start:stop], layout))
                given = [piece.tobytes() for piece in pieces]
                assert b"".join(given) == rows[start:stop].tobytes()
    with h5py.File(folder / "a.h5") as file:
        for name in ("direct", "plain", "neighbour"):
            found = writer.raw_rows(file[name], 0, len(rows))
            assert found.tobytes() == rows.tobytes(), name
    (folder / "a.h5").unlink()


@pytest.mark.parametrize("cuts", [[], [1, 2, 3], [20, 21, 50], list(range(1, N))])
@pytest.mark.parametrize("smallest", [0, direct_io.SMALLEST])
def test_a_store_has_the_bytes_that_hdf5_alone_gives_it(
    tmp_path: Path, data: dict[str, np.ndarray], expected: bytes, cuts: list[int], smallest: int
) -> None:
    with patched(SMALLEST=smallest), counted() as seen:
        path = make(tmp_path / "a.h5", data, cuts)
    assert path.read_bytes() == expected
    assert seen["direct"] > seen["cached"] > 0
    with repsim.open_store(path) as store:
        assert store.verify() == []


def test_rows_in_the_layout_of_a_page_are_not_copied(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", rdcc_nbytes=0, alignment_interval=ALIGNMENT) as file:
        dataset = layouts.allocate(file, "a", (64, 4096), "float32")
        file.flush()
        held = np.zeros(64 * 4096 * 4 + ALIGNMENT, np.uint8)
        skip = -held.ctypes.data % ALIGNMENT
        rows = held[skip : skip + 64 * 4096 * 4].view(np.float32).reshape(64, 4096)
        with closing(DirectFile(tmp_path / "a.h5")) as out, counted() as seen:
            pieces = list(out.write(dataset, 0, rows))
        assert all(np.shares_memory(piece, rows) for piece in pieces)
        assert seen == {"direct": rows.nbytes, "cached": 0}


def test_chunks_are_looked_for_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", rdcc_nbytes=0) as file:
        dataset = layouts.allocate(file, "a", (9, 1 << 19), "float32")
        file.flush()
        with closing(DirectFile(tmp_path / "a.h5")) as out:
            places = out._places_of(dataset)
            expected = [
                dataset.id.get_chunk_info_by_coord((k, 0)).byte_offset for k in range(len(dataset))
            ]
            np.testing.assert_array_equal(places, expected)
            assert out._places_of(dataset) is places
        dataset = file.create_dataset("none", (4, 4), "f4", chunks=(2, 4))  # no place yet
        with (
            closing(DirectFile(tmp_path / "a.h5")) as out,
            pytest.raises(OSError, match="not all chunks of /none"),
        ):
            next(out.write(dataset, 0, np.zeros((4, 4), np.float32)))


@pytest.mark.parametrize(
    "rows",
    [np.zeros((N, 5), np.float32), np.zeros((N, 4)), np.zeros(N), np.zeros((N, 5), np.int64)],
)
def test_rows_of_another_layer_are_refused(tmp_path: Path, rows: np.ndarray) -> None:
    with (
        pytest.raises(StoreError, match=r"rows of /layers/narrow came as"),
        write_store(
            tmp_path / "a.h5",
            n=N,
            layers={"narrow": LAYERS["narrow"]},
            heads={},
            provenance={},
            resume=False,
        ) as writer,
    ):
        writer.write("narrow", rows)


def test_another_byte_order_is_turned(
    tmp_path: Path, data: dict[str, np.ndarray], expected: bytes
) -> None:
    turned = {layer: rows.astype(rows.dtype.newbyteorder(">")) for layer, rows in data.items()}
    assert make(tmp_path / "a.h5", turned, [20]).read_bytes() == expected


# Where it cannot be done


def no_constant(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(os, "O_DIRECT")


def no_chunk_iter(patch: pytest.MonkeyPatch) -> None:
    without = type("h5py", (), {"h5d": type("h5d", (), {"DatasetID": object})})
    patch.setattr(direct_io, "h5py", without)


def refusing(patch: pytest.MonkeyPatch) -> None:
    original = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return original(path, flags, *more, **named)

    patch.setattr(os, "open", refuse)


def refusing_writes(patch: pytest.MonkeyPatch) -> None:
    original = os.pwrite

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, "Invalid argument")
        return original(descriptor, data, offset)

    patch.setattr(os, "pwrite", pwrite)


@pytest.mark.parametrize("how", [no_constant, no_chunk_iter, refusing, refusing_writes])
def test_without_direct_writing_the_bytes_are_the_same(
    tmp_path: Path,
    data: dict[str, np.ndarray],
    expected: bytes,
    how: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how(monkeypatch)
    path = make(tmp_path / "a.h5", data, [7])
    monkeypatch.undo()
    assert path.read_bytes() == expected
    assert opened(tmp_path) == []


def test_a_second_descriptor_that_fails_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").touch()
    original = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if not flags & os.O_DIRECT:
            raise OSError(errno.EMFILE, "Too many open files")
        return original(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert open_direct(tmp_path / "a") is None
    monkeypatch.undo()
    assert opened(tmp_path) == []


# Writes that do not go through


@pytest.mark.parametrize("most", [ALIGNMENT, 3 * ALIGNMENT, 100 * ALIGNMENT])
def test_short_writes_are_continued(
    tmp_path: Path,
    data: dict[str, np.ndarray],
    expected: bytes,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = os.pwrite, {True: 0, False: 0}

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        whole = is_direct(descriptor)
        calls[whole] += 1
        return original(descriptor, data[: most if whole else most - 1001], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    path = make(tmp_path / "a.h5", data, [3, 40])
    assert path.read_bytes() == expected
    assert all(calls.values())


def test_a_direct_write_that_ends_within_a_page_goes_on_through_the_cache(
    tmp_path: Path,
    data: dict[str, np.ndarray],
    expected: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = os.pwrite

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if is_direct(descriptor):
            if offset % ALIGNMENT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return min(original(descriptor, data, offset), 10 * ALIGNMENT + 512)
        return original(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert make(tmp_path / "a.h5", data, [3, 40]).read_bytes() == expected


@pytest.mark.parametrize("kind", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("past_the_cache", [True, False])
def test_a_full_disk_is_told_and_the_descriptors_are_closed(
    tmp_path: Path,
    data: dict[str, np.ndarray],
    expected: bytes,
    kind: int,
    past_the_cache: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, left = os.pwrite, [5]

    def pwrite(descriptor: int, data: Any, offset: int) -> int:
        if is_direct(descriptor) == past_the_cache:
            left[0] -= 1
            if not left[0]:
                raise OSError(kind, os.strerror(kind))
        return original(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    path = tmp_path / "a.h5"
    with pytest.raises(OSError, match=os.strerror(kind)) as raised:
        make(path, data, [3, 40])
    assert raised.value.errno == kind
    assert not path.exists()
    assert part_path(path).is_file()
    assert opened(tmp_path) == []
    monkeypatch.undo()
    assert make(path, data, [3, 40]).read_bytes() == expected


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_store_is_continued_to_the_same_bytes(
    tmp_path: Path, data: dict[str, np.ndarray], expected: bytes, error: type[BaseException]
) -> None:
    told: dict[str, Any] = {
        "n": N, "layers": LAYERS, "heads": {}, "provenance": {}, "resume": True
    }  # fmt: skip
    path = tmp_path / "a.h5"
    for start, stop in ((0, 7), (7, 8), (8, 45), (45, N)):
        with (
            pytest.raises(error) if stop < N else counted(),
            write_store(path, **told) as writer,
        ):
            assert writer.begun == start
            for layer, rows in data.items():
                writer.write(layer, rows[start:stop])
            writer.commit(ExampleRows([str(k) for k in range(start, stop)]))
            assert {Path(each).name for each in opened(tmp_path)} == {
                "a.h5.part",
                ".a.h5.part.lock",
            }
            if stop < N:
                writer.write("wide", data["wide"][stop : stop + 5])  # lost, and written again
                raise error
        assert opened(tmp_path) == []
    assert path.read_bytes() == expected


def test_a_writer_that_cannot_begin_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, np.ndarray]
) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(writer, "Checksum", fail)
    with pytest.raises(OSError, match="Input/output"):
        make(tmp_path / "a.h5", data, [])
    assert opened(tmp_path) == []
