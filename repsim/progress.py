"""Progress of long work, as its caller is told."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

#: Called with (units done, units in all, a short note such as the current loss).
Progress = Callable[[int, int, str], None]

#: Share of the work after which the time left is known.
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


# --- notebooks


def notebook_bar(done: int, total: int, note: str = "") -> None:
    """Draw a bar below the cell of a notebook; elsewhere, report nothing.

    The default of functions that take long. One bar is drawn at a time: a function that calls
    another passes on its own progress, or ``silent``.
    """
    if in_notebook():
        _BAR.report(done, total, note)


def in_notebook() -> bool:
    """True in a Jupyter kernel, which draws below cells."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class _Bar:
    """The bar of the work that reports now."""

    #: Seconds between two updates.
    PAUSE = 0.2

    def __init__(self) -> None:
        self._handle: Any = None
        self._remaining, self._last = Remaining(), -math.inf
        self._done = self._total = 0

    def report(self, done: int, total: int, note: str) -> None:
        """Show a bar for new work; update the bar of work that goes on."""
        from IPython.display import HTML, display

        if self._handle is None or total != self._total or done < self._done:
            self._handle = display(HTML(""), display_id=True)
            self._remaining, self._last = Remaining(), -math.inf
        self._done, self._total = done, total
        left, now = self._remaining.text(done, total), time.monotonic()
        if done < total and now - self._last < self.PAUSE:
            return
        self._last = now
        share = f"{100 * done // max(1, total)} %"
        bar = f'<progress value="{done}" max="{total}"></progress>'
        words = escape(" ".join(filter(None, (share, left, note))))
        self._handle.update(HTML(f"{bar} {words}"))
        if done >= total:
            self._handle = None


_BAR = _Bar()
