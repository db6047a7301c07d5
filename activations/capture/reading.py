"""Batches read from a loader, whose errors become one line: the batch, the example, the place."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

from repsim.activations.capture.advice import Fault, advice
from repsim.activations.capture.batches import own
from repsim.activations.capture.faults import FIRST_BATCH, At, module_of
from repsim.errors import UsageError
from repsim.foreign import Cause, Step, cause_of, in_one_line


def read(loader: Iterable[Any]) -> Generator[Any, None, None]:
    """The batches of a loader; an error of its code becomes one line.

    Its iterator is made at once, in the thread that calls. Batches are copies: some loaders use the
    memory of one batch for the next.

    Raises:
        UsageError: it cannot be read.
    """
    with reading(FIRST_BATCH):
        try:
            batches = iter(loader)
        except TypeError as error:
            if hasattr(type(loader), "__iter__"):
                raise
            raise UsageError(
                f"the loader is a {type(loader).__name__}; expected an iterable of batches"
            ) from error
    return _read(batches)


def _read(batches: Iterator[Any]) -> Generator[Any, None, None]:
    at = FIRST_BATCH
    while True:
        with reading(at):
            try:
                batch = next(batches)
            except StopIteration as end:
                if _cut_short(cause_of(end)):
                    raise
                return
        yield own(batch)
        with suppress(UsageError):  # whoever takes the batch refuses it
            at = at.after(batch)


def _cut_short(cause: Cause) -> bool:
    """True if it was no end of the loader, but an error of a data set or of a worker."""
    return bool(cause.elsewhere) or any(
        step.name == "__getitem__" and step.mine for step in cause.steps
    )


def reading(at: At) -> AbstractContextManager[None]:
    """A block that reads from a loader; errors of its code become one line.

    Raises:
        CaptureError: the loader fails.
    """

    def line(error: Exception, cause: Cause) -> str:
        foreign = _in_loader(cause.steps) or cause.elsewhere
        return _of_loader(at, error, cause) if foreign else ""

    return in_one_line(line)


def measuring() -> AbstractContextManager[None]:
    """A block that asks a loader for its length; errors of its code become one line.

    Raises:
        CaptureError: it does not say, and fails.
    """

    def line(error: Exception, cause: Cause) -> str:
        return f"the loader's length fails at {cause.place}: {cause.text}" if cause.mine else ""

    return in_one_line(line)


def attribute(loader: Any, name: str) -> Any:
    """An attribute of a loader; None without it, or where looking for it fails."""
    with suppress(Exception):
        return getattr(loader, name, None)
    return None


def _of_loader(at: At, error: Exception, cause: Cause) -> str:
    example = _example(cause.steps)
    places = [
        f"after {at.begin} examples" if at.begin else "",
        f"example {example}" if example is not None else "",
        f"at {cause.place}" if cause.place else "",
        f"in {cause.elsewhere}" if cause.elsewhere else "",
    ]
    found = advice(Fault(error, cause, at.number))
    where = ", ".join(filter(None, places))
    return (
        f"the loader fails at {at.name}{f' ({where})' if where else ''}: {cause.text}"
        f"{f'; {found}' if found else ''}"
    )


def _in_loader(steps: tuple[Step, ...]) -> bool:
    """True unless our own code raised: a loader of ours, in which no user's code ran."""
    for step in reversed(steps):
        if step.mine or module_of(step) is not None:
            return True
        if step.ours:
            return step.module == __name__
    return False


def _example(steps: tuple[Step, ...]) -> int | None:
    """The place of the example that a data set was asked for."""
    for step in steps:
        if step.name == "__getitem__" and len(step.arguments) == 2:
            place = step.variables.get(step.arguments[1])
            if isinstance(place, int):
                return place
    return None
