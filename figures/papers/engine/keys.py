"""Keys: short hashes by which runs and results are found again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from repsim.files import sha256


def key_of(settings: Mapping[str, Any], needs: Sequence[str]) -> str:
    """The first digits of a hash of settings, which are JSON values, and of the keys of needs."""
    content = {"settings": settings, "needs": list(needs)}
    return sha256(json.dumps(content, sort_keys=True).encode())[:8]


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read again only once it has changed."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:
    return sha256(path)
