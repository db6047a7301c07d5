"""Reading activation stores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from repsim.activations.store.blocks import StoredLayer, is_bfloat16, raw_rows
from repsim.activations.store.checksums import header_checksum, rows_checksum
from repsim.activations.store.format import (
    ExampleRows,
    text_of,
)
from repsim.activations.store.opening import (
    check_progress,
    find_checksums,
    find_heads,
    find_inputs,
    find_layers,
    find_order,
    find_targets,
    is_whole,
    open_file,
    read_ids,
)
from repsim.activations.store.shown import layers_as_html
from repsim.activations.store.values import order_values, target_values
from repsim.data.targets import Target, check_target, not_a_class
from repsim.errors import StoreError, UsageError, choices
from repsim.progress import Progress, notebook_bar
from repsim.reading import DAMAGE, Damaged, damage, parse_json, reason_of


class ActivationStore:
    """A harvested file, open for reading; an ``ActivationSource`` that closes with its block.

    ``store["stem"][100:200]`` reads rows of a layer as a NumPy array.

    Args:
        path: of the file.
        name: of the network; by default as its provenance says.
        target: the one that ``labels`` are of; by default as the file says.
    """

    _targets: dict[str, h5py.Dataset]
    _chosen: str

    def __init__(
        self, path: str | os.PathLike[str], *, name: str | None = None, target: str = ""
    ) -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            with damage(self.path):
                self._read_all_but_rows()
            check_target(str(self.path), target, list(self._targets))
            self._chosen = target or self._chosen
            self._name = str(name or self.provenance().get("network") or self.path.stem)
        except (StoreError, UsageError):
            self._file.close()
            raise

    def _read_all_but_rows(self) -> None:
        if not is_whole(self._file):
            raise StoreError(f"{self.path} is not whole: its harvest did not end, or it is damaged")
        self._ids = read_ids(self._file)
        check_progress(self._file, self.n)
        self._layers = find_layers(self._file, self.n)
        self._heads = find_heads(self._file, self._layers)
        self._sums = find_checksums(self._file, self._layers)
        self._targets, self._chosen = find_targets(self._file, self.n)
        self._inputs = find_inputs(self._file, self.n)
        self._order = find_order(self._file, self.n)
        if not isinstance(self.provenance(), dict):
            raise Damaged("its provenance is no JSON object")

    @property
    def name(self) -> str:
        return self._name

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._layers)

    @property
    def n(self) -> int:
        return len(self._ids)

    @property
    def example_ids(self) -> np.ndarray:
        return self._ids

    @property
    def version(self) -> int:
        """Of the format."""
        return int(self._file.attrs["format_version"])

    @property
    def is_open(self) -> bool:
        """True until the file is closed."""
        return bool(self._file)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets of the examples, in order; a class that has no name has no entry."""
        with damage(self.path):
            return tuple(_target(name, dataset) for name, dataset in self._targets.items())

    @property
    def target(self) -> str:
        """Name of the target that ``labels`` are of; empty where there is none."""
        return self._chosen

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) int64 class of each example by the chosen target, or None.

        Raises:
            UsageError: the chosen target is rows of zeros and ones.
        """
        if not self._targets:
            return None
        chosen = self._targets[self._chosen]
        if chosen.ndim == 2:
            classes = [name for name, each in self._targets.items() if each.ndim == 1]
            raise not_a_class(str(self.path), self._chosen, classes)
        with damage(self.path):
            return target_values(chosen)

    @property
    def inputs(self) -> np.ndarray | None:
        """(n,) uint64 digest of the inputs of each example as the network read them, or None."""
        with damage(self.path):
            return None if self._inputs is None else self._inputs[:]

    @property
    def order(self) -> np.ndarray | None:
        """(n,) int64 place of each example in the data set of its loader, or None."""
        with damage(self.path):
            return None if self._order is None else order_values(self._order)

    def examples(self, start: int, stop: int) -> ExampleRows:
        """The record of the examples from ``start`` to ``stop``, as a writer takes it."""
        rows = slice(start, stop)
        with damage(self.path):
            return ExampleRows(
                [each.decode() for each in self._ids[rows]],
                {name: dataset[rows] for name, dataset in self._targets.items()},
                None if self._inputs is None else self._inputs[rows],
                None if self._order is None else self._order[rows],
            )

    @property
    def heads(self) -> dict[str, dict[str, Any]]:
        """Linear heads by address: ``weight``, ``bias`` (or None) and ``input``, the layer fed."""
        with damage(self.path):
            return {
                address: {
                    "weight": group["weight"][:],
                    "bias": group["bias"][:] if "bias" in group else None,
                    "input": text_of(group, "input"),
                }
                for address, group in self._heads.items()
            }

    @property
    def blocks(self) -> int:
        """Blocks of rows that have a checksum; 0 in a store of version 1."""
        return sum(len(sums) for sums in self._sums.values())

    def __getitem__(self, layer: str) -> StoredLayer:
        if layer not in self._layers:
            raise UsageError(f"{self.name} has no layer {layer!r}; {choices(layer, self._layers)}")
        return StoredLayer([self._layers[layer]], f"{self.path}, layer {layer!r}")

    def rows(self, layer: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop`` of a layer, (stop - start, ...), bfloat16 as float32."""
        return self[layer][start:stop]

    def provenance(self) -> dict[str, Any]:
        """A record of where the activations come from; JSON values."""
        return parse_json(text_of(self._file, "provenance"))

    def describe(self) -> list[dict[str, Any]]:
        """A record a layer: address, module, shape, axes, dtype, bytes."""
        return [
            {
                "layer": layer,
                "module": text_of(dataset, "module"),
                "shape": tuple(int(size) for size in dataset.shape),
                "axes": text_of(dataset, "axes"),
                "dtype": "bfloat16" if is_bfloat16(dataset) else dataset.dtype.name,
                "bytes": dataset.size * dataset.id.get_type().get_size(),
            }
            for layer, dataset in self._layers.items()
        ]

    def verify(self, progress: Progress = notebook_bar) -> list[str]:
        """Parts without the checksum that was written with them, in words; [] if all is well.

        And values beside the rows that the format does not allow, such as classes below 0.

        Args:
            progress: told the blocks read.

        Raises:
            StoreError: a store of version 1, which has no checksums.
        """
        if not self.blocks:
            raise StoreError(
                f"{self.path} has no checksums: it is of format version 1; harvest it again for "
                "one that can be verified"
            )
        faults = []
        try:
            if int(self._file["checksums"].attrs["header"]) != header_checksum(self._file):
                faults.append("header: the provenance, ids, labels, heads or attributes differ")
        except DAMAGE as error:
            faults.append(f"header: it cannot be read ({error})")
        faults += self.faults_of_values()
        done = 0
        for layer, dataset in self._layers.items():
            for fault in _verify(layer, dataset, self._sums[layer]):
                done += 1
                progress(done, self.blocks, layer)
                faults += [fault] if fault else []
        return faults

    def faults_of_values(self) -> list[str]:
        """The faults of targets, digests and places, which are read whole."""
        try:
            for target in self._targets.values():
                target_values(target)
            if self._order is not None:
                order_values(self._order)
            if self._inputs is not None:
                self._inputs[:]
        except DAMAGE as error:
            return [f"values: {reason_of(error)}"]
        return []

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()

    def __enter__(self) -> ActivationStore:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        return layers_as_html(repr(self), self.describe() if self.is_open else ())

    def __repr__(self) -> str:
        return f"ActivationStore({str(self.path)!r}, n={self.n}, layers={len(self._layers)})"


def _target(name: str, dataset: h5py.Dataset) -> Target:
    values = torch.from_numpy(target_values(dataset))
    names = parse_json(text_of(dataset, "classes")) if "classes" in dataset.attrs else []
    if dataset.ndim == 2 and not names:
        names = map(str, range(dataset.shape[1]))
    return Target(name, values, tuple(names))


def _verify(layer: str, dataset: h5py.Dataset, sums: h5py.Dataset) -> Iterator[str | None]:
    """The fault of each block of a layer, in words, or None."""
    block = int(sums.attrs["rows"])
    for k in range(len(sums)):
        start, stop = k * block, min((k + 1) * block, len(dataset))
        where = f"layer {layer!r}, rows {start} to {stop}"
        try:
            found = rows_checksum(raw_rows(dataset, start, stop))
            yield None if found == int(sums[k]) else f"{where}: not what was written"
        except DAMAGE as error:
            yield f"{where}: cannot be read ({error})"


@contextmanager
def closed_by_errors(store: ActivationStore) -> Iterator[None]:
    """A block that checks a store, which is closed if the block raises and stays open otherwise."""
    try:
        yield
    except BaseException:
        store.close()
        raise
