"""Tensors that something follows: gradients, and the transforms of ``torch.func``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual


def is_followed(value: object) -> bool:
    """True of a tensor that is followed through what is computed from it.

    By a gradient in either mode, by ``torch.vmap`` or another transform.
    """
    return isinstance(value, Tensor) and (
        value.requires_grad or _is_wrapped(value) or unpack_dual(value).tangent is not None
    )


def is_readable(*tensors: Tensor) -> bool:
    """True where Python may look at values computed from the tensors.

    Not within ``torch.compile``, where there are none yet, nor within ``torch.vmap``, where each
    stands for many.
    """
    functorch = torch._C._functorch
    mapped = (functorch.is_batchedtensor(each) for value in tensors for each in _layers(value))
    return not torch.compiler.is_compiling() and not any(mapped)


def is_plain(value: Tensor) -> bool:
    """True of a tensor that NumPy may look into: on the CPU, and not within a transform."""
    return (
        value.device.type == "cpu" and not torch.compiler.is_compiling() and not _is_wrapped(value)
    )


def _is_wrapped(value: Tensor) -> bool:
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(value))


def _layers(value: Tensor) -> Iterator[Tensor]:
    """A tensor and the tensors within, one for each transform."""
    yield value
    while _is_wrapped(value):
        value = torch._C._functorch.get_unwrapped(value)
        yield value
