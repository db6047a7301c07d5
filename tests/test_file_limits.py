"""Files that may not be as large: one line before anything is written, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim
from repsim.activations.store.exchange.exporting import export_layers
from repsim.activations.store.exchange.importing import import_activations
from repsim.activations.store.parts import join_stores
from repsim.errors import StoreError
from repsim.files import atomic_path, write_atomic
from repsim.training.compose import configure
from repsim.training.loop import train

resource = pytest.importorskip("resource", reason="Windows has no such limits")

ROWS = np.random.default_rng(0).normal(size=(400, 256)).astype(np.float32)  # 400 kB


@contextmanager
def limit(size: int) -> Iterator[None]:
    """A block in which no file may be larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one layer, and arrays to import beside it."""
    path = tmp_path / "a.h5"
    import_activations({"x": ROWS}, path).close()
    return path


def harvest(folder: Path) -> None:
    loader = [torch.from_numpy(ROWS)]
    repsim.harvest(torch.nn.Sequential(torch.nn.ReLU()), loader, folder / "h.h5", examples=400)


def export(folder: Path) -> None:
    with repsim.open_store(folder / "a.h5") as found:
        export_layers(found, folder / "out")


def export_one(folder: Path) -> None:
    with repsim.open_store(folder / "a.h5") as found:
        export_layers(found, folder / "one.npy")


WRITERS: dict[str, Callable[[Path], object]] = {
    "harvest": harvest,
    "import": lambda folder: import_activations({"x": ROWS}, folder / "b.h5"),
    "join": lambda folder: join_stores([folder / "a.h5"], folder / "j.h5", compression="gzip"),
    "export": export,
    "export of one": export_one,
    "any": lambda folder: write_atomic(folder / "c.json", "1" * 600_000),
}


@pytest.mark.parametrize("size", [100, 150_000, 400_000])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_be_as_large_is_refused_before_it_is_begun(
    store: Path, name: str, size: int
) -> None:
    before = sorted(store.parent.rglob("*"))
    with (
        limit(size),
        pytest.raises(
            StoreError, match=r"needs .*, this process may write files of .*ulimit -f"
        ) as raised,
    ):
        WRITERS[name](store.parent)
    assert "\n" not in str(raised.value)
    assert sorted(store.parent.rglob("*")) == before


def test_a_file_that_is_small_enough_is_written(store: Path) -> None:
    with limit(1_000_000):
        for write in WRITERS.values():
            write(store.parent)


def test_a_file_of_unknown_size_is_named_when_it_grows_too_large(tmp_path: Path) -> None:
    target = tmp_path / "figure.png"
    target.write_text("before")
    refused = pytest.raises(StoreError, match=r"figure\.png is larger than the files")
    with limit(1000), refused, atomic_path(target) as temporary:
        temporary.write_bytes(bytes(5000))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_training_is_refused_before_its_first_epoch(tmp_path: Path) -> None:
    config = configure("supervised", {"data": "digits", "epochs": 1, "network": "mlp"})
    with limit(2000), pytest.raises(StoreError, match=r"checkpoint\.pt needs .*ulimit -f"):
        train("supervised", config, tmp_path / "runs" / "s")
    assert not (tmp_path / "runs").exists()
