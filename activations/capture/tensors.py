"""Tensors within the values that modules take and give."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors in tuples, lists, dictionaries and dataclasses, by their paths."""
    if isinstance(value, Tensor):
        # Nested and sparse tensors have no rows that could be read.
        if value.is_floating_point() and value.layout == torch.strided and not value.is_nested:
            yield path, value
        return
    for key, each in _items(value):
        yield from tensors_in(each, f"{path}.{key}" if path else str(key))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)


def owned(value: Any, source: Tensor) -> Any:
    """``value``, copied where it is a view: a reduction may have copied nothing."""
    if isinstance(value, Tensor):
        shared = value.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()
        return value.clone() if shared else value
    if isinstance(value, np.ndarray) and not value.flags.owndata:
        return value.copy()
    return value
