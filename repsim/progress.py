"""Progress of long work, as its caller is told."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Called with (units done, units in all, a short note such as the current loss).
Progress = Callable[[int, int, str], None]

#: The share of work after which the time that is left can be told.
_KNOWN_FROM = 0.05


def silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


class Remaining:
    """The time that is left of some work, by the pace since the first report on it.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def seconds(self, done: int, total: int) -> float | None:
        """Seconds left; None until a twentieth of the work since the first report is done."""
        now = self._clock()
        if self._first is None:
            self._first = done, now
        begun, started = self._first
        if done <= begun or done - begun < _KNOWN_FROM * (total - begun):
            return None
        return (now - started) / (done - begun) * (total - done)

    def text(self, done: int, total: int) -> str:
        """The time left in words, such as ``1:05 left``; empty until it is known."""
        left = self.seconds(done, total)
        return "" if left is None else f"{in_clock(left)} left"


def in_clock(seconds: float) -> str:
    """Minutes and seconds as ``1:05``, with hours as ``2:01:05``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
