"""Damage files by the thousand and read them: ``python tests/fuzz_readers.py [-n N] [READER ..]``.

Each reader runs in a process of its own, in which a crash or a hang would be seen, and whose memory
is limited. Of every damaged file the outcome is ``read`` or ``refused``; anything else is printed.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readers import READERS, Reader, read

from repsim.errors import RepsimError

#: Outcomes that are as they should be.
GOOD = ("read", "refused")

#: Values that take the place of others in JSON.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, 1.5, -7, 10**9),
    *("", "x" * 5000, "\ud800", "../..", "\x1b[31m", "a\nb", "=1+1"),
    *([], {}, [[]], {"a": 1}, ["a", 1], [None]),
)

#: Pieces that enter texts.
PIECES = (b"[", b"{", b'"', b"\0", b"-1", b"\xff", b"NaN", b"1e999", b"=", b"\n", b",", b"9" * 5000)


# --- damage


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A damaged copy: by what it is inside, JSON or an archive, in half of the cases."""
    if rng.random() < 0.5:
        if content[:1] in b"{[" and (changed := _damaged_json(content, rng)) is not None:
            return changed
        if content[:2] == b"PK":
            return _damaged_archive(content, rng)
    return _damaged_bytes(content, rng)


def _damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    data, kind = bytearray(content), rng.randrange(6)
    at = rng.randrange(max(1, len(data)))
    if kind == 0:
        del data[at:]
    elif kind == 1:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:
        del data[at : at + rng.randrange(1, 30)]
    elif kind == 3:
        data[at:at] = rng.choice(PIECES) * rng.choice([1, 1, 3, 20_000 // 5000])
    elif kind == 4:
        data[at] ^= 1 << rng.randrange(8)
    else:  # a piece of it at another place
        start = rng.randrange(len(data))
        piece = data[start : start + rng.randrange(1, 60)]
        data[at : at + len(piece)] = piece
    return bytes(data)


def _damaged_archive(content: bytes, rng: random.Random) -> bytes:
    """An archive whose checksums hold, with a member that is damaged, gone, or there twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(each.filename, archive.read(each)) for each in archive.infolist()]
    at = rng.randrange(len(members))
    name, data = members[at]
    kind = rng.randrange(8)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members[at] = (f"{name}x", data)
    else:
        members[at] = (name, _damaged_bytes(data, rng) if data else b"x")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def _places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _places(value, (*path, key))
    elif isinstance(content, list):
        for key, value in enumerate(content):
            yield from _places(value, (*path, key))


def _damaged_json(content: bytes, rng: random.Random) -> bytes | None:
    """JSON with other values, keys or elements at one place or two; None of other text."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    if rng.random() < 0.02:
        return b"[" * 100_000
    for _ in range(rng.choice([1, 1, 1, 2])):
        *way, last = rng.choice([each for each in _places(found) if each] or [("",)])
        place = found
        for key in way:
            place = place[key]
        what = rng.random()
        if what < 0.2:
            del place[last]
        elif what < 0.3 and isinstance(place, list):
            place.append(place[last])
        elif what < 0.4 and isinstance(place, dict):
            place[rng.choice(["zz", "\x1b[0m", ""])] = place.pop(last)
        else:
            place[last] = rng.choice(ODD)
        if not found:
            break
    return json.dumps(found).encode()


# --- outcomes


def outcome(reader: Reader, path: Path, whole: Any) -> str:
    """``read`` or ``refused``, or the fault in a few words."""
    try:
        found = read(reader, path)
    except RepsimError as error:
        return _fault_of(str(error)) or "refused"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [each for each in frames if ".venv" not in each.filename][-1]
        place = f"{Path(ours.filename).name}:{ours.lineno}"
        return f"{type(error).__name__} at {place}: {str(error)[:80]!r}"
    return "read" if not reader.sealed or found == whole else "read, with other values"


def _fault_of(message: str) -> str:
    """The fault of a message that is no line for a terminal; empty where it is one."""
    if len(message) > 1000:
        return f"a message of {len(message)} signs"
    controls = [each for each in message if unicodedata.category(each) == "Cc"]
    return f"a message with {controls[0]!r}" if controls else ""


def outcomes(name: str, folder: Path, first: int, last: int) -> Iterator[tuple[int, str]]:
    """The outcome of each case of a reader."""
    reader = READERS[name]
    files = list(reader.make(folder))
    contents = [path.read_bytes() for path in files]
    whole = [read(reader, path) for path in files]
    for case in range(first, last):
        at = case % len(files)
        files[at].write_bytes(damaged(contents[at], random.Random(f"{name} {case}")))
        yield case, outcome(reader, files[at], whole[at])
        files[at].write_bytes(contents[at])


# --- by the thousand


def _work(name: str, folder: Path, first: int, last: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    peak = 0
    for case, found in outcomes(name, folder, first, last):
        faulthandler.cancel_dump_traceback_later()
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        grown, peak = now - (peak or now), now
        print(case, found if grown < 200 else f"takes {grown} MB, {found}", flush=True)
        faulthandler.dump_traceback_later(30, exit=True)
    faulthandler.cancel_dump_traceback_later()


def _run(name: str, count: int) -> collections.Counter[str]:
    found: collections.Counter[str] = collections.Counter()
    at = 0
    while at < count:
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, __file__, "--work", folder, str(at), "-n", str(count), name]
            done = subprocess.run(words, capture_output=True, text=True, errors="replace")
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        for case, _, result in lines:
            at = int(case) + 1
            if not found[result] and result not in GOOD:
                print(f"  {name} {case}: {result}", flush=True)
            found[result] += 1
        if at < count:
            found["crashed or hung"] += 1
            print(f"  {name} {at}: crashed or hung: {done.stderr[-300:]}", flush=True)
            at += 1
    return found


def main() -> int:
    """Damage files of the named readers, or of all; 1 where an outcome is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--count", type=int, default=5000)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("readers", nargs="*")
    given = parser.parse_args()
    if given.work:
        _work(given.readers[0], Path(given.work[0]), int(given.work[1]), given.count)
        return 0
    bad = 0
    for name in given.readers or READERS:
        start = time.monotonic()
        found = _run(name, given.count)
        others = sum(found.values()) - sum(found[each] for each in GOOD)
        told = ", ".join(f"{found[each]:,} {each}" for each in GOOD)
        print(f"{name}: {told}, {others} others, {time.monotonic() - start:.0f} s", flush=True)
        bad += others
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
