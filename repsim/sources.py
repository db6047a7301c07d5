"""Sources of activations, as the engine reads them: named layers, one row an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from repsim.comparable import check_same_inputs, check_same_labels, shared_places
from repsim.dense import as_numbers
from repsim.devices import float64_device
from repsim.errors import MismatchError, ShapeError, UsageError, choices
from repsim.names import check_rows, row_names


@runtime_checkable
class ActivationSource(Protocol):
    """Activations of n examples at named layers, readable by blocks of rows."""

    @property
    def name(self) -> str:
        """The name of the source in a table or a figure."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer addresses in order of execution."""

    @property
    def n(self) -> int:
        """Number of examples."""

    @property
    def example_ids(self) -> np.ndarray | None:
        """(n,) identifiers of the examples, or None where the source has none."""

    def rows(self, layer: str, start: int, stop: int) -> Any:
        """Rows start..stop of a layer: array or tensor (stop - start, ...)."""

    def provenance(self) -> dict[str, Any]:
        """A record of where the activations come from; JSON values."""


class ArraySource:
    """A dict of arrays or tensors as an ``ActivationSource``.

    Args:
        arrays: layer name to array or tensor (n, ...); all of the same n.
        name: what to call it.
        example_ids: (n,) identifiers, if the examples have them.

    Raises:
        ShapeError: no layer, a layer of fewer than two dimensions, or layers of different n.
        MismatchError: data frames whose rows have the same names in another order.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        name: str = "arrays",
        example_ids: Sequence[Any] | np.ndarray | None = None,
    ) -> None:
        if not arrays:
            raise ShapeError("no layers arrived; expected a dict of layer name to array (n, p)")
        self._arrays = {layer: as_numbers(array, layer) for layer, array in arrays.items()}
        named = {layer: row_names(array) for layer, array in arrays.items()}
        check_rows(named)
        self.row_names = next((names for names in named.values() if names is not None), None)
        self._name = name
        self._ids = None if example_ids is None else np.asarray(example_ids)
        if self._ids is not None and len(self._ids) != self.n:
            raise ShapeError(f"{len(self._ids)} example_ids came with {self.n} rows")
        first = next(iter(self._arrays))
        for layer, array in self._arrays.items():
            if array.ndim < 2:
                raise ShapeError(
                    f"layer {layer!r} has shape {tuple(array.shape)}; expected (n, p) or more"
                )
            if len(array) != self.n:
                raise ShapeError(
                    f"layer {layer!r} has {len(array)} rows, {first!r} has {self.n}; "
                    "were both taken from the same examples?"
                )

    @property
    def name(self) -> str:
        return self._name

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._arrays)

    @property
    def n(self) -> int:
        return len(next(iter(self._arrays.values())))

    @property
    def example_ids(self) -> np.ndarray | None:
        return self._ids

    @property
    def device(self) -> torch.device:
        """The device to compute on: the first tensor's, or the CPU for arrays."""
        tensors = (array for array in self._arrays.values() if isinstance(array, torch.Tensor))
        return float64_device(next((tensor.device for tensor in tensors), "cpu"))

    def rows(self, layer: str, start: int, stop: int) -> Any:
        if layer not in self._arrays:
            raise UsageError(f"{self._name} has no layer {layer!r}; {choices(layer, self._arrays)}")
        return self._arrays[layer][start:stop]

    def provenance(self) -> dict[str, Any]:
        return {"source": self._name, "n": self.n}


def as_source(value: Any, name: str) -> ActivationSource:
    """``value`` if it is a source, or a source of the arrays in a dict.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(value, dict):
        return ArraySource(value, name=name)
    if not isinstance(value, ActivationSource):
        raise UsageError(
            f"{name} is a {type(value).__name__}; expected a dict of layer name to array, or an "
            "open store (repsim.open_store)"
        )
    return value


def check_comparable(a: ActivationSource, b: ActivationSource) -> None:
    """Raise ``MismatchError`` unless a and b hold the same examples in the same order, reduced
    in the same ways.

    Where ids are equal, so must be the labels and the digests of the inputs, where both have them.

    Warns:
        RepsimWarning: inputs that another preprocessing may have changed.
    """
    pooling = [str(source.provenance().get("pooling", "none")) for source in (a, b)]
    if _reductions(pooling[0]) != _reductions(pooling[1]):
        raise MismatchError(
            f"{a.name} was harvested with pooling {pooling[0]}, {b.name} with pooling "
            f"{pooling[1]}; harvest both in the same way"
        )
    if a.n != b.n:
        raise MismatchError(
            f"{a.name} has {a.n} examples, {b.name} has {b.n}; "
            f"harvest both from the same data set and split{_or_common(a, b)}"
        )
    names = (a.name, b.name) if a.name != b.name else ("a", "b")
    rows = [getattr(source, "row_names", None) for source in (a, b)]
    check_rows(dict(zip(names, rows, strict=True)))
    if a.example_ids is None or b.example_ids is None:
        return
    differ = np.flatnonzero(a.example_ids != b.example_ids)
    if differ.size:
        i = int(differ[0])
        raise MismatchError(
            f"{a.name} and {b.name} differ in {differ.size} of {a.n} example ids, first at row "
            f"{i}: {id_text(a.example_ids[i])} against {id_text(b.example_ids[i])}; harvest both "
            f"from the same data set and split{_or_common(a, b)}"
        )
    check_same_labels(a, b)
    check_same_inputs(a, b)


def _reductions(pooling: str) -> set[str]:
    """The reductions in a rule such as ``bg1.*=grid:4,*=avg``; other networks, other patterns."""
    return {rule.rpartition("=")[2] for rule in pooling.split(",")}


def _or_common(a: ActivationSource, b: ActivationSource) -> str:
    """The remedy where both have some examples in common."""
    try:
        shared = len(shared_places(a, b)[0])
    except MismatchError:
        return ""
    return f", or compare the {shared} that both have: --common (repsim.common_examples)"


def id_text(example_id: Any) -> str:
    """An example id as people read it."""
    return example_id.decode() if isinstance(example_id, bytes) else str(example_id)
