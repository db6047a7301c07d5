"""Files that appear whole or not at all, and digests that tell them apart."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repsim.errors import UsageError

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it once the block ends without an error.

    The temporary name keeps the suffix, since figure and archive writers choose a format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600; a result is as readable as any file
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV text, with an empty cell for a key that a record has not."""
    stream = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(stream, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


@contextmanager
def exclusive(path: str | os.PathLike[str], refusal: str) -> Iterator[None]:
    """Hold the lock file ``path`` for the length of the block; a killed process lets go of it.

    Raises:
        UsageError: another process holds it; the message is ``refusal``.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "w") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before may have removed the file between our opening and locking it.
                held = os.path.samestat(os.fstat(stream.fileno()), os.stat(target))
            except OSError:
                held = False
            if not held:
                raise UsageError(refusal)
        try:
            yield
        finally:
            if fcntl is not None:
                target.unlink(missing_ok=True)


def refuse_existing(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raise ``UsageError`` if ``path`` exists and may not be replaced, or is no file."""
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise UsageError(f"{path} is no ordinary file; choose another name")
    if not overwrite and Path(path).exists():
        raise UsageError(f"{path} exists already; choose another name or pass --overwrite")


def sha256(content: bytes | str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of bytes, or of the file at a path."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        with open(content, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
