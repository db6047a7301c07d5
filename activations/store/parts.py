"""Stores of one network whose rows follow one another, as one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsim.activations.store.blocks import StoredLayer
from repsim.activations.store.format import ExampleSpec, LayerSpec, TargetSpec
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.shown import layers_as_html
from repsim.activations.store.writer import write_store
from repsim.data.targets import Target
from repsim.errors import MismatchError, UsageError, choices
from repsim.progress import Progress, notebook_bar

#: Provenance that parts of one store have in common.
_SAME = (
    "network",
    "weights_sha256",
    "checkpoint_sha256",
    "pooling",
    "batch_axis",
    "dtype",
    "seed",
)


class JoinedStore:
    """Several stores of one network, in order, as an ``ActivationStore`` would be of all examples.

    Args:
        paths: of the stores.
        name: of the whole; by default that of the first.
        target: the one that ``labels`` are of; by default as the first says.

    Raises:
        MismatchError: other networks, reductions or layers, or an example that comes twice.
        StoreError: one of them cannot be opened.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        name: str | None = None,
        target: str = "",
    ) -> None:
        with ExitStack() as opened:
            self.parts = [
                opened.enter_context(ActivationStore(path, target=target)) for path in paths
            ]
            if not self.parts:
                raise UsageError("no stores were given; expected at least one")
            for part in self.parts[1:]:
                _check_part(self.parts[0], part)
            self._ids = np.concatenate([part.example_ids for part in self.parts])
            ids, counts = np.unique(self._ids, return_counts=True)
            if (counts > 1).any():
                raise MismatchError(
                    f"example {ids[counts > 1][0].decode()!r} is in more than one of the stores; "
                    "expected parts without common examples"
                )
            self._opened = opened.pop_all()
        self._name = name or self.parts[0].name

    @property
    def path(self) -> Path:
        """Of the first part."""
        return self.parts[0].path

    @property
    def name(self) -> str:
        return self._name

    @property
    def layers(self) -> tuple[str, ...]:
        return self.parts[0].layers

    @property
    def n(self) -> int:
        return len(self._ids)

    @property
    def example_ids(self) -> np.ndarray:
        return self._ids

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) int64 class of each example, or None."""
        if self.target not in [each.name for each in self.targets]:
            return None
        return np.concatenate([part.labels for part in self.parts])

    @property
    def target(self) -> str:
        """Name of the target that ``labels`` are of; empty where there is none."""
        return self.parts[0].target

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that all parts have, with the same classes."""
        each = [{target.name: target for target in part.targets} for part in self.parts]
        return tuple(
            Target(name, torch.cat([part[name].values for part in each]), target.classes)
            for name, target in each[0].items()
            if all(name in part and _alike(part[name], target) for part in each)
        )

    @property
    def inputs(self) -> np.ndarray | None:
        """(n,) uint64 digest of the inputs of each example; None where a part has none."""
        return _joined([part.inputs for part in self.parts])

    @property
    def order(self) -> np.ndarray | None:
        """(n,) int64 place in the data set of the loader; None where a part has none."""
        return _joined([part.order for part in self.parts])

    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """Linear heads, as in ``ActivationStore``."""
        return self.parts[0].heads

    def __getitem__(self, layer: str) -> StoredLayer:
        if layer not in self.layers:
            raise UsageError(f"{self.name} has no layer {layer!r}; {choices(layer, self.layers)}")
        return StoredLayer(
            [data for part in self.parts for data in part[layer].parts],
            f"layer {layer!r} of {self.name}",
        )

    def rows(self, layer: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` of a layer, (stop - start, ...), bfloat16 as float32."""
        return self[layer][start:stop]

    def provenance(self) -> dict[str, Any]:
        """The provenance of the first part; where others differ, a list of all."""
        each = [part.provenance() for part in self.parts]
        joined = {
            key: value
            if all(other.get(key) == value for other in each)
            else [other.get(key) for other in each]
            for key, value in each[0].items()
        }
        return {**joined, "n": self.n, "batch_size": each[0].get("batch_size")}

    def describe(self) -> list[dict[str, Any]]:
        """A record a layer: address, module, shape, axes, dtype, bytes."""
        records = self.parts[0].describe()
        for record in records:
            record["bytes"] = record["bytes"] // self.parts[0].n * self.n
            record["shape"] = (self.n, *record["shape"][1:])
        return records

    @property
    def blocks(self) -> int:
        """Blocks of rows that have a checksum."""
        return sum(part.blocks for part in self.parts)

    def verify(self, progress: Progress = notebook_bar) -> list[str]:
        """Faults against the checksums, in words, as in ``ActivationStore``."""
        faults, before = [], 0
        for part in self.parts:

            def report(done: int, total: int, note: str, before: int = before) -> None:
                progress(before + done, self.blocks, note)

            faults += [f"{part.path}: {fault}" for fault in part.verify(report)]
            before += part.blocks
        return faults

    def close(self) -> None:
        """Close all files."""
        self._opened.close()

    def __enter__(self) -> JoinedStore:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        return layers_as_html(repr(self), self.describe() if self.parts[0].is_open else ())

    def __repr__(self) -> str:
        return f"JoinedStore({len(self.parts)} parts, n={self.n}, layers={len(self.layers)})"


def open_store(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    target: str = "",
) -> ActivationStore | JoinedStore:
    """Open an activation store for reading, or several parts of one as one.

    Args:
        path: of the store, or of its parts in order.
        target: the one that ``labels`` are of; by default as the file says.

    Raises:
        UsageError: there is no such target.
        StoreError: absent, unfinished, damaged, or not a store.
        MismatchError: parts that do not belong together.
    """
    if isinstance(path, (str, os.PathLike)):
        return ActivationStore(path, target=target)
    return JoinedStore(path, target=target)


def join_stores(
    paths: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    compression: str = "none",
) -> None:
    """Write one store of all examples of several; the errors are those of ``JoinedStore``."""
    with JoinedStore(paths) as joined:
        layers = {
            each["layer"]: LayerSpec(each["module"], each["shape"][1:], each["dtype"], each["axes"])
            for each in joined.describe()
        }
        targets = [each.name for each in joined.targets]
        with write_store(
            target,
            n=joined.n,
            layers=layers,
            examples=ExampleSpec(
                tuple(map(TargetSpec.of, joined.targets)),
                joined.target if joined.target in targets else "",
                joined.inputs is not None,
                joined.order is not None,
            ),
            heads=joined.heads,
            provenance=joined.provenance(),
            resume=False,
            compression=compression,
        ) as writer:
            for part in joined.parts:
                writer.extend(part)


def _alike(a: Target, b: Target) -> bool:
    return a.classes == b.classes and a.values.shape[1:] == b.values.shape[1:]


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    found = [each for each in parts if each is not None]
    return np.concatenate(found) if len(found) == len(parts) else None


def _check_part(first: ActivationStore, part: ActivationStore) -> None:
    """Raise ``MismatchError`` unless both can be parts of one store."""
    ours, theirs = first.provenance(), part.provenance()
    for key in _SAME:
        if ours.get(key) != theirs.get(key):
            raise MismatchError(
                f"{first.path} and {part.path} are not parts of one store: {key} is "
                f"{ours.get(key)!r} and {theirs.get(key)!r}"
            )
    shapes = [
        {each["layer"]: (*each["shape"][1:], each["dtype"]) for each in store.describe()}
        for store in (first, part)
    ]
    if shapes[0] != shapes[1]:
        other = sorted(
            name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name)
        )
        raise MismatchError(
            f"{first.path} and {part.path} are not parts of one store: layer {other[0]!r} differs"
        )
