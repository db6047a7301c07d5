"""Locks: links that are not followed, file systems without locks, and files held elsewhere."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from repsim import files
from repsim.activations.store import open_store
from repsim.activations.store.exchange.importing import import_activations
from repsim.activations.store.hdf5_files import open_hdf5
from repsim.errors import RepsimWarning, StoreError, UsageError
from repsim.files import exclusive

ROWS = {"a": np.arange(12.0, dtype=np.float32).reshape(6, 2)}


def test_a_lock_does_not_follow_a_link_or_empty_a_file(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    link = tmp_path / ".run.lock"
    link.symlink_to(precious)
    with pytest.raises(UsageError, match=r"\.run\.lock is no lock file of repsim; remove it"):
        exclusive(link, "busy").__enter__()
    assert precious.read_text() == "kept"
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is no lock file of repsim"):
        exclusive(tmp_path / "folder", "busy").__enter__()


@pytest.mark.parametrize("name", ["s.h5.part", "s.h5.compressing", ".s.h5.part.lock"])
def test_a_planted_link_beside_a_store_empties_no_file(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    (tmp_path / name).symlink_to(precious)
    with suppress(StoreError, UsageError):
        import_activations(ROWS, tmp_path / "s.h5", overwrite=True).close()
    assert precious.read_text() == "kept"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gets_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def flock(*unused: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    with pytest.warns(RepsimWarning, match="has no locks") as told:
        import_activations(ROWS, tmp_path / "s.h5").close()
    assert len(told) == 1
    with open_store(tmp_path / "s.h5") as store:
        np.testing.assert_array_equal(store["a"][:], ROWS["a"])


def test_a_lock_that_another_holds_is_busy(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "l", "busy"),
        pytest.raises(UsageError, match="^busy$"),
        exclusive(tmp_path / "l", "busy"),
    ):
        pass


@pytest.mark.parametrize("mode", ["r", "r+", "x"])
def test_hdf5_files_open_where_hdf5_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    path, opened = tmp_path / "f.h5", h5py.File
    if mode != "x":
        h5py.File(path, "w").close()

    def file(path: Path, mode: str, **options: Any) -> h5py.File:
        if options.get("locking") is not False:
            if mode == "x":
                opened(path, mode).close()
            raise OSError(errno.ENOTSUP, "(unable to lock file, errno = 95)")
        return opened(path, mode, **options)

    monkeypatch.setattr(h5py, "File", file)
    if mode == "r":
        open_hdf5(path, mode).close()
        return
    with pytest.warns(RepsimWarning, match="has no locks: let no other process write"):
        open_hdf5(path, mode).close()


def test_a_store_that_another_process_writes_is_not_called_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    import_activations(ROWS, path).close()
    script = (
        "import sys, h5py; f = h5py.File(sys.argv[1], 'r+'); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=r"s\.h5 is being written by another process; wait"):
            open_store(path)
        holder.communicate("\n")
    open_store(path).close()
