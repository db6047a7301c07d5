"""The axis of examples: said by rules, or seen in a network that reads sequences first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.batches import (
    ABOUT,
    batch_size,
    filled,
    first_of,
    pick,
    with_inputs,
)
from repsim.activations.capture.dimensions import examples_in
from repsim.activations.capture.following import Following
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import has_modules, unwrap
from repsim.activations.capture.rules import matches, pair
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.dense import is_sparse
from repsim.errors import StoreError, UsageError

#: The address of the inputs of a network.
INPUT = "@input"

BatchAxisLike = int | str | Mapping[str, int]


class BatchAxis:
    """The axis that holds the examples, of inputs and layers: the first rule that matches.

    Args:
        chosen: one axis, for the inputs and for layers that do not say; or pairs of pattern and
            axis, as ``"@input:src=1,encoder.*=1"`` or ``{"encoder.*": 1}``. ``@input`` is the
            input, ``@input:NAME`` one of a dictionary.
        beside: entries of a batch, other than masks of padding, that a rule for all inputs does not
            mean.

    Raises:
        UsageError: not understood.
    """

    def __init__(
        self, chosen: BatchAxisLike | None = None, beside: Collection[str] = frozenset()
    ) -> None:
        self._rules = dict(_pairs(chosen))
        self._beside = frozenset(beside)

    @classmethod
    def said(
        cls, chosen: BatchAxisLike | None, beside: Collection[str] = frozenset()
    ) -> BatchAxis | None:
        """The axis that was said; None without, where it is to be found."""
        return None if chosen is None else cls(chosen, beside)

    def beside(self, names: Collection[str]) -> BatchAxis:
        """The same with entries that a rule for all inputs does not mean."""
        return BatchAxis(self._rules, names)

    def __bool__(self) -> bool:
        """True if some axis is not the first, or was said to be."""
        return bool(self._rules)

    def __str__(self) -> str:
        """As it is written, and as provenance records it."""
        if set(self._rules) == {"*"}:
            return str(self._rules["*"])
        return ",".join(f"{pattern}={axis}" for pattern, axis in self._rules.items())

    @property
    def option(self) -> str:
        """As an option, and as the argument in Python, for remedies."""
        if set(self._rules) == {"*"}:
            return f"--batch-axis {self} (batch_axis={self})"
        return f"--batch-axis '{self}' (batch_axis={self._rules})"

    def with_layers(self, axes: Mapping[str, int]) -> BatchAxis:
        """The same with other axes of some layers."""
        others = {pattern: axis for pattern, axis in self._rules.items() if pattern not in axes}
        return BatchAxis({**axes, **others}, self._beside)

    def elsewhere(self, axis: int) -> str:
        """A remedy where another axis of the inputs holds the examples, such as this one."""
        if self:
            return f"say --batch-axis (batch_axis) where other axes than {self} hold the examples"
        return f"where axis {axis} of the inputs holds the examples, say {BatchAxis(axis).option}"

    def record(self) -> dict[str, str]:
        """As provenance has it; empty where the examples come first and nobody said so."""
        return {"batch_axis": str(self)} if self else {}

    def of_layer(self, layer: str) -> int | None:
        """The axis of a layer that a rule names, or None."""
        return next((a for p, a in self._rules.items() if p != "*" and matches(p, layer)), None)

    @property
    def of_others(self) -> int | None:
        """The axis of layers that do not say themselves, or None."""
        return self._rules.get("*")

    def of_input(self, name: str) -> int:
        """The axis of the input of a name; an only one may come without."""
        for pattern, axis in self._rules.items():
            if pattern in (INPUT, "*"):
                # Masks of padding are (n, tokens), whatever the order of the tokens' values.
                masks = name.endswith(("padding_mask", "attention_mask"))
                return 0 if masks or name in self._beside else axis
            if pattern.startswith(f"{INPUT}:") and (
                not name or matches(pattern, f"{INPUT}:{name}")
            ):
                return axis
        return 0

    def check(self, layers: Collection[str]) -> None:
        """Raise ``UsageError`` if a pattern is of no layer."""
        for pattern in self._rules:
            own = pattern == "*" or pattern.startswith(INPUT)
            if not own and not any(matches(pattern, layer) for layer in layers):
                raise UsageError(
                    f"batch axis of {pattern!r}: it matches none of {', '.join(layers)}"
                )

    def examples_first(self, batch: Any) -> Any:
        """A batch with the examples of every input at axis 0."""
        return with_inputs(batch, self._inputs_first) if self._rules else batch

    def _inputs_first(self, inputs: Any) -> Any:
        if not isinstance(inputs, Mapping):
            return self._first("", inputs)
        return {name: x if name in ABOUT else self._first(name, x) for name, x in inputs.items()}

    def _first(self, name: str, x: Any) -> Any:
        axis = self.of_input(name)
        if not axis or not isinstance(x, (Tensor, np.ndarray)) or x.ndim < 2 or is_sparse(x):
            return x
        if axis >= x.ndim:
            raise UsageError(
                f"{_called(name)} is {tuple(x.shape)} and has no axis {axis}; pass another "
                "--batch-axis (batch_axis)"
            )
        return x.movedim(axis, 0) if isinstance(x, Tensor) else np.moveaxis(x, axis, 0)

    @contextmanager
    def fed(self, model: nn.Module) -> Iterator[None]:
        """A block in which a network takes inputs with the examples first, and sees its own."""
        if not self._rules:
            yield
            return

        def back(module: nn.Module, args: Any, kwargs: Any) -> Any:
            args = tuple(self._own("" if k == 0 else None, x) for k, x in enumerate(args))
            return args, {name: self._own(name, x) for name, x in kwargs.items()}

        with model.register_forward_pre_hook(back, with_kwargs=True, prepend=True):
            yield

    def _own(self, name: str | None, x: Any) -> Any:
        axis = 0 if name is None else self.of_input(name)
        if not axis or not isinstance(x, Tensor) or x.ndim < 2 or is_sparse(x):
            return x
        return x.movedim(0, axis).contiguous()


def _pairs(chosen: BatchAxisLike | None) -> Iterator[tuple[str, int]]:
    if chosen is None:
        return
    if isinstance(chosen, str):
        given: Any = map(pair, chosen.split(","))
    elif isinstance(chosen, Mapping):
        given = chosen.items()
    else:
        given = [("*", chosen)]
    for pattern, axis in given:
        if isinstance(axis, bool) or not str(axis).strip().isdecimal():
            raise UsageError(
                f"batch axis {axis!r} is not understood; expected a number from 0, or "
                "PATTERN=NUMBER, as in @input=1,encoder.*=1"
            )
        yield pattern, int(axis)


def _called(name: str) -> str:
    return f"input {name!r}" if name else "the input"


def find_batch_axis(
    chosen: BatchAxis | None, model: nn.Module, batch: Any, *, grad: bool = False
) -> BatchAxis:
    """The axes that were chosen, else the axes that a network shows; see ``seen_batch_axis``."""
    return seen_batch_axis(model, batch, grad=grad) if chosen is None else chosen


class Arranged:
    """Batches with the examples of each input first.

    Args:
        batches: as a loader gives them, where the networks lie.
        models: that are to see them; one of them may say where the examples are.
        chosen: where the examples are, if that was said.
        grad: as for ``Capture``.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        models: Sequence[nn.Module],
        chosen: BatchAxis | None,
        *,
        grad: bool = False,
    ) -> None:
        self.axis = EXAMPLES_FIRST if chosen is None else chosen
        self._batches, self._grad = batches, grad
        self._models = models if chosen is None else ()

    def __iter__(self) -> Iterator[Any]:
        for batch in filled(self._batches):
            for model in self._models:
                self.axis = self.axis or seen_batch_axis(unwrap(model), batch, grad=self._grad)
            self._models = ()
            yield self.axis.examples_first(batch)


class Lengths:
    """The examples that would have come, were they along another axis of the inputs.

    Args:
        axis: along which they are.
    """

    def __init__(self, axis: BatchAxis) -> None:
        self._axis = axis
        self._totals: list[int] = []

    def add(self, batch: Any) -> None:
        """Count a batch, with the examples first."""
        inputs = first_of(batch)
        if isinstance(inputs, (Tensor, np.ndarray)):
            before = self._totals or [0] * inputs.ndim
            self._totals = [a + b for a, b in zip(before, inputs.shape, strict=False)]

    def refusal(self, problem: str, n: int, otherwise: str) -> StoreError:
        """The error where not n examples came; it names the axis along which so many did.

        Args:
            problem: the examples that came, in words.
            n: examples that were expected.
            otherwise: the remedy where there is no such axis.
        """
        if self._axis:
            remedy = f"the axis of examples is {self._axis}: say another --batch-axis (batch_axis)"
            return StoreError(problem, remedy)
        fitting = [k for k, total in enumerate(self._totals) if k and total == n]
        if not fitting:
            return StoreError(problem, otherwise)
        axis = fitting[0]
        return StoreError(problem, f"along axis {axis} there are {n}: say {BatchAxis(axis).option}")


def seen_batch_axis(model: nn.Module, batch: Any, *, grad: bool = False) -> BatchAxis:
    """The axes of inputs that a network hands to its modules with the sequence first.

    Inputs of recurrent layers, attention and transformers with ``batch_first=False`` hold examples
    at axis 1. Labels that come with the batch, one for each example, may decide against it. A batch
    of one is shown twice over: an axis of one example is lost where others are folded into it.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        batch: as the loader gives it, where the network lies.
        grad: as for ``Capture``.
    """
    if not any(getattr(module, "batch_first", True) is False for module in model.modules()):
        return BatchAxis()
    following = Following(model)
    found: dict[str, int] = {}
    with suppress(Exception):  # a network that does not run will say so
        batch = _of_two(batch)
        every = "type:Module" if has_modules(model) else INPUT
        capture = Capture(model, every, reduce=lambda *_: None, grad=grad)
        with (
            Unchanged(model) as kept,
            kept.watching(),
            same_random_numbers(model),
            capture,
            following.fed(model) as inputs,
        ):
            run(model, first_of(batch))
        found = {name: next(iter(examples_in(following.axes(x))), 0) for name, x in inputs.items()}
        beside = _rows_beside(batch)
        found = {
            f"{INPUT}:{name}" if name else INPUT: axis
            for name, axis in found.items()
            if axis and beside in (None, inputs[name].shape[axis])
        }
    return BatchAxis(found)


def _of_two(batch: Any) -> Any:
    """A batch of one example twice over; any other as it is."""
    with suppress(UsageError):  # labels that do not fit inputs whose examples are not the first
        return pick(batch, [0, 0]) if batch_size(batch) == 1 else batch
    return batch


def _rows_beside(batch: Any) -> int | None:
    """The number of labels that come with a batch."""
    labels = batch[1] if isinstance(batch, (tuple, list)) and len(batch) > 1 else None
    return len(labels) if isinstance(labels, (Tensor, np.ndarray, list)) else None


#: The examples lie at axis 0 of every input; layers say for themselves.
EXAMPLES_FIRST = BatchAxis()
