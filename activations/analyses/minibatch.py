"""Minibatch CKA of networks as they run, without storing anything."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import unnamed, warn_of_new, warn_of_unused
from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.batch_axis import Arranged, BatchAxis
from repsim.activations.capture.batches import Naming, batch_size, first_of, telling, without
from repsim.activations.capture.checked import checked_rows
from repsim.activations.capture.digests import batch_digests
from repsim.activations.capture.faults import FIRST_BATCH, At, running
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.layer_masks import LayerMasks
from repsim.activations.capture.mask_rules import MaskRules
from repsim.activations.capture.modules import unwrap
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.reducing import Reducer, other_size, reduced_shape
from repsim.activations.capture.tracing import TracedRows, addresses_of, calls_of
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.loaders import ShuffledLoader
from repsim.activations.harvesting.sampling import count_examples
from repsim.activations.harvesting.token_rows import TokenRows, token_rows
from repsim.errors import DegenerateError, UsageError
from repsim.measures import MinibatchCKA
from repsim.measures.kernels import KernelLike
from repsim.networks.weights import network_digest
from repsim.progress import Progress
from repsim.results import SimilarityMap


class Side(Protocol):
    """A source of layers (n, ...) of every batch, which is left as it was."""

    @property
    def digest(self) -> str:
        """The digest of the weights of a network; empty of others."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *unused: object) -> None: ...

    def record(self) -> dict[str, str]:
        """The record of pooling, masks and axes, as far as they are not the usual ones."""

    def layers_of(self, batch: Any) -> list[str]:
        """The layers that it will give, from the first batch."""

    def take(self, batch: Any, reduce: Callable[[str, Any], Any], at: At) -> Mapping[str, Any]:
        """The layers of a batch, each reduced at once."""


class NetworkSide:
    """The layers of a network.

    Args:
        model: any module.
        layers: addresses or patterns.
        device: where to run.
        name: what to call it; by default its class.
        allowed: what its layers may depend on beside the example.
        arranged: its batches, which know the axis of their examples.
        pooling: what is kept of its layers.
        masks: where padding is, if it is told.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] | None,
        device: torch.device,
        name: str | None,
        allowed: Allowed,
        arranged: Arranged,
        pooling: PoolingRules | None = None,
        masks: MaskRules | None = None,
    ) -> None:
        self._model = unwrap(model).to(device)
        self.name = name or type(self._model).__name__
        self._chosen = layers
        self._allowed = allowed
        self._layers: dict[str, str] = {}
        self._calls: dict[str, int] = {}
        self._shapes: dict[str, torch.Size] = {}
        self._axes: dict[str, LayerAxes] = {}
        self._arranged = arranged
        self._pooling, self._masks = pooling or PoolingRules(), masks or MaskRules()
        self._beside = unnamed(self._model, self._pooling.masks)
        self._reducer: Reducer | None = None
        self._tokens: TokenRows | None = None
        self._rows_each = 1
        self._names: set[str] = set()
        self._naming = Naming()
        self._kept = Unchanged(self._model)

    def __enter__(self) -> NetworkSide:
        self._kept.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self._kept.__exit__()

    @cached_property
    def digest(self) -> str:
        return network_digest(self._model)

    def record(self) -> dict[str, str]:
        said = {"pooling": str(self._pooling), "masks": str(self._masks)}
        found = {key: each for key, each in said.items() if each not in ("none", "")}
        return {**found, **self._axis.record()}

    def check(self, layers: Collection[str]) -> None:
        """Raise ``UsageError`` if the axis, pooling or masks were said of none of some layers."""
        self._axis.check(layers)
        self._pooling.check(layers)
        self._masks.check(layers)

    @property
    def _axis(self) -> BatchAxis:
        return self._arranged.axis

    def layers_of(self, batch: Any) -> list[str]:
        if not self._layers:
            shown, axis = without(batch, self._beside), self._axis
            with axis.fed(self._model):
                found = checked_rows(
                    self._model, shown, self._chosen, axis, self._allowed, fits=self._reduced
                )
                self._layers, self._calls = addresses_of(found), calls_of(found)
                self._axes = {name: each.axes for name, each in found.items()}
                self._reducer = self._reduction(shown)
        return list(self._layers)

    def _reduced(self, found: Mapping[str, TracedRows]) -> None:
        """Note the rows that an example gives, or raise for pooling that does not fit."""
        first, traced = next(iter(found.items()))
        self._rows_each = reduced_shape(first, traced, self._pooling)[1]

    def _reduction(self, shown: Any) -> Reducer:
        """The pooling of the layers; where padding may be in it, and nothing says, is refused."""
        told = self._masks.among(self._layers)
        axes = self._pooling.axes(self._axes)
        masks = LayerMasks(self._model, shown, self._layers, told, axes, self._allowed)
        warn_of_unused(self._model, shown, masks.used)
        masks.check(self._layers, self._pooling)
        self._tokens = token_rows(self._layers, self._pooling, masks)
        seed = f"0/{self.digest}" if "project" in str(self._pooling) else ""
        return Reducer(self._pooling, masks, self._axes, self._beside, seed, counted=True)

    def examples_of(self, batch: Any, at: At) -> Sequence[Hashable]:
        """The ids of the rows of a batch; without ids of its examples, digests of their inputs."""
        shown = without(batch, self._beside)
        ids = self._naming.ids(batch) or batch_digests(self._model, shown).tolist()
        if self._tokens is not None:
            rows: Sequence[Sequence[int]] = self._tokens.numbers(batch, at)
        elif self._rows_each > 1:
            rows = [range(self._rows_each)] * len(ids)
        else:
            return ids
        return [(each, k) for each, row in zip(ids, rows, strict=True) for k in row]

    def take(self, batch: Any, reduce: Callable[[str, Any], Any], at: At) -> Mapping[str, Any]:
        assert self._reducer is not None
        self._reducer.see(batch, at)
        kept, grad, shown = self._reducer, self._allowed.grad, without(batch, self._beside)
        warn_of_new(self._model, shown, self._names)

        def first(layer: str, x: Tensor) -> Any:
            axes = self._axes.get(layer)
            if axes is None:  # one that comes now and then
                return reduce(layer, x)
            reduced = kept(layer, axes.examples_first(x))
            shape = self._shapes.setdefault(layer, reduced.shape[1:])
            if reduced.shape[1:] != shape:
                raise other_size(layer, reduced.shape[1:], shape)
            return reduce(layer, reduced)

        with (
            self._axis.fed(self._model),
            Capture(
                self._model, self._layers, reduce=first, grad=grad, calls=self._calls
            ) as capture,
        ):
            with running(self._model, shown, at, grad=grad):
                capture.run(shown, whole=self._allowed.any)
            return capture.take(self._layers)


def placed(arranged: Arranged, loader: Any) -> Iterator[Any]:
    """Give batches with the examples first; the first of augmented images is checked.

    Raises:
        UsageError: the augmented images lie along another axis.
    """
    for k, batch in enumerate(arranged):
        if k == 0 and isinstance(loader, ShuffledLoader):
            _check_place(loader, batch, arranged.axis)
        yield batch


def at_most(examples: int | None, batches: Iterable[Any]) -> Iterator[Any]:
    """The batches before the one that would exceed a number of examples; all without one.

    Raises:
        UsageError: the number is below 1.
    """
    left = None if examples is None else count_examples(batches, examples)
    for batch in batches:
        if left is not None:
            left -= batch_size(batch)
            if left < 0:
                return
        yield batch
        if left == 0:
            return


def _check_place(loader: ShuffledLoader, batch: Any, batch_axis: BatchAxis) -> None:
    inputs, said = first_of(batch), batch_axis.of_input("")
    if not isinstance(inputs, Tensor) or len(inputs) not in inputs.shape[1:]:
        return
    axis = loader.axis
    if axis not in (None, said):
        raise UsageError(
            f"augmented images lie along axis {axis} of the inputs, not along axis {said}, though "
            f"both are {len(inputs)} long; say {BatchAxis(axis).option}"
        )


def stream(
    sides: tuple[NetworkSide, Side],
    pairs: Iterable[tuple[Any, Any]],
    total: int,
    names: Sequence[str],
    kernel: KernelLike,
    progress: Progress,
) -> SimilarityMap:
    """The map of a network and another side, from pairs of batches, one for each side."""
    # Before their own code puts networks in evaluation mode, which may merge weights.
    networks = (tuple(side.digest for side in sides if side.digest),)
    with ExitStack() as stack:
        for side in dict.fromkeys(sides):  # both may be one
            stack.enter_context(side)
        first, every = telling(pairs, lambda pair: batch_size(pair[0]))
        if first is None:
            raise DegenerateError("the loader gave no batch; expected at least one of 4 images")
        layers = [side.layers_of(part) for side, part in zip(sides, first, strict=True)]
        sides[0].check([*layers[0], *layers[1]])
        engine = MinibatchCKA(*layers, kernel=kernel)
        at = FIRST_BATCH
        for done, pair in enumerate(every, start=1):
            shown = list(zip(sides, pair, strict=True))
            examples = sides[0].examples_of(pair[0], at)  # before a network can change them
            a, b = (side.take(part, engine.reduce, at) for side, part in shown)
            engine.update(a, b, examples)
            at = at.after(pair[0])
            progress(done, max(total, done), "")
    found = engine.compute(name_a=names[0], name_b=names[1])
    record = {**found.provenance, **sides[1].record(), **sides[0].record()}
    return replace(found, networks=networks, provenance=record)


def about(result: SimilarityMap, comparison: str, **facts: Any) -> SimilarityMap:
    return replace(result, provenance={**result.provenance, "comparison": comparison, **facts})
