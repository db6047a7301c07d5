"""Layers on their way into a store, and what comes with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from repsim.data.targets import LABEL
from repsim.dense import as_numbers
from repsim.errors import NonFiniteError, StoreError
from repsim.reading import DAMAGE, reason_of


@dataclass(frozen=True)
class Incoming:
    """A layer on its way into a store.

    Attributes:
        shape: (n, ...).
        dtype: as ``LayerSpec`` names it.
        read: gives rows start to stop; called in order, from the first row to the last.
        module: class of the module, where an export said it.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[int, int], Any]
    module: str = ""


@dataclass
class Found:
    """The content of the sources.

    Attributes:
        layers: by address.
        ids: names of the examples, or None.
        targets: values by name.
        classes: names of the classes of some targets.
        inputs: digests of the inputs, or None.
        order: places in the data set of a loader, or None.
        provenance: of an export.
        labels: name of the target that readers take as labels; empty for the first.
    """

    layers: dict[str, Incoming]
    ids: Any = None
    targets: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: np.ndarray | None = None
    order: np.ndarray | None = None
    provenance: Mapping[str, Any] | None = None
    labels: str = ""

    def take_labels(self, labels: Any) -> None:
        """Put labels in the place of those found, as the first target and that of readers."""
        others = {name: value for name, value in self.targets.items() if name != LABEL}
        self.targets, self.labels = {LABEL: labels, **others}, LABEL


def from_array(value: Any, layer: str) -> Incoming:
    """A layer from an array or a tensor."""
    numbers = as_numbers(value, layer)
    if isinstance(numbers, torch.Tensor):
        numbers = numbers.detach()
    return Incoming(
        tuple(numbers.shape), dtype_name(numbers.dtype), lambda start, stop: numbers[start:stop]
    )


def dtype_name(given: Any) -> str:
    """Name of the number type by which a store holds another."""
    name = str(given).removeprefix("torch.") if isinstance(given, torch.dtype) else given.name
    if name == "bool":
        return "uint8"
    if name.startswith("float") and name not in ("float16", "float32", "float64"):
        return "float64" if "float8" not in name else "float32"
    return name


def as_stored(incoming: Incoming, start: int, stop: int, layer: str) -> np.ndarray:
    """Rows as a ``StoreWriter`` takes them.

    Raises:
        NonFiniteError: NaN or infinity among them.
        StoreError: a source that is cut short, or damaged.
    """
    try:
        rows = incoming.read(start, stop)
    except DAMAGE as error:
        raise StoreError(f"layer {layer!r} cannot be read: {reason_of(error)}") from error
    if isinstance(rows, torch.Tensor):
        rows = rows.cpu().to(getattr(torch, incoming.dtype))
        finite = bool(torch.isfinite(rows).all())
        rows = (rows.view(torch.uint16) if incoming.dtype == "bfloat16" else rows).numpy()
    else:
        rows = np.asarray(rows).astype(incoming.dtype, copy=False)
        finite = bool(np.isfinite(rows).all())
    if not finite:
        raise NonFiniteError(f"layer {layer!r} has NaN or infinity; leave it out with --layers")
    return np.ascontiguousarray(rows)
