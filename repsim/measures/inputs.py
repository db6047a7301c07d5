"""Two layers as the measures take them: checked, in float64, centred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.dense import as_numbers, as_tensor
from repsim.errors import DegenerateError, NonFiniteError, ShapeError
from repsim.measures.prepare import check_rows_vary
from repsim.names import check_rows, row_names

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of one layer, one row an example."""

    name: str  #: the argument they arrived in
    values: Float[Tensor, "n p"]
    epsilon: float  #: of the dtype they arrived in; halves and integers count as float32


def as_array(value: Any, name: str) -> Any:
    """``value`` as an array or tensor (n, ...) of real numbers.

    Raises:
        UsageError: it holds complex numbers, masked entries or something else, or is sparse.
        ShapeError: it has fewer than two dimensions.
    """
    array = as_numbers(value, name)
    if array.ndim < 2:
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}; expected (n, p), one row an example"
        )
    return array


def as_arrays(x: Any, y: Any) -> dict[str, Any]:
    """``as_array`` of x and of y, by name.

    Raises:
        UsageError: x or y is no dense array of real numbers.
        ShapeError: fewer than two dimensions.
        MismatchError: data frames whose rows have the same names in another order.
    """
    given = {"x": x, "y": y}
    check_rows({name: row_names(value) for name, value in given.items()})
    return {name: as_array(value, name) for name, value in given.items()}


def read_pair(x: Any, y: Any, *, centre: bool = True) -> tuple[Activations, Activations]:
    """x and y in float64, flattened and centred, where the first tensor among them lies.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4.
        y: (n, q) or (n, ...); the same examples in the same order.
        centre: whether to subtract the mean of every feature.

    Raises:
        UsageError: x or y is no dense array of real numbers.
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        MismatchError: data frames whose rows have the same names in another order.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, or a constant layer.
    """
    arrays = {name: as_tensor(value) for name, value in as_arrays(x, y).items()}
    tensors = [arrays[name] for name, value in (("x", x), ("y", y)) if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    n, m = (len(array) for array in arrays.values())
    if n != m:
        raise ShapeError(f"x has {n} rows, y has {m}; expected the same examples in both")
    if n < 4:
        raise DegenerateError(f"{n} examples arrived; at least 4 are needed")
    of_x, of_y = (_read(name, array.to(device), centre) for name, array in arrays.items())
    return of_x, of_y


def _read(name: str, array: Tensor, centre: bool) -> Activations:
    dtype = torch.float64 if array.dtype == torch.float64 else torch.float32
    values = array.reshape(len(array), -1).double()
    if not bool(torch.isfinite(values).all()):
        raise NonFiniteError(f"{name}: it holds NaN or infinity")
    centred = values - values.mean(0)
    # Once more, for what rounding the mean left: the same shift in every row, which would count
    # as a direction of its own, shared by x and y.
    centred -= centred.mean(0)
    check_rows_vary(values, centred, f"{name}: it")
    return Activations(name, centred if centre else values, torch.finfo(dtype).eps)
