"""Errors that a network or a loader raises, as one line: the batch, the layer, the place, why."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from repsim.activations.capture.advice import Fault, advice
from repsim.activations.capture.arguments import FIRST, arguments
from repsim.activations.capture.batches import batch_size, ids_of, inputs_of
from repsim.activations.capture.modules import modules_of, unwrap
from repsim.errors import CaptureError, RepsimError, UsageError
from repsim.foreign import Cause, Step, cause_of


@dataclass(frozen=True)
class At:
    """The place of a batch in its loader.

    Attributes:
        number: of the batch, from 1.
        begin: number of its first example, from 0.
    """

    number: int = 1
    begin: int = 0

    def after(self, batch: Any) -> At:
        """The place of the next batch."""
        return At(self.number + 1, self.begin + batch_size(batch))

    @property
    def name(self) -> str:
        """The batch in words."""
        return "the first batch" if self.number == 1 else f"batch {self.number}"


FIRST_BATCH = At()


# --- networks


@contextmanager
def running(
    model: nn.Module, batch: Any, at: At = FIRST_BATCH, *, grad: bool = False
) -> Iterator[None]:
    """A block that runs a network; an error of its code becomes one line.

    Errors of repsim and of its own code pass as they are.

    Args:
        model: any module.
        batch: that it is shown.
        at: the place of the batch.
        grad: the block lets the network compute gradients.

    Raises:
        CaptureError: the network does not run on the batch.
    """
    try:
        yield
    except RepsimError:
        raise
    except Exception as error:  # whatever foreign code raises
        cause = cause_of(error)
        if not _in_network(cause.steps):
            raise
        raise CaptureError(_of_network(unwrap(model), batch, at, error, cause, grad)) from error


def _of_network(
    model: nn.Module, batch: Any, at: At, error: Exception, cause: Cause, grad: bool
) -> str:
    layer = _layer(model, cause.steps)
    fault = Fault(error, cause, at.number, model, layer, _given(model, batch), grad)
    found = advice(fault)
    return (
        f"{type(model).__name__} does not run on {at.name} ({_described(batch, at)})"
        f"{_place(model, layer, cause)}: {cause.text}{f'; {found}' if found else ''}"
    )


def _place(model: nn.Module, layer: str, cause: Cause) -> str:
    """The layer that ran, and the line of code."""
    hook = "a hook of " if _in_hook(cause.steps) else ""
    kind = type(modules_of(model)[layer]).__name__
    what = f", in {hook}layer {layer!r} ({kind})" if layer else ", in a hook" if hook else ""
    elsewhere = f", in {cause.elsewhere}" if cause.elsewhere else ""
    return f"{what}{f', at {cause.place}' if cause.place else ''}{elsewhere}"


def _module_of(step: Step) -> nn.Module | None:
    """The module whose method a frame is of."""
    owner = None if step.frame is None else step.frame.f_locals.get("self")
    return owner if isinstance(owner, nn.Module) else None


def _in_network(steps: tuple[Step, ...]) -> bool:
    """True unless our own code was entered behind the network's, as hooks are."""
    for step in reversed(steps):
        if step.mine or _module_of(step) is not None:
            return True
        if step.module.startswith("repsim.activations") and step.name != "__torch_dispatch__":
            return False
    return False


def _in_hook(steps: tuple[Step, ...]) -> bool:
    """True if the last call of a module called a hook."""
    calls = [step.code for step in steps if step.file.endswith("torch/nn/modules/module.py")]
    return bool(calls) and "hook(" in calls[-1]


def _layer(model: nn.Module, steps: tuple[Step, ...]) -> str:
    """The address of the innermost module that ran; empty for the network itself."""
    addresses: dict[int, str] = {}
    for address, module in modules_of(model).items():
        addresses.setdefault(id(module), address)
    for step in reversed(steps):
        module = _module_of(step)
        if module is not None and addresses.get(id(module)):
            return addresses[id(module)]
    return ""


def _given(model: nn.Module, batch: Any) -> tuple[str, ...]:
    """The arguments that a batch gives by name."""
    given = arguments(model, batch)
    return tuple(name for name, value in given.items() if name != FIRST and value is not None)


def _described(batch: Any, at: At) -> str:
    """The examples of a batch, and the shapes and types of its inputs."""
    inputs = inputs_of(batch)
    shown = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    sizes = ", ".join(f"{key} {tuple(v.shape)} {v.dtype}" for key, v in shown.items())
    ids, n = ids_of(batch), batch_size(batch)
    first, last = (ids[0], ids[-1]) if ids else (str(at.begin), str(at.begin + n - 1))
    return f"examples {first!r} to {last!r}, {sizes}"


# --- loaders


def read(loader: Iterable[Any]) -> Generator[Any, None, None]:
    """The batches of a loader; an error of its code becomes one line.

    Its iterator is made at once, in the thread that calls.

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
        yield batch
        with suppress(UsageError):  # whoever takes the batch refuses it
            at = at.after(batch)


def _cut_short(cause: Cause) -> bool:
    """True if it was no end of the loader, but an error of a data set or of a worker."""
    return bool(cause.elsewhere) or any(
        step.name == "__getitem__" and step.mine for step in cause.steps
    )


@contextmanager
def reading(at: At) -> Iterator[None]:
    """A block that reads from a loader; errors of its code become one line.

    Raises:
        CaptureError: the loader fails.
    """
    try:
        yield
    except RepsimError:
        raise
    except Exception as error:  # whatever foreign code raises
        cause = cause_of(error)
        if not (_in_loader(cause.steps) or cause.elsewhere):
            raise
        raise CaptureError(_of_loader(at, error, cause)) from error


@contextmanager
def measuring() -> Iterator[None]:
    """A block that asks a loader for its length; errors of its code become one line.

    Raises:
        CaptureError: it does not say, and fails.
    """
    try:
        yield
    except RepsimError:
        raise
    except Exception as error:  # whatever foreign code raises
        cause = cause_of(error)
        if not cause.mine:
            raise
        raise CaptureError(f"the loader's length fails at {cause.place}: {cause.text}") from error


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
        if step.mine or _module_of(step) is not None:
            return True
        if step.ours:
            return step.module == __name__
    return False


def _example(steps: tuple[Step, ...]) -> int | None:
    """The place of the example that a data set was asked for."""
    for step in steps:
        if step.frame is not None and step.name == "__getitem__":
            names = step.frame.f_code.co_varnames[: step.frame.f_code.co_argcount]
            place = step.frame.f_locals.get(names[1]) if len(names) == 2 else None
            if isinstance(place, int):
                return place
    return None
