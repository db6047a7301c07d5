"""Files that appear whole or not at all, and digests that tell them apart."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from repsim.errors import RepsimWarning, UsageError
from repsim.space import check_size, within_limit
from repsim.visible import visible

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]


#: The beginning of the names of temporary files.
_WRITING = ".writing-"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it once the block ends without an error.

    The temporary name keeps the suffix, since figure and archive writers choose a format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_WRITING, suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with within_limit(target):
            yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp gives 0600; a result is as readable as any file
        publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def publish(made: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file or a folder, whole and closed, its final name in the folder where it lies.

    Content and name are on the disk afterwards. A process that is killed at any moment, or a
    machine that stops, leaves what was there before, or all of the new; a folder replaces none that
    has content.
    """
    content = Path(made)
    for path in (*sorted(content.rglob("*")), content) if content.is_dir() else (content,):
        _to_disk(path)
    os.replace(content, target)
    _to_disk(Path(target).absolute().parent)


def is_left(path: Path) -> bool:
    """True for a temporary file of ``atomic_path``, which only a killed process leaves."""
    return path.name.startswith(_WRITING) and path.is_file()


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder, in which no other process writes."""
    for path in filter(is_left, folder.glob(f"{_WRITING}*")):
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        if folder:  # Windows opens none, and keeps names by itself
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not folder:  # some file systems have no such call for folders
            raise
    finally:
        os.close(handle)


def utf8(text: str) -> bytes:
    """Text as bytes; a file name that is no UTF-8 as the bytes that it has on the disk."""
    return text.encode(errors="surrogateescape")


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new, never a part."""
    data = utf8(content) if isinstance(content, str) else content
    check_size(path, len(data))
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV text, with an empty cell for a key that a record has not.

    Text that a spreadsheet would compute gets an apostrophe before it; numbers stay numbers.
    """
    stream = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_cell, names))
    writer.writerows([_cell(row.get(name, "")) for name in names] for row in rows)
    return stream.getvalue()


#: Beginnings of the cells that spreadsheets take for formulas.
_FORMULA = ("=", "+", "-", "@", "\t")


def _cell(value: Any) -> Any:
    """A value as spreadsheets show it, and do not compute it; control characters as escapes."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def exclusive(path: str | os.PathLike[str], refusal: str) -> Iterator[None]:
    """Hold the lock file ``path`` for the length of the block; a killed process lets go of it.

    Raises:
        UsageError: another process holds it; the message is ``refusal``. Or something else lies
            there, such as a link, which is not followed.

    Warns:
        RepsimWarning: the file system has no locks, and nothing keeps other processes away.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle = _lock_file(target)
    try:
        if not _is_held(handle, target):
            raise UsageError(refusal)
        try:
            yield
        finally:
            if fcntl is not None:
                target.unlink(missing_ok=True)
    finally:
        os.close(handle)


#: The errors of a lock that another process holds; any other is of a file system without locks.
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def _lock_file(path: Path) -> int:
    """A handle of a lock file, which is made where there is none; its content is left alone.

    Raises:
        UsageError: a link, a folder or something else lies there.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise UsageError(f"{path} is no lock file of repsim; remove it") from None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise UsageError(f"{path} is no lock file of repsim; remove it")


def _is_held(handle: int, path: Path) -> bool:
    """Lock a file; False if another process holds it, or has removed it meanwhile."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        warnings.warn(
            f"the file system of {path} has no locks ({error.strerror}): let no other process "
            "write there",
            RepsimWarning,
            stacklevel=4,
        )
        return True
    # The holder before may have removed the file between our opening and locking it.
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    return False


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


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, which is read again only where it has changed since."""
    about = os.stat(path)
    return _sha256_of(os.fspath(path), about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: str, *unchanged: int) -> str:
    """SHA-256 of the file as it is at a path, by all that tells its content from another."""
    return sha256(path)
