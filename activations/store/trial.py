"""A first look at a store of somebody else's, in a process that may die of it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from repsim.activations.store.reader import ActivationStore
from repsim.errors import StoreError

#: Seconds that the structure of a file may take to read; milliseconds are usual.
_LONGEST = 60


def look_through(path: Path) -> None:
    """Read the structure of a store and all but its rows in a process of its own.

    HDF5 itself crashes, or loops without end, on some damaged files. Errors of other kinds are left
    to those who read the file afterwards. Systems without ``fork`` have no such look.

    Raises:
        StoreError: the process died, or took longer than a minute.
    """
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if not child:
        _look(path)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status):
        return
    if os.WTERMSIG(status) == signal.SIGALRM:
        raise StoreError(f"{path} is damaged: HDF5 does not come to an end with it")
    name = signal.Signals(os.WTERMSIG(status)).name
    raise StoreError(f"{path} is damaged: HDF5 crashes as it reads it ({name}); do not open it")


def _look(path: Path) -> None:
    """The part of the process that may die; never returns."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LONGEST)
        with suppress(Exception), ActivationStore(path) as store:
            store.describe()
            store.heads  # noqa: B018
            store.faults_of_values()
    finally:
        os._exit(0)
