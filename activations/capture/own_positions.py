"""Layers whose positions the network makes itself: of texts or waves in lists, or by contents."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments
from repsim.activations.capture.batches import batch_size, is_by_example, pick
from repsim.activations.capture.tracing import shapes_of_one

Shape = tuple[int, ...]

#: At most so many examples of a batch are shown alone.
_ALONE = 8


class OwnPositions:
    """The layers of a network that have other sizes for other examples, though arrays have one.

    Such a network fills them up to the longest of a batch, and the arrays of the batch do not show
    it. So examples are shown alone, the shortest and the longest element of each list among them;
    then some with longer and with shorter elements.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        batch: a dictionary, where the network lies.
        axes: the axis that holds the examples of a layer, where it is not the first.
        grad: as for ``Capture``.
    """

    def __init__(
        self, model: nn.Module, batch: Any, axes: Mapping[str, int], *, grad: bool
    ) -> None:
        self._model, self._batch, self._axes, self._grad = model, batch, axes, grad
        self._lists = _lists_in(arguments(model, batch), batch_size(batch))
        self._made: set[str] = set()

    @property
    def lists(self) -> list[str]:
        """The lists of texts, waves or the like that the network takes."""
        return list(self._lists)

    @property
    def any(self) -> bool:
        """True if a layer was found."""
        return bool(self._made)

    def find(self, layers: Mapping[str, str]) -> None:
        """Show examples, and note those of some layers that are made so; addresses by name."""
        if not layers:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._made |= _varying([self._shapes(each, layers) for each in self._alone()])
            for before, after in self._resized():
                shapes = self._shapes(after, layers)
                if shapes:
                    self._made |= _varying([self._shapes(before, layers), shapes])

    def may_be_padded(self, layer: str, batch: Any) -> bool:
        """True if a layer may have padding for a batch: its examples may be of several lengths.

        Lists of arrays tell; texts do not, for a network makes any number of tokens of them.
        """
        n = batch_size(batch)
        if layer not in self._made or n == 1:
            return False
        lists = [batch[name] for name in self._lists if name in batch]
        texts = any(isinstance(each, str) for values in lists for each in values)
        return not lists or texts or any(len(set(map(_sizes, each))) > 1 for each in lists)

    def _shapes(self, batch: Any, layers: Mapping[str, str]) -> dict[str, Shape]:
        """The shapes of layers for one example of a batch; none where the network does not run."""
        try:
            return shapes_of_one(self._model, batch, layers, self._axes, grad=self._grad)
        except Exception:  # of any kind: the network is not made for it
            return {}

    def _alone(self) -> Iterator[Any]:
        """Single examples: the shortest and the longest of each list, and some more."""
        n = batch_size(self._batch)
        ends = [
            end(range(n), key=lambda k: _sizes(values[k]))
            for values in self._lists.values()
            for end in (min, max)
        ]
        places = dict.fromkeys([*ends, *range(0, n, -(-n // _ALONE))])
        for k in list(places)[:_ALONE]:
            yield pick(self._batch, [k])

    def _resized(self) -> Iterator[tuple[Any, Any]]:
        """Examples as they are, and with longer or shorter elements of a list."""
        n = batch_size(self._batch)
        few = pick(self._batch, sorted({0, n - 1}))
        for name in self._lists:
            for change in _changes(few[name]):
                yield few, {**few, name: list(map(change, few[name]))}


def _lists_in(given: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The lists with a text, an array or the like for each of n examples."""
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, (list, tuple))
        and len(value) == n
        and is_by_example(name, value, n)
        and all(map(_sizes, value))
    }


def _sizes(value: Any) -> Shape:
    """The lengths of an element of a list; none of a number."""
    if isinstance(value, (Tensor, np.ndarray)):
        return tuple(value.shape)
    return (len(value),) if isinstance(value, (str, list, tuple)) else ()


def _varying(runs: Collection[Mapping[str, Shape]]) -> set[str]:
    """The layers that have as many axes in all runs, and not the same sizes."""
    names = {name for shapes in runs for name in shapes}
    found = {name: {shapes[name] for shapes in runs if name in shapes} for name in names}
    return {name for name, all_ in found.items() if len(all_) > len(set(map(len, all_)))}


def _changes(elements: Any) -> list[Callable[[Any], Any]]:
    """Changes of the elements of a list, as long as they fit all of them."""
    if all(isinstance(each, str) for each in elements):
        return [lambda text: f"{text} {text}", lambda text: text + text, _halved]
    if all(isinstance(each, (list, tuple)) for each in elements):
        return [lambda values: [*values, *values], _halved]
    arrays = all(isinstance(each, (Tensor, np.ndarray)) for each in elements)
    axes = range(min(len(_sizes(each)) for each in elements)) if arrays else ()
    return [_doubled(axis) for axis in axes]


def _halved(values: Any) -> Any:
    return values[: max(1, len(values) // 2)]


def _doubled(axis: int) -> Callable[[Any], Any]:
    """An array twice along an axis, whichever kind it is."""

    def double(values: Any) -> Any:
        both = torch.cat([torch.as_tensor(values)] * 2, axis)
        return both if isinstance(values, Tensor) else both.numpy()

    return double
