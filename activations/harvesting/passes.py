"""Passes of a network over batches, whatever axis holds the examples of its inputs and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run, warn_of_new, warn_of_unused
from repsim.activations.capture.batch_axis import (
    Arranged,
    BatchAxis,
    BatchAxisLike,
    find_batch_axis,
)
from repsim.activations.capture.batches import batch_size, telling, to_device
from repsim.activations.capture.checked import checked_rows
from repsim.activations.capture.faults import FIRST_BATCH, At, running
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import Layers, modules_of
from repsim.activations.capture.reducing import check_single
from repsim.activations.capture.tracing import addresses_of, calls_of
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.loaders import TensorLoader, examples_in, moved
from repsim.layers import Address

#: Images at a time.
BATCH = 256

#: Takes a layer, its values with the examples first, and the numbers of these examples.
Take = Callable[[str, Tensor, range], Any]

_NOTHING = Allowed()


class Passes:
    """Passes of a network over images, in which each layer has a row for each example.

    The first batch of the first pass shows which axis of each layer holds the examples; layers are
    checked there to be functions of the example.

    Args:
        network: not wrapped, where it is to run. The caller leaves it as it was.
        images: a loader that gives the same batches each time; or the images themselves.
        layers: addresses or patterns.
        device: of the network.
        allowed: dependences of the layers that are no reason to refuse.
        batch_axis: axis of the examples, as for ``repsim.harvest``.
        size: images at a time, where they come as a tensor.
        change: of the batches, once the examples of each input come first.
        every: refuse layers that do not run; otherwise these are passed over.
        names: of the entries of batches shown before, which warnings leave out. The names in these
            batches are added.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Any,
        layers: str | Sequence[str],
        device: torch.device,
        *,
        allowed: Allowed = _NOTHING,
        batch_axis: BatchAxisLike | None = None,
        size: int = BATCH,
        change: Callable[[Iterator[Any]], Iterator[Any]] = iter,
        every: bool = True,
        names: set[str] | None = None,
    ) -> None:
        self._network, self._device = network, device
        self._layers: Layers = layers
        self._calls: dict[str, int] = {}
        self._allowed, self._change, self._every = allowed, change, every
        self._chosen = BatchAxis.said(batch_axis)
        self.loader = self._batches_of(images, size) if isinstance(images, Tensor) else images
        self._axes: Mapping[str, int] | None = None
        self._names: set[str] = set() if names is None else names

    @property
    def examples(self) -> int | None:
        """The number of examples of a pass; None where the loader does not say."""
        return examples_in(self.loader)

    def batches(self, take: Take) -> Iterator[tuple[range, dict[str, Any]]]:
        """Make a pass: for each batch, the numbers of its examples and the results of ``take``.

        Raises:
            UsageError: a batch does not fit, or the axis that was chosen.
            CaptureError: the network does not run on a batch, a layer has no row for each example,
                or the network is no function of the example.
        """
        network, at = self._network, FIRST_BATCH
        given, grad = moved(self.loader, self._device), self._allowed.grad
        arranged = Arranged(given, (network,), self._chosen, grad=grad)
        shown, every = telling(self._change(iter(arranged)), batch_size)
        for batch in every:
            rows = range(at.begin, at.begin + batch_size(batch))
            with arranged.axis.fed(network):
                if self._axes is None:
                    self._axes = self._checked(shown, arranged.axis)
                warn_of_new(network, batch, self._names)
                taken = self._taken(batch, at, rows, take)
            yield rows, taken
            at = at.after(batch)

    def _batches_of(self, images: Tensor, size: int) -> TensorLoader:
        """A loader of images in memory, along the axis that the network reads."""
        if images.ndim < 2:
            return TensorLoader(images, size)  # which refuses them
        shown, grad = to_device(images[:size], self._device), self._allowed.grad
        self._chosen = find_batch_axis(self._chosen, self._network, shown, grad=grad)
        axis = self._chosen.of_input("")
        return TensorLoader(self._chosen.examples_first(images), size, axis=axis)

    def _checked(self, batch: Any, axis: BatchAxis) -> dict[str, int]:
        """The axis of examples of each layer; networks and layers are refused here."""
        if not self._names:
            warn_of_unused(self._network, batch)
        layers = self._layers if self._every else self._that_run(batch)
        if not layers:
            return {}
        found = checked_rows(self._network, batch, layers, axis, self._allowed, every=True)
        axis.check(found)
        axes = {name: each.axes.batch for name, each in found.items()}
        if not self._every:
            return {**self._of_any_call(axes), **axes}
        self._layers, self._calls = addresses_of(found), calls_of(found)
        return axes

    def _that_run(self, batch: Any) -> list[str]:
        """The layers that run on a batch. The network is left as it was."""
        capture = Capture(self._network, self._layers, reduce=_nothing, grad=self._allowed.grad)
        running_once = running(self._network, batch, grad=self._allowed.grad)
        with Unchanged(self._network) as kept, kept.watching(), capture, running_once:
            run(self._network, batch)
            return [str(each.address) for each in capture.choices if capture.given(each)]

    def _of_any_call(self, axes: Mapping[str, int]) -> dict[str, int]:
        """The axis of each layer by its address without a call."""
        modules = modules_of(self._network)
        return {
            str(Address.parse(name, modules)._replace(call=None)): axis
            for name, axis in axes.items()
        }

    def _taken(self, batch: Any, at: At, rows: range, take: Take) -> dict[str, Any]:
        """The layers of a batch, each given to ``take`` as it comes."""

        def reduce(layer: str, values: Tensor) -> Any:
            values = values.movedim(self._axis_of(layer), 0)
            if self._every:
                check_single(layer, values, len(rows))
            return take(layer, values, rows)

        grad, calls = self._allowed.grad, self._calls
        capture = Capture(self._network, self._layers, reduce=reduce, grad=grad, calls=calls)
        with capture, running(self._network, batch, at, grad=grad):
            run(self._network, batch)
            return capture.take(self._axes) if self._every else {}

    def _axis_of(self, layer: str) -> int:
        """The axis of examples of a layer, or of another call of it."""
        axes = self._axes or {}
        plain = Address.parse(layer, modules_of(self._network))._replace(call=None)
        return axes.get(layer, axes.get(str(plain), 0))


def _nothing(layer: str, values: Tensor) -> None:
    """Keep nothing of a layer."""
