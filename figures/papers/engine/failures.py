"""Steps that fail: one line for the report, and a traceback where it was no user's mistake."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass

from repsim.errors import RepsimError, StoreError
from repsim.figures.papers.engine.steps import Step
from repsim.files import write_atomic
from repsim.progress import Progress


@dataclass(frozen=True)
class Outcome:
    """The end of the making of a step.

    Attributes:
        seconds: that it took.
        error: the reason in one line, where it failed; else empty.
    """

    seconds: float
    error: str = ""


def attempt(step: Step, progress: Progress) -> Outcome:
    """Make a step; an error is part of the outcome, and an interruption is not caught.

    The traceback of an error that is no ``RepsimError`` is written into ``failures/``.
    """
    started = time.monotonic()
    file = step.folder.path / "failures" / f"{step.path.stem}.txt"
    try:
        step.make(progress)
        error = ""
        file.unlink(missing_ok=True)
    except StoreError as damaged:
        error = f"{one_line(damaged)}; here: remove it, and run the same command again"
    except RepsimError as known:
        error = one_line(known)
    except Exception as bug:
        write_atomic(file, traceback.format_exc())
        error = f"{type(bug).__name__}: {one_line(bug)}; the traceback is in {file}"
    return Outcome(time.monotonic() - started, error)


def one_line(error: Exception) -> str:
    """The first line of a message."""
    return (str(error) or type(error).__name__).splitlines()[0]
