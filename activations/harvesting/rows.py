"""From the batches of a harvest to rows of its store."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from repsim.activations.capture.batches import (
    Naming,
    batch_size,
    targets_of,
    warn_of_left_out,
)
from repsim.activations.capture.faults import At
from repsim.activations.capture.layer_masks import LayerMasks
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.reducing import Reducer, other_size
from repsim.activations.harvesting.plan import HarvestPlan
from repsim.activations.harvesting.stream import WAITING_BYTES
from repsim.activations.store.format import ExampleRows, ExampleSpec, TargetSpec
from repsim.data.targets import Labelled, Target
from repsim.errors import RepsimWarning, UsageError
from repsim.repeats import are_many


class Sink(Protocol):
    """A taker of the rows of layers, such as a ``Stream``."""

    def put(self, layer: str, values: Tensor, dtype: torch.dtype) -> None:
        """Take rows of a layer, to be stored as ``dtype``."""


class HarvestRows:
    """From the batches of a harvest to the rows, ids and targets of its store.

    Args:
        plan: of the harvest.
        pooling: of the layers.
        seed: of ``project``.
        first: the first batch.
        dataset: of the loader; a set of ours knows the names of classes.
        order: the place of each example in the data set, (n,), where the loader says so.
        label_arguments: names of labels that the network takes.
        masks: of the layers, told of each batch that the network sees.
    """

    def __init__(
        self,
        plan: HarvestPlan,
        pooling: PoolingRules,
        seed: str,
        first: Any,
        dataset: Any = None,
        *,
        order: np.ndarray | None = None,
        label_arguments: Sequence[str] = (),
        masks: LayerMasks,
    ) -> None:
        self.plan = plan
        #: Memory between the network and the file: room for two of the largest layer's batches.
        self.waiting_bytes = _waiting_bytes(plan, batch_size(first))
        self._reducer = Reducer(
            pooling, masks, plan.axes, plan.masks, seed, counted=plan.tokens is not None
        )
        self._order = order
        self._label_arguments = label_arguments
        self._labels_left_out = warn_of_left_out(first, label_arguments)
        own = dataset if isinstance(dataset, Labelled) else None
        self.spec = ExampleSpec(
            _specs(targets_of(first, label_arguments), () if own is None else own.targets),
            "" if own is None else own.chosen,
            inputs=True,
            order=order is not None,
        )
        self._seen: set[str] = set()
        self._naming = Naming()
        self._digests: list[np.ndarray] = []

    def shown(self, batch: Any, at: At) -> Any:
        """Take the masks of a batch; return its entries for the network, which runs next."""
        self._reducer.see(batch, at)
        return self.plan.fed(batch)

    def into(self, stream: Sink) -> Callable[[str, Tensor], None]:
        """A hook's reduction: what a layer gives, reduced, goes into the stream."""
        dtypes = {name: getattr(torch, spec.dtype) for name, spec in self.plan.layers.items()}

        def take(layer: str, values: Tensor) -> None:
            values = self.plan.axes[layer].examples_first(values)
            reduced = self._reducer(layer, values)
            reduced = reduced.unsqueeze(1) if reduced.ndim == 1 else reduced
            expected = self.plan.layers[layer].shape
            if tuple(reduced.shape[1:]) != expected:
                raise other_size(layer, reduced.shape[1:], expected)
            stream.put(layer, reduced, dtypes[layer])

        return take

    def ids(self, batch: Any, begin: int) -> list[str]:
        """An id for every row of a batch, whose first example is number ``begin``."""
        count = batch_size(batch)
        given = self._naming.ids(batch)
        ids = list(map(str, range(begin, begin + count))) if given is None else given
        for each in ids:
            if each in self._seen:
                raise UsageError(
                    f"example id {each!r} comes twice; expected an id of its own each, and each "
                    "example once: no sampler with replacement, and no loader read twice over"
                )
            self._seen.add(each)
        if self.plan.rows_each == 1 and self.plan.tokens is None:
            return ids
        numbers = self._numbers(batch)
        return [f"{each}#{k}" for each, row in zip(ids, numbers, strict=True) for k in row]

    def read(self, digests: np.ndarray) -> None:
        """Take note of the digests of the inputs of a batch."""
        self._digests.append(digests)

    def warn_of_repeats(self) -> None:
        """Warn of examples that the loader gave several times, by the digests of their inputs."""
        digests = np.concatenate(self._digests)
        n, different = len(digests), len(np.unique(digests))
        if are_many(n, different):
            warnings.warn(
                f"the {n:,} examples of the loader have {different:,} different inputs; does it "
                "give them several times? Each worker of a DataLoader (num_workers) reads the "
                "whole of an IterableDataset that does not share itself out (get_worker_info)",
                RepsimWarning,
                stacklevel=5,
            )

    def counts(self, batch: Any) -> np.ndarray:
        """The rows that each example of a batch gives."""
        return np.array([len(row) for row in self._numbers(batch)], np.int64)

    def _numbers(self, batch: Any) -> Sequence[Sequence[int]]:
        """The numbers of the positions, or tokens, of each example that are its rows."""
        if self.plan.tokens is not None:
            return self.plan.tokens.numbers(batch)
        return [range(self.plan.rows_each)] * batch_size(batch)

    def examples(
        self, batch: Any, begin: int, ids: Sequence[str], digests: np.ndarray
    ) -> ExampleRows:
        """The record of the rows of a batch, whose first example is number ``begin``."""
        each = self.counts(batch)
        order = None if self._order is None else self._order[begin : begin + len(digests)]
        return ExampleRows(
            ids,
            {name: values.repeat(each, axis=0) for name, values in self._targets(batch).items()},
            digests.repeat(each),
            None if order is None else order.repeat(each),
        )

    def _targets(self, batch: Any) -> dict[str, np.ndarray]:
        if self._labels_left_out:
            return {}
        found = targets_of(batch, self._label_arguments)
        told = {each.name: each.columns for each in self.spec.targets}
        came = {name: v.shape[1] if v.ndim == 2 else None for name, v in found.items()}
        if came != told:
            raise UsageError(
                f"the first batch came {_listed(told)} and a later one {_listed(came)}; expected "
                "the same labels with all or with none"
            )
        return found


def _specs(found: Mapping[str, np.ndarray], known: Sequence[Target]) -> tuple[TargetSpec, ...]:
    """The targets of a batch; names of classes are those of the data set."""
    classes = {each.name: each.classes for each in known}
    return tuple(
        TargetSpec(name, v.shape[1] if v.ndim == 2 else None, classes.get(name, ()))
        for name, v in found.items()
    )


def _listed(targets: Mapping[str, int | None]) -> str:
    if not targets:
        return "without labels"
    each = (f"{name} of {k} columns" if k else name for name, k in targets.items())
    return f"with {', '.join(each)}"


def _waiting_bytes(plan: HarvestPlan, batch: int) -> int:
    largest = max(spec.row_bytes for spec in plan.layers.values()) * batch * plan.rows_each
    return max(min(WAITING_BYTES, plan.bytes), 2 * largest)
