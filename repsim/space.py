"""Room for files, and room in memory for what files claim to hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def free_memory() -> int | None:
    """Bytes of memory that are free or can be freed; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return int(found["MemAvailable"].split()[0]) << 10
    except (OSError, LookupError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def check_memory(what: str, need: int) -> None:
    """Raise ``StoreError`` where ``need`` bytes would not fit into memory."""
    free = free_memory()
    if free is not None and need > free:
        raise StoreError(f"{what} would take {in_words(need)} of memory, {in_words(free)} are free")


#: The best ratio of compression (deflate); a file that claims more is not honest.
LARGEST_RATIO = 1100


def check_claim(what: str, claimed: int, stored: int, *, compressed: bool) -> None:
    """Check the size that a part of a file claims before anything is made of it.

    Args:
        what: the part, for a message.
        claimed: bytes that it is said to have.
        stored: bytes that are in the file.
        compressed: the stored bytes are compressed ones.

    Raises:
        ValueError: it claims more than can be there.
        StoreError: more than fits into memory.
    """
    check_stored(what, claimed, stored, compressed=compressed)
    check_memory(what, claimed)


def check_stored(what: str, claimed: int, stored: int, *, compressed: bool) -> None:
    """The part of ``check_claim`` that is about the file alone, for what is read in pieces."""
    if claimed > stored * (LARGEST_RATIO if compressed else 1):
        raise ValueError(f"{what} claims {in_words(claimed)}, {in_words(stored)} are stored")


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
