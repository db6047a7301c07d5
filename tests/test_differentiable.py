"""CKA under torch's transforms: both modes of gradients, ``vmap`` and ``compile``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from repsim import RBF, cka

# Of torch itself, whose rules for forward mode are scripts.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

OPTIONS = [
    pytest.param({"kernel": kernel, "estimator": estimator}, id=f"{kernel}, {estimator}")
    for kernel in ("linear", "rbf")
    for estimator in ("unbiased", "biased")
]


@pytest.fixture
def x(rng: np.random.Generator) -> Tensor:
    return torch.tensor(rng.normal(size=(12, 3)))


@pytest.fixture
def y(x: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.tensor(rng.normal(size=(12, 2))) + x[:, :1]


def slope(found: Callable[[Tensor], Any], x: Tensor, way: Tensor) -> Tensor:
    """The directional derivative by reverse mode."""
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(found(leaf), leaf)
    return (gradient * way).sum()


@pytest.mark.parametrize("options", OPTIONS)
def test_forward_mode_is_not_lost(x: Tensor, y: Tensor, options: Any) -> None:
    way = torch.randn_like(x)
    with forward_ad.dual_level():
        found = cka(forward_ad.make_dual(x, way), y, **options)
        value, tangent = forward_ad.unpack_dual(found)
    assert float(value) == pytest.approx(cka(x, y, **options), abs=1e-12)
    assert torch.allclose(tangent, slope(lambda x: cka(x, y, **options), x, way), atol=1e-12)


def test_forward_mode_of_the_second_layer_alone(x: Tensor, y: Tensor) -> None:
    array, way = x.numpy(), torch.randn_like(y)
    _, tangent = torch.func.jvp(lambda y: cka(array, y), (y,), (way,))
    assert torch.allclose(tangent, slope(lambda y: cka(x, y), y, way), atol=1e-12)


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_both_modes_and_second_derivatives_agree_with_differences(
    x: Tensor, y: Tensor, estimator: Any
) -> None:
    def found(x: Tensor, y: Tensor) -> Any:
        return cka(x, y, estimator=estimator)

    leaves = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradcheck(found, leaves, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(found, leaves)


def test_what_is_not_followed_is_a_float_within_a_transform(x: Tensor, y: Tensor) -> None:
    value, _ = torch.func.jvp(lambda z: z * cka(x, y, kernel="rbf"), (x.sum(),), (y.sum(),))
    assert float(value) == pytest.approx(float(x.sum()) * cka(x, y, kernel="rbf"), abs=1e-12)


@pytest.mark.filterwarnings("ignore:the biased CKA of unrelated layers")
@pytest.mark.parametrize("options", OPTIONS)
def test_many_at_once_are_each_of_them(x: Tensor, y: Tensor, options: Any) -> None:
    stack = torch.stack([x, x + torch.randn_like(x), 100 * torch.randn_like(x)])
    found = torch.vmap(lambda x: cka(x, y, **options))(stack)
    assert found.tolist() == pytest.approx([cka(x, y, **options) for x in stack], abs=1e-12)
    gradients = torch.vmap(torch.func.grad(lambda x: cka(x, y, **options)))(stack)
    for each, gradient in zip(stack, gradients, strict=True):
        way = torch.randn_like(x)
        expected = slope(lambda x: cka(x, y, **options), each, way)
        assert torch.allclose((gradient * way).sum(), expected, atol=1e-12)


def test_of_many_at_once_the_undefined_are_nan(x: Tensor, y: Tensor) -> None:
    constant, hole = torch.full_like(x, 0.1), x.clone()
    hole[0, 0] = torch.nan
    twins = torch.eye(len(x), dtype=torch.float64)[:, :3]  # most examples coincide
    few = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64)).Q[:, :3] * 1e-200
    stack = torch.stack([constant, hole, few, x])
    found = torch.vmap(lambda x: cka(x, y))(stack)
    assert found.isnan().tolist() == [True, True, True, False]
    of_twins = torch.vmap(lambda x: cka(x, y, kernel="rbf"))(torch.stack([twins, x]))
    assert of_twins.isnan().tolist() == [True, False]
    narrow = torch.vmap(lambda x: cka(x, y, kernel=RBF(1e-3)))(torch.stack([x, x]))
    assert narrow.isnan().all()


COMPILED = """
import torch
from repsim import cka

random = torch.Generator().manual_seed(0)
x = torch.randn(12, 3, generator=random).requires_grad_()
y = torch.randn(12, 2, generator=random) + x[:, :1].detach()
for kernel, estimator in (("linear", "biased"), ("rbf", "unbiased")):
    def loss(x, y):
        return 1 - cka(x.relu(), y, kernel=kernel, estimator=estimator)
    expected = loss(x, y)
    (gradient,) = torch.autograd.grad(expected, x)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(x, y)
    (found,) = torch.autograd.grad(compiled, x)
    assert torch.allclose(compiled, expected, rtol=0, atol=1e-12), (compiled, expected)
    assert torch.allclose(found, gradient, rtol=0, atol=1e-6), (found, gradient)
nothing = torch.ones(12, 2).requires_grad_()
assert torch.compile(cka, fullgraph=True, backend="aot_eager")(nothing, y).isnan()
"""


def test_a_loss_is_compiled_in_one_graph() -> None:
    # In a process of its own: the checks of shapes in the tests are no part of the graph.
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
