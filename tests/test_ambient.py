"""Values do not depend on what the caller has set in torch, and that is left as it was found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from public import PUBLIC, RUNNING, N, check_complete, values
from torch import nn

import repsim
from repsim import ambient
from repsim.ambient import full_precision, settled
from repsim.data.augment import simclr
from repsim.data.imageset import ImageSet
from repsim.data.noise import gaussian, salt_and_pepper

Region = Callable[[], AbstractContextManager[Any]]

#: Backends that have a precision of their own, from torch 2.9 on.
BACKENDS = [
    torch.backends.cuda.matmul,
    getattr(torch.backends.mkldnn, "matmul", None),
    getattr(torch.backends.mkldnn, "conv", None),
]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def all_backends(precision: str) -> Iterator[None]:
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("an older torch")
    torch.backends.fp32_precision = precision
    try:
        yield
    finally:
        torch.backends.fp32_precision = "none"


#: What a caller may have set.
REGIONS: dict[str, Region] = {
    "float64 by default": partial(default_dtype, torch.float64),
    "float16 by default": partial(default_dtype, torch.float16),
    "bfloat16 by default": partial(default_dtype, torch.bfloat16),
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "medium precision": partial(matmul_precision, "medium"),
    "high precision": partial(matmul_precision, "high"),
    "bf16 everywhere": partial(all_backends, "bf16"),
    "meta by default": partial(torch.device, "meta"),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
}
#: Settings on which a network of the user may rely, and which stay while it runs.
OF_NETWORKS = {"meta by default"}


def legacy() -> str:
    """The older switch; "mixed" where torch will not say, since newer ones were set."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "mixed"


def settings() -> list[Any]:
    """All that ``settled`` may touch."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        legacy(),
        torch.is_autocast_enabled("cpu"),
        *(getattr(backend, "fp32_precision", None) for backend in BACKENDS),
        getattr(torch.backends, "fp32_precision", None),
    ]


def inputs(name: str, *, tensors: bool) -> dict[str, Any]:
    public = (PUBLIC | RUNNING)[name]
    chosen = {key: values()[key] for key in (*public.inputs, *public.labels)}
    return {key: torch.from_numpy(v) for key, v in chosen.items()} if tensors else chosen


def found(name: str, region: Region, *, tensors: bool) -> tuple[np.ndarray, bool]:
    """The values of a public function in a region, and if all settings are as before."""
    given = inputs(name, tensors=tensors)
    with region():
        before = settings()
        result = (PUBLIC | RUNNING)[name].call(**given)
        return np.asarray(result, dtype=np.float64), settings() == before


@cache
def plain(name: str, *, tensors: bool) -> np.ndarray:
    return found(name, nullcontext, tensors=tensors)[0]


def test_every_public_function_is_in_the_table() -> None:
    check_complete()


@pytest.mark.parametrize("tensors", [False, True], ids=["arrays", "tensors"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("name", PUBLIC)
def test_values_are_the_same_in_every_region(name: str, region: str, tensors: bool) -> None:
    expected = plain(name, tensors=tensors)
    result, as_found = found(name, REGIONS[region], tensors=tensors)
    np.testing.assert_array_equal(result, expected)
    assert as_found


@pytest.mark.parametrize("region", sorted(REGIONS.keys() - OF_NETWORKS))
@pytest.mark.parametrize("name", RUNNING)
def test_a_network_runs_the_same_in_every_region(name: str, region: str) -> None:
    expected = plain(name, tensors=True)
    result, as_found = found(name, REGIONS[region], tensors=True)
    np.testing.assert_array_equal(result, expected)
    assert as_found


@pytest.mark.parametrize("region", sorted(REGIONS.keys() - OF_NETWORKS))
def test_augmented_copies_are_compared_the_same_in_every_region(region: str) -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8))
    images = ImageSet("some", "all", pixels, (), tuple(str(k) for k in range(N)))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
    augment = simclr(1, 8, flip=True)

    def value() -> np.ndarray:
        return repsim.invariance(network, images, augment, batch_size=20).unbiased

    expected = value()
    with REGIONS[region]():
        before = settings()
        result = value()
        assert settings() == before
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("draw", [gaussian, salt_and_pepper])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_noise_is_drawn_alike(draw: Any, dtype: torch.dtype) -> None:
    images = torch.zeros(3, 1, 4, 4)
    expected = draw(images, 0.3, torch.Generator().manual_seed(0))
    with default_dtype(dtype):
        assert torch.equal(draw(images, 0.3, torch.Generator().manual_seed(0)), expected)


def test_a_network_keeps_the_default_type_that_it_was_made_under() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x + torch.zeros(3)) @ torch.eye(3)

    with default_dtype(torch.float64):
        network = Shifted()
        x = torch.randn(20, 3)
        same = repsim.compare(network, network, [x]).unbiased
    np.testing.assert_allclose(same.diagonal(), 1, atol=1e-12)


# --- the settings themselves


def test_settings_come_back_when_threads_overlap() -> None:
    """The default dtype is the whole process's: who leaves first must not take it from the other,
    and who leaves last must not keep what it met."""
    first_in, first_out = threading.Event(), threading.Event()
    seen = []

    def work() -> None:
        with settled():
            first_in.set()
            first_out.wait(10)
            seen.append(torch.get_default_dtype())

    with default_dtype(torch.float64):
        thread = threading.Thread(target=work)
        with settled():
            thread.start()
            assert first_in.wait(10)
        first_out.set()
        thread.join()
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("tf32", [False, True])
def test_full_precision_is_for_the_block_and_puts_back_what_was(tf32: bool) -> None:
    backends = ambient._backends()
    if not backends:
        pytest.skip("an older torch")
    with matmul_precision("medium"):
        before = settings()
        with pytest.raises(ZeroDivisionError), full_precision(tf32=tf32):
            assert backends["cuda"].fp32_precision == ("tf32" if tf32 else "ieee")
            assert backends["oneDNN"].fp32_precision == "ieee"
            raise ZeroDivisionError
        assert settings() == before


@pytest.mark.parametrize("name", ["highest", "high", "medium"])
@pytest.mark.parametrize("tf32", [False, True])
def test_a_torch_before_2_9_is_left_as_it_was_found(
    name: str, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There ``allow_tf32`` made "high" of "medium" when it was put back."""
    monkeypatch.setattr(ambient, "_backends", dict)
    with matmul_precision(name):
        with full_precision(tf32=tf32):
            assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert torch.get_float32_matmul_precision() == name


def test_a_precision_that_a_backend_inherits_is_not_made_its_own() -> None:
    with all_backends("tf32"):
        with settled():
            pass
        torch.backends.fp32_precision = "ieee"
        assert [backend.fp32_precision for backend in BACKENDS] == ["ieee"] * 3


def test_an_autocast_region_does_not_reach_the_products(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(size=(30, 40)).astype(np.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with full_precision():
            product = x @ x.T
        assert torch.is_autocast_enabled("cpu")
    assert product.dtype == torch.float32


def test_gradients_flow_through_cka_in_every_region(rng: np.random.Generator) -> None:
    x, y = (torch.from_numpy(rng.normal(size=(12, 3)).astype(np.float32)) for _ in range(2))

    def gradient() -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        value = repsim.cka(leaf, y)
        assert isinstance(value, torch.Tensor)
        value.backward()
        assert leaf.grad is not None
        return leaf.grad

    expected = gradient()
    for name in ("float64 by default", "float16 by default", "autocast", "medium precision"):
        with REGIONS[name]():
            assert torch.equal(gradient(), expected)
