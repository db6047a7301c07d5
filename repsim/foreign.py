"""Errors that arise in code that is not ours, such as a user's network: their kind and place."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from repsim.errors import CaptureError, RepsimError
from repsim.optional import reason

#: Folders of installed libraries, by name; and of the standard library.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib"))

#: Libraries in whose code no one looks for the cause.
_DEEP = frozenset({"torch", "numpy", "PIL", "h5py", "jaxtyping", "beartype"})

#: Signs of an error's text that are shown.
_LONGEST = 400

#: The error of another process or device, as torch hands it on: its kind, where, and its traceback.
_HANDED_ON = re.compile(r"Caught (\w+) in (.+?)\.\s*\nOriginal Traceback")


@dataclass(frozen=True)
class Step:
    """A frame of a traceback.

    Attributes:
        file: as Python names it.
        line: number of the line that ran.
        frame: with its variables; None where another process had it.
    """

    file: str
    line: int
    frame: FrameType | None = None

    @property
    def module(self) -> str:
        """The name of the module that the code belongs to; empty where it is not known."""
        return "" if self.frame is None else str(self.frame.f_globals.get("__name__", ""))

    @property
    def name(self) -> str:
        """The name of the function; empty where it is not known."""
        return "" if self.frame is None else self.frame.f_code.co_name

    @property
    def variables(self) -> Mapping[str, Any]:
        """The variables of the function by name; none where they are not known."""
        return {} if self.frame is None else self.frame.f_locals

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the function's arguments by place; none where they are not known."""
        if self.frame is None:
            return ()
        code = self.frame.f_code
        return code.co_varnames[: code.co_argcount]

    @property
    def ours(self) -> bool:
        """True in a module of repsim."""
        return self.module.partition(".")[0] == "repsim"

    @property
    def library(self) -> str:
        """The library that the file belongs to; empty for a user's file."""
        parts = Path(self.file).parts
        if self.file.endswith((".pyx", ".pxd")):  # compiled: a path within its package
            return parts[0]
        for folder in _INSTALLED.intersection(parts):
            return parts[parts.index(folder) + 1]
        inner = self.file.startswith(("<frozen", "<__array", "<eval_with_key", *_STANDARD))
        return "python" if inner else ""

    @property
    def mine(self) -> bool:
        """True in a user's file."""
        return not self.ours and not self.library

    @property
    def code(self) -> str:
        """The line that ran; empty where its file is not there."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        if not self.library:
            path = Path(self.file)
            near = path.is_absolute() and path.is_relative_to(Path.cwd())
            return f"{path.relative_to(Path.cwd()) if near else path}:{self.line}"
        return f"{self.file[self.file.index(self.library) :].replace(os.sep, '/')}:{self.line}"


@dataclass(frozen=True)
class Cause:
    """An error of foreign code.

    Attributes:
        text: its kind and its text, in one line.
        place: ``FILE:LINE`` of the innermost line of a user's file, else of a library's; may be
            empty.
        code: the line at that place.
        elsewhere: the process or device that raised it, as torch calls it; empty for this one.
        steps: of the traceback, the outermost first.
    """

    text: str
    place: str
    code: str
    elsewhere: str
    steps: tuple[Step, ...]

    @property
    def mine(self) -> bool:
        """True if a user's file takes part."""
        return any(step.mine for step in self.steps)


@contextmanager
def in_one_line(line: Callable[[Exception, Cause], str]) -> Iterator[None]:
    """A block in which errors of foreign code become one line.

    Errors of repsim pass as they are, and so do errors without a line.

    Args:
        line: the line for an error and its cause; empty where the error is not of foreign code.

    Raises:
        CaptureError: foreign code fails.
    """
    try:
        yield
    except RepsimError:
        raise
    except Exception as error:  # whatever foreign code raises
        told = line(error, cause_of(error))
        if not told:
            raise
        raise CaptureError(told) from error


def cause_of(error: BaseException) -> Cause:
    """The kind, text and place of an error, also of one that a worker process raised."""
    steps = tuple(_steps(error))
    handed_on = _HANDED_ON.search(str(error.args[0])) if error.args else None
    if handed_on:
        text = str(error.args[0])
        steps += tuple(_steps_in(text))
        words, elsewhere = _last_error(text, handed_on[1]), handed_on[2]
    else:
        words, elsewhere = reason(error), ""
    place = _place(steps)
    code = "" if place is None else place.code
    words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
    if words == "AssertionError" and code.startswith("assert"):
        words = f"{words}: {code}"
    return Cause(words, "" if place is None else str(place), code, elsewhere, steps)


def _steps(error: BaseException) -> Iterator[Step]:
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield Step(frame.f_code.co_filename, line, frame)


def _steps_in(text: str) -> Iterator[Step]:
    """The frames of a traceback that came as text."""
    for file, line in re.findall(r'^\s*File "(.+?)", line (\d+)', text, re.MULTILINE):
        yield Step(file, int(line))


def _last_error(text: str, kind: str) -> str:
    """The kind and text at the end of a traceback."""
    found = re.findall(rf"^\s*(?:[\w.]+\.)?({kind}(?::.*)?)$", text, re.MULTILINE)
    return str(found[-1]).strip() if found else kind


def _place(steps: tuple[Step, ...]) -> Step | None:
    """The innermost line of a user's file, else of a library that is not below all others."""
    for fits in (
        lambda step: step.mine,
        lambda step: not step.ours and step.library not in {*_DEEP, "python"},
    ):
        for step in reversed(steps):
            if fits(step):
                return step
    return None
