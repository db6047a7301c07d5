"""Opening HDF5 files, on file systems without locks as well."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py

from repsim.errors import RepsimWarning, StoreError


def busy(path: Path) -> str:
    """The message on a file that another process writes."""
    return f"{path} is being written by another process; wait for it or stop it"


def open_hdf5(path: Path, mode: str, **options: Any) -> h5py.File:
    """``h5py.File`` without a cache of chunks; rows are read and written once and in order.

    HDF5 locks what it opens. A file system without locks, as many clusters have, is no reason to
    refuse; a file that another process holds is.

    Args:
        path: of the file.
        mode: ``r``, ``r+`` or ``x``, which never follows a link.
        **options: of ``h5py.File``.

    Raises:
        StoreError: another process holds it.
        OSError: it may not be opened, or is no HDF5 file.

    Warns:
        RepsimWarning: in a mode that writes, that nothing keeps another process from doing so too.
    """
    options = {"rdcc_nbytes": 0, **options}
    try:
        return h5py.File(path, mode, **options)
    except BlockingIOError:
        raise StoreError(busy(path)) from None
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        if mode == "x":  # which has made it
            path.unlink(missing_ok=True)
        if mode != "r":
            warnings.warn(
                f"the file system of {path} has no locks: let no other process write this store",
                RepsimWarning,
                stacklevel=2,
            )
        return h5py.File(path, mode, **options, locking=False)
