"""Sources of activations, as the engine reads them: named layers, one row an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from repsim.comparable import check_same_inputs, check_same_labels
from repsim.devices import float64_device
from repsim.errors import MismatchError, ShapeError, UsageError, choices


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


def as_numbers(value: Any, name: str) -> Any:
    """``value`` if it is an array or tensor of real numbers, or an array of it.

    Raises:
        UsageError: it holds complex numbers, masked entries or something else, or is sparse.
    """
    if isinstance(value, torch.Tensor):
        kind = "it is sparse" if value.layout != torch.strided else ""
        kind = "it holds complex numbers" if value.is_complex() else kind
    else:
        if hasattr(value, "tocsr"):
            raise UsageError(f"{name}: it is sparse; expected a dense array of real numbers")
        try:
            masked = np.ma.is_masked(value)
            value = value if isinstance(value, np.ndarray) else np.asarray(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: it is no array of numbers ({error})") from None
        kind = "it has masked entries" if masked else ""
        if value.dtype.kind not in "fiub":
            known = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}
            kind = f"it holds {known.get(value.dtype.kind, str(value.dtype))}"
    if kind:
        raise UsageError(f"{name}: {kind}; expected a dense array of real numbers")
    return value


def as_tensor(value: Any) -> torch.Tensor:
    """A tensor of ``value`` without its gradients, where float64 can be computed.

    NumPy views in reverse order and read-only ones, such as of memory maps, are copied, as are data
    frames.
    """
    if not isinstance(value, torch.Tensor):
        value = np.asarray(value)
        if not value.dtype.isnative:
            value = value.astype(value.dtype.newbyteorder("="))
        if value.dtype.kind == "f" and value.dtype.itemsize > 8:
            value = value.astype(np.float64)
        if any(stride < 0 for stride in value.strides) or not value.flags.writeable:
            value = value.copy()  # torch can share neither
    tensor = torch.as_tensor(value).detach()
    return tensor.to(float64_device(tensor.device))


def as_floats(value: Any) -> torch.Tensor:
    """``as_tensor`` in float64 if it is, else in float32: halves and integers as well."""
    tensor = as_tensor(value)
    return tensor if tensor.dtype == torch.float64 else tensor.float()


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
            "harvest both from the same data set and split"
        )
    if a.example_ids is None or b.example_ids is None:
        return
    differ = np.flatnonzero(a.example_ids != b.example_ids)
    if differ.size:
        i = int(differ[0])
        raise MismatchError(
            f"{a.name} and {b.name} differ in {differ.size} of {a.n} example ids, first at row "
            f"{i}: {id_text(a.example_ids[i])} against {id_text(b.example_ids[i])}; harvest both "
            "from the same data set and split"
        )
    check_same_labels(a, b)
    check_same_inputs(a, b)


def _reductions(pooling: str) -> set[str]:
    """The reductions in a rule such as ``bg1.*=grid:4,*=avg``; other networks, other patterns."""
    return {rule.rpartition("=")[2] for rule in pooling.split(",")}


def id_text(example_id: Any) -> str:
    """An example id as people read it."""
    return example_id.decode() if isinstance(example_id, bytes) else str(example_id)
