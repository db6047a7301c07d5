"""Steps that are made beside each other, each in a process with its share of the processors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

import torch

from repsim.figures.papers.engine.failures import Outcome, attempt
from repsim.figures.papers.engine.steps import Step

#: Seconds between two looks at what the workers do.
_LOOK = 1.0


def threads_of_each(jobs: int) -> int:
    """Threads of each of ``jobs`` processes, which share the threads of this one."""
    return max(1, torch.get_num_threads() // jobs)


class Workers:
    """A pool of processes that make steps.

    Args:
        jobs: processes.
        steps: how many steps there are, for their progress.
    """

    def __init__(self, jobs: int, steps: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._shares = context.Array("d", steps)
        start = (threads_of_each(jobs), self._stop, self._shares)
        self._pool = ProcessPoolExecutor(jobs, context, _start, start)
        self._running: dict[Future[Outcome], Step] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=kind is not None)

    @property
    def running(self) -> list[Step]:
        """The steps that are being made."""
        return list(self._running.values())

    def share(self, place: int) -> float:
        """The share of a step that is done, from 0 to 1."""
        return self._shares[place]

    def start(self, step: Step, place: int) -> None:
        """Make a step; ``place`` is its number among all."""
        self._running[self._pool.submit(_make, step, place)] = step

    def finished(self) -> Iterator[tuple[Step, Outcome]]:
        """The steps that ended, if any did within a second.

        Raises:
            BrokenProcessPool: a worker was killed.
        """
        done, _ = wait(self._running, _LOOK, FIRST_COMPLETED)
        for future in done:
            outcome = future.result()
            yield self._running.pop(future), outcome


#: In a worker: set once the process that started it wants it to stop, and the progress of all.
_stop: Any = None
_shares: Any = None


def _start(threads: int, stop: Any, shares: Any) -> None:
    global _stop, _shares
    _stop, _shares = stop, shares
    torch.set_num_threads(threads)
    # The process that started this one is interrupted too, and says stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process with the one that started it, which may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _make(step: Step, place: int) -> Outcome:
    def watch(done: int, total: int, note: str = "") -> None:
        if _stop.is_set():
            raise KeyboardInterrupt
        _shares[place] = done / max(1, total)

    return attempt(step, watch)
