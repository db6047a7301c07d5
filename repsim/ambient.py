"""The settings of torch that hold for a whole process or thread, and on which no value may depend.

A notebook that has called ``torch.set_default_dtype(torch.float64)``, or works in an autocast
region, gets the values of one that has not. Public functions that compute are ``settled``; those
that run a network of the user are in ``full_precision``, since the network may rely on the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

#: Kinds of devices that have autocast regions.
_KINDS = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def settled() -> Iterator[None]:
    """Torch as it is when it has just been imported, for a block or, as a decorator, a function.

    New tensors are float32 and on the CPU unless they say otherwise, and see ``full_precision``.
    Afterwards all is as it was found.
    """
    with ExitStack() as stack:
        stack.enter_context(_FLOAT32)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(full_precision())
        yield


@contextmanager
def full_precision(*, tf32: bool = False) -> Iterator[None]:
    """Float32 products that are float32 products, whatever the caller has set.

    Autocast regions, TF32 on CUDA and bfloat16 in oneDNN would each leave three digits of a Gram
    matrix. ``tf32`` allows TF32 on CUDA all the same.
    """
    with ExitStack() as stack:
        for kind in _KINDS:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if not (backends := _backends()):
            stack.enter_context(_matmul_precision("high" if tf32 else "highest"))
        for name, backend in backends.items():
            wanted = "tf32" if tf32 and name == "cuda" else "ieee"
            stack.enter_context(_fp32_precision(backend, wanted))
        yield


class _Float32:
    """The default dtype float32, which is the whole process's, while any thread is within."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._within = 0
        self._before = torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._before = torch.get_default_dtype()
            self._within += 1
            if torch.get_default_dtype() != torch.float32:
                torch.set_default_dtype(torch.float32)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within and self._before != torch.float32:
                torch.set_default_dtype(self._before)


_FLOAT32 = _Float32()


def _backends() -> dict[str, Any]:
    """Backends with a precision of their own for float32; none before torch 2.9."""
    there = {
        "cuda": torch.backends.cuda.matmul,
        "oneDNN": getattr(torch.backends.mkldnn, "matmul", None),
        "oneDNN convolutions": getattr(torch.backends.mkldnn, "conv", None),
    }
    return {name: each for name, each in there.items() if hasattr(each, "fp32_precision")}


@contextmanager
def _fp32_precision(backend: Any, wanted: str) -> Iterator[None]:
    """``backend.fp32_precision``, for a while."""
    before = backend.fp32_precision
    if before == wanted or (before, wanted) == ("none", "ieee"):
        yield
        return
    backend.fp32_precision = wanted
    try:
        yield
    finally:
        # "none" is whatever ``torch.backends.fp32_precision`` says, now and later. A backend that
        # was read is not told from one that was set, unless the two differ.
        backend.fp32_precision = "none"
        if backend.fp32_precision != before:
            backend.fp32_precision = before


@contextmanager
def _matmul_precision(wanted: str) -> Iterator[None]:
    """``torch.set_float32_matmul_precision``, for a while: of the switches of earlier releases the
    only one that tells "high" from "medium"."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
