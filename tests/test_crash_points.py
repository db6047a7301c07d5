"""Writers stopped at each call that makes something last: nothing is lost or half there.

A writer runs in a forked process, which ends at once, without any clean-up, before or after a
certain one of its calls of rename, fsync, unlink, flush and close. What it leaves is then read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from repsim.activations.store import open_store
from repsim.activations.store.exchange.exporting import export_layers
from repsim.activations.store.format import ExampleRows, LayerSpec
from repsim.activations.store.writer import write_store
from repsim.files import sweep, write_atomic
from repsim.progress import silent
from repsim.results import SimilarityMap

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

STOPPED = 77
CALLS = (
    *((os, name) for name in ("replace", "rename", "fsync", "unlink")),
    *((h5py.File, name) for name in ("close", "flush")),
)


class _Stopping:
    """Counts calls, and ends the process at one of them."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after = at, after

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0 and not self.after:
                os._exit(STOPPED)
            result = call(*args, **options)
            if self.left < 0:
                os._exit(STOPPED)
            return result

        return counted


def stopped(write: Callable[[], object], at: int, *, after: bool) -> bool:
    """Run a writer that stops at its call number ``at``; False if it comes to its end before."""
    child = os.fork()
    if not child:
        stopping = _Stopping(at, after=after)
        for owner, name in CALLS:
            setattr(owner, name, stopping.around(getattr(owner, name)))
        try:
            write()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, STOPPED), "the writer failed"
    return status == STOPPED


def points(
    write: Callable[[], object], prepare: Callable[[], object], most: int = 60
) -> Iterator[str]:
    """Every point at which the writer was stopped, each from a fresh beginning."""
    for after in (False, True):
        for at in range(most):
            prepare()
            if not stopped(write, at, after=after):
                break
            yield f"{'after' if after else 'before'} call {at}"
        else:
            raise AssertionError(f"the writer makes more than {most} calls")


def store(path: Path, value: float, *, resume: bool = False, compression: str = "none") -> None:
    """Write a store of twelve rows in two commits, or the rest of one."""
    values = np.full((12, 3), value, np.float32)
    layers = {"a": LayerSpec("Linear", (3,), "float32", "example,feature")}
    with write_store(
        path,
        n=12,
        layers=layers,
        heads={},
        provenance={"value": value},
        resume=resume,
        compression=compression,
    ) as writer:
        for start in range(writer.done, 12, 6):
            writer.write("a", values[start : start + 6])
            writer.commit(ExampleRows([str(k) for k in range(start, start + 6)]))


def value_of(path: Path) -> float | None:
    """The one value of a store, all of whose checksums hold; None where there is none."""
    if not path.exists():
        return None
    with open_store(path) as opened:
        assert opened.verify() == []
        (value,) = np.unique(opened["a"][:])
    return float(value)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_store_is_the_old_one_or_the_new_and_goes_on(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "s.h5"

    def prepare() -> None:
        empty(tmp_path)
        store(path, 1.0)

    found = []
    for point in points(lambda: store(path, 2.0, compression=compression), prepare):
        found.append(value_of(path))
        assert found[-1] in (1.0, 2.0), point
        store(path, 2.0, resume=True, compression=compression)  # it lost no more than its end
        assert value_of(path) == 2.0, point
        assert os.listdir(tmp_path) == ["s.h5"], point
    assert set(found) == {1.0, 2.0}


def test_an_export_is_the_old_one_or_the_new_once_it_is_asked_for_again(tmp_path: Path) -> None:
    target, old, new = tmp_path / "out", tmp_path / "old.h5", tmp_path / "new.h5"

    def export(source: Path) -> None:
        with open_store(source) as opened:
            export_layers(opened, target, overwrite=True, progress=silent)

    def prepare() -> None:
        empty(tmp_path)
        store(old, 1.0)
        store(new, 2.0)
        export(old)

    for point in points(lambda: export(new), prepare):
        aside = tmp_path / ".out.replaced"
        value = np.load((target if target.exists() else aside) / "layers" / "a.npy")
        assert len(np.unique(value)) == 1, point
        export(new)
        assert np.unique(np.load(target / "layers" / "a.npy")).tolist() == [2.0], point
        assert not aside.exists(), point


def test_a_table_never_lies_beside_the_numbers_of_another_result(tmp_path: Path) -> None:
    path = tmp_path / "r.json"

    def result(value: float) -> SimilarityMap:
        return SimilarityMap(("a",), ("a",), np.array([[value]]), None, 9, "", "", "linear")

    def prepare() -> None:
        empty(tmp_path)
        result(0.25).save(path)

    for point in points(lambda: result(0.75).save(path, overwrite=True), prepare):
        value = float(SimilarityMap.load(path).unbiased[0, 0])
        sheet = path.with_suffix(".csv")
        assert value in (0.25, 0.75), point
        assert not sheet.exists() or str(value) in sheet.read_text(), point


def test_a_file_is_the_old_one_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    found = set()
    for _ in points(lambda: write_atomic(path, "new"), lambda: write_atomic(path, "old")):
        found.add(path.read_text())
        sweep(tmp_path)
        assert os.listdir(tmp_path) == ["f.txt"]
    assert found == {"old", "new"}


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
