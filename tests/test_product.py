"""Matrix products: every way there is gives the product, in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repsim.measures import product


@pytest.fixture(autouse=True)
def _calibrated_anew() -> Iterator[None]:
    yield
    product.fastest_product.cache_clear()
    product.fastest_leaf.cache_clear()


def works(name: str) -> bool:
    x = torch.ones(2, 2)
    try:
        product.PRODUCTS[name](x, x, torch.empty(2, 2))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return True


PRODUCTS = [
    pytest.param(name, marks=pytest.mark.skipif(not works(name), reason="not in this build"))
    for name in product.PRODUCTS
]
SHAPES = [(1, 1, 1), (5, 3, 7), (64, 65, 1), (129, 64, 300), (33, 40, 2048 + 5), (70, 9, 3 * 2048)]


def random(rng: np.random.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(rng.normal(size=shape)).to(dtype)


def close(found: Tensor, x: Tensor, y: Tensor) -> None:
    """``found`` is x yᵀ: each of p additions rounds by at most eps/2 of Σ_k |x_ik y_jk|, in either
    direction, so √p of them are left."""
    exact = x.double() @ y.double().T
    bound = x.double().abs() @ y.double().abs().T
    eps = torch.finfo(found.dtype).eps * max(8, x.shape[1] ** 0.5)
    assert bool(((found.double() - exact).abs() <= eps * bound + 1e-300).all())


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(("n", "m", "p"), SHAPES)
def test_every_product_is_the_product(
    name: str, n: int, m: int, p: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setattr(product, "SMALL", 0)
    monkeypatch.setattr(product, "fastest_product", lambda: name)
    x, y = random(rng, n, p), random(rng, m, p)
    out = torch.full((n, m), torch.nan)
    product.matmul_nt(x, y, out)
    close(out, x, y)
    close(product.matmul_tn(x.T.contiguous(), y.T.contiguous()), x, y)
    # Views: every other row, some of the columns, a part of a larger matrix, turned.
    wide, turned = random(rng, 2 * n, p + 3), random(rng, p, m)
    whole = torch.full((n + 2, m + 4), 7.0)
    product.matmul_nt(wide[::2, 1 : p + 1], turned.T, whole[1:-1, 2:-2])
    close(whole[1:-1, 2:-2], wide[::2, 1 : p + 1], turned.T)
    assert bool((whole[0] == 7).all())
    assert bool((whole[:, :2] == 7).all())
    assert bool((whole[:, -2:] == 7).all())


@pytest.mark.parametrize("leaf", product.LEAVES)
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("p", [1, 30, 2048, 3 * 2048 + 11])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 130, 257, 600])
def test_every_symmetric_product_is_the_product_above_and_zero_below(
    name: str, leaf: str, n: int, p: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setattr(product, "SMALL", 0)
    monkeypatch.setattr(product, "fastest_product", lambda: name)
    x = random(rng, n, p)
    whole = torch.full((n + 2, n + 3), 7.0)  # written to a part of a larger matrix
    out = whole[1:-1, 1:-2]
    product._halves(x, out, *product.LEAVES[leaf])
    above = torch.ones(n, n, dtype=torch.bool).triu()
    full = torch.where(above, out, out.T)
    close(full, x, x)
    assert bool((out[~above] == 0).all())
    out.zero_()
    assert float(whole.sum()) == 7 * (whole.numel() - n * n)  # and to nothing beside it


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "p"), [(20, 5), (300, 40), (90, 5000)])
def test_a_symmetric_product_takes_what_a_layer_gives(
    dtype: torch.dtype, n: int, p: int, rng: np.random.Generator, monkeypatch: Any
) -> None:
    monkeypatch.setattr(product, "SMALL", 1 << 20)
    for x in (random(rng, n, p, dtype=dtype), random(rng, p, n, dtype=dtype).T):
        out = torch.full((n, n), torch.nan, dtype=dtype)
        product.upper_product(x, out)
        assert bool((out.tril(-1) == 0).all())
        close(out + out.triu(1).T, x, x)


def test_long_rows_go_in_runs_where_that_is_faster(
    rng: np.random.Generator, monkeypatch: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(product, "SMALL", 1 << 20)
    monkeypatch.setattr(product, "fastest_product", lambda: "torch.mm")
    monkeypatch.setattr(product, "fastest_leaf", lambda: asked.append("leaf") or "runs")
    for p, turned in ((100, False), (4096, False), (4096, True)):
        x = random(rng, p, 80).T if turned else random(rng, 80, p)
        out = torch.empty(80, 80)
        product.upper_product(x, out)
        close(out + out.triu(1).T, x, x)
    assert asked == ["leaf"]  # short rows, and rows that do not lie in one piece, go whole


# --- calibration


def test_the_product_is_measured_on_first_use_and_once(
    rng: np.random.Generator, monkeypatch: Any
) -> None:
    calls: list[str] = []
    found = product._fastest
    monkeypatch.setattr(product, "_fastest", lambda of: calls.append(next(iter(of))) or found(of))
    product.fastest_product.cache_clear()
    x, large = random(rng, 9, 9), random(rng, 1 << 9, 1 << 10)
    product.matmul_nt(x, x, torch.empty(9, 9))
    assert calls == []  # small products are not worth it
    for _ in range(2):
        product.matmul_nt(large, large, torch.empty(512, 512))
    assert calls == ["torch.mm"]
    product.matmul_nt(large.double(), large.double(), torch.empty(512, 512).double())
    assert calls == ["torch.mm"]


def pause(seconds: float) -> Any:
    import time

    return lambda *_: time.sleep(seconds)


def test_the_faster_one_wins_by_a_tenth_or_more() -> None:
    assert product._fastest({"first": pause(0.012), "second": pause(0.001)}) == "second"
    assert product._fastest({"first": pause(0.001), "second": pause(0.012)}) == "first"
    assert product._fastest({"first": pause(0.0100), "second": pause(0.0097)}) == "first"


@pytest.mark.parametrize("error", [AttributeError, NotImplementedError, RuntimeError])
def test_a_missing_operator_leaves_torch_mm(
    error: type[Exception], rng: np.random.Generator, monkeypatch: Any
) -> None:
    def missing(*arguments: Any) -> None:
        raise error("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr(product, "SMALL", 0)
    monkeypatch.setitem(product.PRODUCTS, "oneDNN linear", missing)
    product.fastest_product.cache_clear()
    product.fastest_leaf.cache_clear()
    assert product.fastest_product() == "torch.mm"
    assert product.fastest_leaf() in product.LEAVES
    x = random(rng, 30, 50)
    out = torch.empty(30, 30)
    product.matmul_nt(x, x, out)
    close(out, x, x)
