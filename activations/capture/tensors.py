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
        if value.is_floating_point() and not form_of(value):
            yield path, value
        return
    for key, each in _items(value):
        yield from tensors_in(each, f"{path}.{key}" if path else str(key))


def form_of(tensor: Tensor) -> str:
    """The form of a tensor whose rows cannot be read: nested, sparse, vmapped; else empty."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    return "vmapped" if _is_vmapped(tensor) else ""


def _is_vmapped(tensor: Tensor) -> bool:
    """True within ``torch.vmap``, where a tensor hides an axis and is not valid any more after."""
    functorch = torch._C._functorch  # torch has no public name for it
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


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
