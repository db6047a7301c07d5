"""Arrays and tensors as they arrive: dense, with all their values, of real numbers; or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from repsim.devices import float64_device
from repsim.errors import ShapeError, UsageError

#: Types of the parts of a list that are no numbers themselves.
_PARTS = (torch.Tensor, np.ndarray, list, tuple)

#: The CPU in the numbering of DLPack.
_DLPACK_CPU = 1

#: A remedy for labels that are no numbers, or too large ones.
NUMBERED = "number the classes, as numpy.unique(labels, return_inverse=True)[1] does"


def as_numbers(value: Any, name: str) -> Any:
    """``value`` if it is an array or tensor of real numbers, or an array of it.

    Raises:
        UsageError: it holds complex numbers, masked entries or something else, or is no dense
            array with values: sparse, nested, quantised, on the device "meta".
    """
    value = as_dense(value, name)
    if isinstance(value, torch.Tensor):
        kind = "it holds complex numbers" if value.is_complex() else ""
    elif value.dtype.kind not in "fiub":
        kind = f"it holds {_other_values(value.dtype)}"
    else:
        kind = ""
    if kind:
        raise UsageError(f"{name}: {kind}; expected a dense array of real numbers")
    return value


def _other_values(dtype: np.dtype[Any]) -> str:
    """The values of a type that is no real number, with a remedy where one is known."""
    if dtype.kind == "V" and dtype.names is None:
        return (
            f"values without a type ({dtype}), as numpy.save leaves bfloat16 and float8 (save them "
            "after .astype(numpy.float32))"
        )
    known = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}
    return known.get(dtype.kind, str(dtype))


def as_dense(value: Any, name: str) -> Any:
    """``value`` if it is a tensor or array with a value in each place, or an array of it.

    Raises:
        UsageError: it is not, or cannot be an array.
    """
    kind, remedy = _lacking(value)
    if kind:
        raise UsageError(
            f"{name}: it {kind}; expected a dense array of real numbers: {remedy} first"
        )
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value
    try:
        if _is_shared_alone(value):
            return _from_dlpack(value)
        if dtypes := _nullable(value):
            return value.to_numpy(dtype=np.result_type(*dtypes))
        return np.asarray(value)
    except (AssertionError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{name}: it is no array of numbers ({error})") from None


def _is_shared_alone(value: Any) -> bool:
    """True of an array that only DLPack hands on where it lies, as those on a GPU.

    For NumPy, JAX would copy it to the CPU, and CuPy refuses to.
    """
    if not hasattr(value, "__dlpack__"):
        return False
    on_cpu = value.__dlpack_device__()[0] == _DLPACK_CPU
    return not (on_cpu and hasattr(value, "__array__"))


def _from_dlpack(value: Any) -> Any:
    """A tensor that shares its memory, or an array where torch has no device of this kind."""
    try:
        return torch.from_dlpack(value)
    except (AssertionError, BufferError, RuntimeError):
        if not hasattr(value, "__array__"):
            raise
        return np.asarray(value)


def _nullable(value: Any) -> list[np.dtype[Any]]:
    """The types of the columns of a pandas object where all are numbers, and some nullable.

    NumPy would make Python objects of nullable ones (``Int64``, ``Float64``, ``boolean``).
    """
    if not hasattr(value, "to_numpy") or not hasattr(value, "isna"):
        return []
    given = [value.dtype] if hasattr(value, "dtype") else list(value.dtypes)
    found = [getattr(dtype, "numpy_dtype", dtype) for dtype in given]
    if found == given or any(getattr(dtype, "kind", "O") not in "fiub" for dtype in found):
        return []
    return [np.dtype(dtype) for dtype in found]


def _lacking(value: Any) -> tuple[str, str]:
    """The reason why an array has no value in each of its places, and how to get one; or empty."""
    if isinstance(value, torch.Tensor):
        return _lacking_tensor(value)
    if hasattr(value, "tocsr"):
        return "is sparse", "call .toarray()"
    if isinstance(value, (list, tuple)):
        parts = (each for each in value if isinstance(each, _PARTS) or hasattr(each, "tocsr"))
        return next((found for each in parts if (found := _lacking(each))[0]), ("", ""))
    if np.ma.is_masked(value):
        return "has masked entries", "fill them or leave them out"
    if _nullable(value) and np.any(value.isna()):
        return "has missing entries (pandas.NA)", "fill them or leave them out"
    return "", ""


def _lacking_tensor(value: torch.Tensor) -> tuple[str, str]:
    if type(value).__name__ == "MaskedTensor":
        return "has masked entries", "fill them or leave them out"
    if value.is_nested:
        return "is nested", "average or pad each part"
    if value.is_quantized:
        return "is quantised", "call .dequantize()"
    if value.is_meta:
        return 'has no values (device "meta")', "load or compute them"
    if value.layout != torch.strided:
        known = "is sparse" if "sparse" in str(value.layout) else f"is laid out as {value.layout}"
        return known, "call .to_dense()"
    return "", ""


def is_sparse(value: Any) -> bool:
    """True for a tensor of torch that holds the places of its values, such as an adjacency."""
    return isinstance(value, torch.Tensor) and "sparse" in str(value.layout)


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


def check_numbered(value: Any, name: str) -> None:
    """Raise ``UsageError`` for labels that are texts, with the way to number them."""
    given = as_dense(value, name)
    kind = getattr(given.dtype, "kind", "")
    texts = kind in ("U", "S") or (kind == "O" and any(isinstance(x, str) for x in given.flat))
    if texts and given.size:
        shown = str(given.flat[0])
        raise UsageError(
            f"{name}: it holds text; expected whole numbers, not {shown!r}: {NUMBERED}"
        )


def as_labels(value: Any, name: str) -> torch.Tensor:
    """Whole numbers as int64; fractions stay as they are, for the caller to refuse.

    Raises:
        UsageError: no dense array of numbers.
        ShapeError: numbers that int64 does not hold, and would make negative.
    """
    check_numbered(value, name)
    given = as_numbers(value, name)
    if str(given.dtype).endswith("uint64") and given.shape[0]:
        largest = int(np.asarray(given).max())
        if largest >= 1 << 63:
            raise ShapeError(
                f"{name} run to {largest}; expected whole numbers below 2^63: {NUMBERED}"
            )
    labels = as_tensor(given)
    return labels if labels.is_floating_point() else labels.long()
