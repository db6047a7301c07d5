"""Matrix products at the machine's speed, and in the precision they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

#: Products of fewer operations than this go through ``torch.mm`` without a calibration: they
#: would take less time than it does.
SMALL = 1 << 28

#: Features of a run of long rows.
RUN = 2048

Product = Callable[[Tensor, Tensor, Tensor], Any]


def _mm(x: Tensor, y: Tensor, out: Tensor) -> None:
    torch.mm(x, y.T, out=out)


def _onednn(x: Tensor, y: Tensor, out: Tensor) -> None:
    out.copy_(torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], ""))


PRODUCTS: dict[str, Product] = {"torch.mm": _mm, "oneDNN linear": _onednn}


def matmul_nt(x: Tensor, y: Tensor, out: Tensor) -> None:
    """x yᵀ into ``out``; x is (n, p), y (m, p), out (n, m), of one dtype and device.

    In float32 on a CPU it is the fastest way that this machine has. On AMD processors ``torch.mm``
    may reach half of what the oneDNN linear operator does, as its library holds back the wide
    vector instructions there.
    """
    PRODUCTS[fastest_product() if _large_float32(x, y) else "torch.mm"](x, y, out)


def _large_float32(x: Tensor, y: Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
    return on_cpu and x.numel() * len(y) >= SMALL


def upper_product(x: Tensor, out: Tensor) -> None:
    """x xᵀ into ``out`` on and above the diagonal, and zero below; x is (n, p), out (n, n)."""
    name = "whole"
    if _large_float32(x, x) and x.shape[1] >= 2 * RUN and x.stride(1) == 1:
        name = fastest_leaf()
    leaf, product = LEAVES[name]
    _halves(x, out, leaf, product)


def _halves(x: Tensor, out: Tensor, leaf: int, product: Product) -> None:
    """The block beyond the diagonal is one product, and the two on it are halved again: of what
    lies below the diagonal, little is computed, and the products stay large."""
    n = len(x)
    if n <= leaf:
        product(x, x, out)
        out.triu_()
        return
    half = -(-n // 128) * 64  # in multiples of what registers and caches take
    beyond = product if half <= 8 * leaf else matmul_nt
    beyond(x[:half], x[half:], out[:half, half:])
    out[half:, :half] = 0.0
    _halves(x[:half], out[:half, :half], leaf, product)
    _halves(x[half:], out[half:, half:], leaf, product)


def _runs(x: Tensor, y: Tensor, out: Tensor) -> None:
    """x yᵀ of few long rows: runs of RUN features are products of their own, added up. Each fits
    in a processor's cache, and each processor has its own."""
    p = x.shape[1]
    whole = p - p % RUN
    if whole == 0:
        _mm(x, y, out)
        return
    of_x, of_y = (v[:, :whole].unflatten(1, (-1, RUN)).transpose(0, 1) for v in (x, y))
    torch.sum(torch.bmm(of_x, of_y.transpose(1, 2)), 0, out=out)
    if whole < p:
        out.addmm_(x[:, whole:], y[:, whole:].T)


#: Rows of the smallest block of a symmetric product, computed in full, and how.
LEAVES: dict[str, tuple[int, Product]] = {"whole": (256, matmul_nt), "runs": (64, _runs)}


def matmul_tn(x: Tensor, y: Tensor) -> Tensor:
    """xᵀ y; x is (n, p), y (n, q), the result (p, q)."""
    out = torch.empty(x.shape[1], y.shape[1], dtype=x.dtype, device=x.device)
    matmul_nt(x.T, y.T, out)
    return out


@cache
def fastest_product() -> str:
    """The name of the fastest of ``PRODUCTS`` in float32 on this CPU, measured on first use."""
    x, y, out = torch.ones(512, 1024), torch.ones(512, 1024), torch.empty(512, 512)
    return _fastest({name: partial(product, x, y, out) for name, product in PRODUCTS.items()})


@cache
def fastest_leaf() -> str:
    """The same of ``LEAVES``, for few long rows."""
    x, out = torch.ones(256, 8 * RUN), torch.empty(256, 256)
    fastest_product()
    return _fastest({name: partial(_halves, x, out, *how) for name, how in LEAVES.items()})


def _fastest(calls: dict[str, Callable[[], Any]]) -> str:
    """The first of them wins unless another is faster by a tenth: where they are about as good,
    noise does not choose, and the last digits of a result stay the same from run to run."""
    first = next(iter(calls))
    best: dict[str, float] = {}
    for _ in range(4):
        for name, call in calls.items():
            try:
                started = time.perf_counter()
                call()
                seconds = time.perf_counter() - started
            except (AttributeError, ImportError, RuntimeError, NotImplementedError):
                continue  # this build does not have it
            best[name] = min(seconds, best.get(name, seconds))
    fastest = min(best, key=lambda name: best[name])
    return fastest if best[fastest] < 0.9 * best[first] else first
