"""Progress of long work, as its caller is told."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (units done, units in all, a short note such as the current loss).
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""
