"""Evidence that axis 1 of the inputs holds the examples, in all of a network's modules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.batch_axis import BatchAxis
from repsim.activations.capture.batches import arrays_of, batch_size, few, pick, with_inputs
from repsim.activations.capture.differences import differing, rounding
from repsim.activations.capture.hooks import Capture, listed
from repsim.activations.capture.tensors import tensors_in
from repsim.activations.capture.unchanged import Unchanged, same_random_numbers
from repsim.errors import CaptureError

_FIRST, _SECOND = BatchAxis(0), BatchAxis(1)

#: The prefix of tensors that the network itself returns.
_OUTPUT = "output "


def check_examples_first(
    model: nn.Module, batch: Any, kept: Unchanged, batch_axis: BatchAxis, *, grad: bool = False
) -> None:
    """Check that no module of a network takes axis 1 of the inputs for the examples.

    A few of the elements along axis 0 are shown, then the same with other elements along axis 1. A
    layer that has no row for each along axis 0, and whose rows follow the elements along axis 1,
    is such a module; unless another layer gives rows along axis 0 alone.

    Args:
        model: not wrapped, where it is to run.
        batch: with the examples first, as it is supposed.
        kept: the state of the network, to which it is brought back.
        batch_axis: of the inputs; nothing is checked where it was said or found.
        grad: as for ``Capture``.

    Raises:
        CaptureError: there is one, which is named.
    """
    if batch_axis:
        return
    found: list[str] = []
    with same_random_numbers(model), suppress(Exception):  # one that does not run so tells nothing
        found = _told(_Network(model, kept, grad), batch)
    if found:
        size = _along(batch)
        names = [repr(each) for each in found if not each.startswith(_OUTPUT)]
        has = f"{listed(names)} has" if names else "what the network returns has"
        raise CaptureError(
            f"{has} a row for each of {size} along axis 1 of the inputs, and none for each of "
            f"{batch_size(batch)} along axis 0: where axis 1 holds the examples, say "
            f"{_SECOND.option}, else {_FIRST.option}"
        )


@dataclass(frozen=True)
class _Network:
    """A network whose modules are seen as it runs.

    Attributes:
        model: not wrapped.
        kept: its state, to which each run brings it back.
        grad: as for ``Capture``.
    """

    model: nn.Module
    kept: Unchanged
    grad: bool

    def see(self, batch: Any, look: Callable[[str, Tensor], Any]) -> dict[str, Any]:
        """Values of ``look`` for each module that runs, and for the output of the network."""
        found: dict[str, Any] = {}

        def keep(name: str, values: Tensor) -> None:
            found[name] = look(name, values)

        def output(module: nn.Module, args: Any, returned: Any) -> None:
            for path, values in tensors_in(returned):
                keep(f"{_OUTPUT}{path}", values)

        with warnings.catch_warnings(), self.model.register_forward_hook(output):
            warnings.simplefilter("ignore")
            capture = Capture(self.model, "type:Module", reduce=keep, grad=self.grad)
            try:
                with self.kept.watching(), capture:
                    run(self.model, batch)
            finally:
                self.kept.restore()
        return found

    def values(self, batch: Any, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The values of some layers, or of all."""
        found = self.see(
            batch, lambda name, x: x.clone() if layers is None or name in layers else None
        )
        return {name: x for name, x in found.items() if x is not None}


def _told(network: _Network, batch: Any) -> list[str]:
    """The layers with rows along axis 1 alone, if none has them along axis 0 alone."""
    n, size = batch_size(batch), _along(batch)
    count = few(batch, [size])
    count -= count == size  # a square would tell nothing
    if size < 2 or count < 2:
        return []
    shown = pick(batch, [k * (n - 1) // (count - 1) for k in range(count)])
    without = _without_rows(network, shown, count, size)
    if not without:
        return []
    index = [0, *range(size - 2, -1, -1)] if size > 2 else [0, 0]
    other = _reordered(shown, index, count)
    before = network.values(shown)
    after = network.values(other)
    found = [name for name in without if name in after and _moved(before[name], after[name], index)]
    return found if found and not _rows_first(network, shown, before, after, index) else []


def _along(batch: Any) -> int:
    """The length of axis 1 of the first input that has one."""
    return next((each.shape[1] for each in arrays_of(batch) if each.ndim > 1), 0)


def _without_rows(network: _Network, shown: Any, count: int, size: int) -> list[str]:
    """The layers with an axis as long as axis 1, and none that has an element for each example."""
    shapes = network.see(shown, lambda _, x: tuple(x.shape))
    if all(size not in shape for shape in shapes.values()):
        return []
    fewer = network.see(pick(shown, range(count - 1)), lambda _, x: tuple(x.shape))
    return [
        name
        for name, shape in shapes.items()
        if size in shape and name in fewer and not _grows(shape, fewer[name], count)
    ]


def _grows(shape: tuple[int, ...], fewer: tuple[int, ...], count: int) -> bool:
    return any(pair == (count, count - 1) for pair in zip(shape, fewer, strict=False))


def _reordered(batch: Any, index: Sequence[int], count: int) -> Any:
    """A batch with other elements along axis 1 of its inputs."""

    def cut(x: Any) -> Any:
        if isinstance(x, Mapping):
            return {name: cut(each) for name, each in x.items()}
        fits = isinstance(x, (Tensor, np.ndarray)) and x.shape[:2] == (count, len(index))
        return x[:, list(index)] if fits else x

    return with_inputs(batch, cut)


def _moved(before: Tensor, after: Tensor, index: Sequence[int]) -> bool:
    """True if a layer gives, along some axis, the rows of the elements that were put there."""
    return any(
        before.shape[axis] == len(index) and _follows(before, after, index, axis)
        for axis in range(before.ndim)
    )


def _follows(before: Tensor, after: Tensor, index: Sequence[int], axis: int) -> bool:
    """True if an order moves the values along an axis, and changes nothing else."""
    expected = before.movedim(axis, 0)[list(index)].movedim(0, axis)
    return not _same(before, expected) and _same(expected, after)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and differing({"": a}, {"": b}, rounding) is None


def _rows_first(
    network: _Network,
    shown: Any,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    index: Sequence[int],
) -> bool:
    """True if a layer has a row for each element along axis 0, and none along axis 1."""
    count = batch_size(shown)
    places = [count - 1, *range(count - 1)] if count > 2 else [1, 1]
    moved = network.values(pick(shown, places))
    return any(
        x.shape[:1] == (count,)
        and name in moved
        and _follows(x, moved[name], places, 0)
        and not _moved(x, after.get(name, x), index)
        for name, x in before.items()
    )
