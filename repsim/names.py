"""Names that the rows and columns of data frames carry, and the order that they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim.errors import MismatchError


def row_names(value: Any) -> Any | None:
    """The pandas index of the rows of a frame, a series or an xarray array; None of others."""
    return _index(value, "index", 0)


def column_names(value: Any) -> Any | None:
    """The pandas index of its columns."""
    return _index(value, "columns", 1)


def _index(value: Any, attribute: str, axis: int) -> Any | None:
    if isinstance(value, Tensor):
        return None
    index = getattr(value, attribute, None)
    if hasattr(value, "get_index") and len(getattr(value, "dims", ())) > axis:
        index = value.get_index(value.dims[axis])
    return index if hasattr(index, "equals") else None  # lists have an index too


def check_rows(names: Mapping[str, Any | None]) -> None:
    """Raise ``MismatchError`` unless all that name their rows do so in one order.

    Rows 0 to n - 1 in order have no names, unless others are named by the same numbers in another
    order. Names that have nothing in common say nothing.

    Args:
        names: indices from ``row_names``, by the name of each argument.
    """
    _check(names, "rows", ".loc[{}.index]")


def check_columns(names: Mapping[str, Any | None]) -> None:
    """The same of the columns, from ``column_names``."""
    _check(names, "columns", "[{}.columns]")


def _check(names: Mapping[str, Any | None], kind: str, remedy: str) -> None:
    (first, index), *others = [(k, v) for k, v in names.items() if v is not None] or [("", None)]
    for other, found in others:
        if len(found) != len(index) or found.equals(index):
            continue  # other numbers of rows have errors of their own
        a, b = index.tolist(), found.tolist()
        numbers = list(range(len(a)))
        same = set(a) == set(b)
        if same or (numbers not in (a, b) and not set(a).isdisjoint(b)):
            at = next((k for k, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)
            if at is None:
                continue  # equal names of different types
            how = "have the same names in another order" if same else "have other names"
            simple = first.isidentifier() and other.isidentifier()
            sort = f"pass {other}{remedy.format(first)}" if simple else "sort both by one of them"
            raise MismatchError(
                f"the {kind} of {first} and {other} {how}, first {a[at]!r} and {b[at]!r} at {at}; "
                f"{sort}, or pass .to_numpy() of both where names mean nothing"
            )
