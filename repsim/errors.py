"""Errors at a user's hands. Each says in one line what arrived, what was expected, what to try.

Everything derives from ``RepsimError``. This module knows nothing of the command line; the
command line maps ``UsageError`` to exit status 2 and the rest to 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from repsim.visible import one_line


class RepsimError(Exception):
    """Base of every error that a user's input can cause; its message is one line."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class UsageError(RepsimError):
    """A name, option or configuration that does not exist or cannot be."""


class MissingLibraryError(UsageError, ImportError):
    """A library that repsim needs for this is not installed."""


class ShapeError(RepsimError):
    """Arrays whose shapes do not fit the call or each other."""


class MismatchError(RepsimError):
    """Two sources that do not hold the same examples in the same order."""


class DegenerateError(RepsimError):
    """Input on which the quantity is undefined: a constant layer, too few examples."""


class NonFiniteError(RepsimError):
    """NaN or infinity where numbers were expected."""


class DataError(RepsimError):
    """An image set that is absent, incomplete or not what its format says."""


class StoreError(RepsimError):
    """An activation store, checkpoint or result file that cannot be read or written.

    Args:
        problem: the file, and the fault in it.
        remedy: the usual one; another takes its place where the command that fails has its own.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem


class CaptureError(RepsimError):
    """A module whose output cannot be captured: never called, or not a tensor."""


class TrainingError(RepsimError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class RepsimWarning(UserWarning):
    """A result that stands, but that a reader should interpret with care."""

    def __str__(self) -> str:
        return one_line(super().__str__())


def few(names: Sequence[str], shown: int = 3) -> str:
    """The first of some names, for an error or a warning."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def choices(name: str, options: Iterable[str]) -> str:
    """The end of an error about an unknown ``name``: the nearest option, then all of them."""
    known = sorted(options)
    if not known:
        return "there are none yet"
    near = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known[:30]) + (f" and {len(known) - 30} more" if len(known) > 30 else "")
    return (f"did you mean {near[0]!r}? " if near else "") + f"there is: {listed}"


def nearest(name: str, options: Iterable[str]) -> str:
    """The end of an error about an unknown ``name`` among hundreds: those that are like it."""
    known = list(options)
    near = difflib.get_close_matches(name, known, n=5)
    return f"did you mean {' or '.join(near)}?" if near else choices(name, known)
