"""Room for files: the largest file that a process may write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from repsim.errors import StoreError

try:
    import resource
except ImportError:  # no such limits on Windows
    resource = None  # type: ignore[assignment]


def largest_file() -> int | None:
    """Bytes that a file may have (``ulimit -f``); None where there is no limit."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def in_words(size: float) -> str:
    """A number of bytes with its unit."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size:,.0f} bytes"


def check_size(path: str | os.PathLike[str], need: float, remedy: str = "") -> None:
    """Raise ``StoreError`` if a file of ``need`` bytes would be larger than files may be."""
    limit = largest_file()
    if limit is not None and need > limit:
        raise StoreError(
            f"{os.fspath(path)} needs {in_words(need)}, this process may write files of "
            f"{in_words(limit)}; lift the limit (ulimit -f unlimited){remedy}"
        )


@contextmanager
def within_limit(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file became larger than files may be, where its size is not known before."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise StoreError(
            f"{os.fspath(path)} is larger than the files that this process may write; lift the "
            "limit (ulimit -f unlimited)"
        ) from None
