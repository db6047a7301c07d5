"""Failures: one line for the report, and a traceback where it was no user's mistake."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from repsim.errors import RepsimError, StoreError
from repsim.figures.papers.engine.folder import Folder
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
    name, error = step.path.stem, ""
    try:
        step.make(progress)
        _traceback(step.folder, name).unlink(missing_ok=True)
    except Exception as failure:
        error = reason_of(failure, step.folder, name)
    return Outcome(time.monotonic() - started, error)


def reason_of(error: Exception, folder: Folder, name: str) -> str:
    """The reason of a failure in one line, with one remedy where there is one.

    Args:
        error: that was caught.
        folder: of the reproduction; an error that is no ``RepsimError`` leaves its traceback there.
        name: of the file of the traceback.
    """
    if isinstance(error, StoreError):
        return one_line(f"{error.problem}; remove it, and run the same command again")
    if isinstance(error, RepsimError):
        return one_line(str(error))
    file = _traceback(folder, name)
    write_atomic(file, "".join(traceback.format_exception(error)))
    words = ": ".join(filter(None, [type(error).__name__, one_line(str(error))]))
    return f"{words}; the traceback is in {file}"


def one_line(message: str) -> str:
    """A message without its line breaks."""
    return " ".join(message.split())


def _traceback(folder: Folder, name: str) -> Path:
    return folder.path / "failures" / f"{name}.txt"
