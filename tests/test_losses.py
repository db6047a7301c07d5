"""Losses against the papers' formulas, written out slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from repsim.training.losses import (
    critic_gap,
    fake_logits,
    gradient_penalty,
    nt_xent,
    real_logits,
    reconstruction_error,
)


def nt_xent_by_loops(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Chen et al. (2020), Eq. 1 for every positive pair (i, j), averaged as in Algorithm 1."""
    z = [row for pair in zip(z1.double(), z2.double(), strict=True) for row in pair]
    losses = []
    for i in range(len(z)):
        j = i + 1 if i % 2 == 0 else i - 1  # views 2k - 1 and 2k are of one image
        s = [F.cosine_similarity(z[i], other, dim=0) / temperature for other in z]
        rest = sum(s[k].exp() for k in range(len(z)) if k != i)
        losses.append(-torch.log(s[j].exp() / rest))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_nt_xent_is_the_papers_equation(n: int, temperature: float) -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, n, 5)
    found = nt_xent(z1, z2, temperature)
    # Float32 cosines are off by 1e-7, and by 1 / temperature as much in the logits.
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(nt_xent_by_loops(z1, z2, temperature)), abs=1e-5)


def test_nt_xent_sees_directions_only_and_not_which_view_is_first() -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 6, 5)
    value = float(nt_xent(z1, z2, 0.5))
    lengths = torch.rand(6, 1) + 0.5
    assert float(nt_xent(lengths * z1, 9 * z2, 0.5)) == pytest.approx(value, abs=1e-6)
    assert float(nt_xent(z2, z1, 0.5)) == pytest.approx(value, abs=1e-6)
    order = torch.randperm(6)
    assert float(nt_xent(z1[order], z2[order], 0.5)) == pytest.approx(value, abs=1e-6)
    assert abs(float(nt_xent(z1[order], z2, 0.5)) - value) > 1e-3


def test_nt_xent_of_equal_views_is_least_and_of_collapse_is_the_log_of_the_others() -> None:
    z = torch.eye(8)
    # The positive at cosine 1, the other 14 at cosine 0.
    expected = math.log(1 + 14 * math.exp(-1 / 0.5))
    assert float(nt_xent(z, z, 0.5)) == pytest.approx(expected, abs=1e-6)
    collapsed = torch.ones(8, 4)
    assert float(nt_xent(collapsed, collapsed, 0.5)) == pytest.approx(math.log(15), abs=1e-6)


def test_nt_xent_has_the_gradient_of_the_equation() -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 4, 5)
    gradients = []
    for loss in (nt_xent, nt_xent_by_loops):
        leaf = z1.clone().requires_grad_()
        gradients.append(torch.autograd.grad(loss(leaf, z2, 0.5), leaf)[0])
    assert torch.allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gan_losses_are_minus_log_probabilities(dtype: torch.dtype) -> None:
    logits = torch.linspace(-8, 8, 33, dtype=dtype)[:, None]
    probability = logits.double().sigmoid()
    real, fake = -probability.log().mean(), -(1 - probability).log().mean()
    assert float(real_logits(logits)) == pytest.approx(float(real), rel=1e-6)
    assert float(fake_logits(logits)) == pytest.approx(float(fake), rel=1e-6)


def test_gan_losses_at_equilibrium_are_log_two() -> None:
    # D = 1/2 everywhere: V = -log 4.
    logits = torch.zeros(5, 1)
    assert float(real_logits(logits) + fake_logits(logits)) == pytest.approx(math.log(4), abs=1e-6)


def test_gan_losses_stay_finite_where_a_sigmoid_is_saturated() -> None:
    logits = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    for loss in (real_logits(logits), fake_logits(logits)):
        assert float(loss.detach()) == pytest.approx(100)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(gradient).all()
        assert float(gradient.abs().max()) == pytest.approx(0.5)


def test_the_critics_gap_is_the_difference_of_its_means() -> None:
    on_real, on_fake = torch.tensor([[1.0], [4.0]]), torch.tensor([[0.5], [-1.5]])
    assert float(critic_gap(on_real, on_fake)) == 3.0
    # The critic x of two points at distance 3 reaches the Wasserstein distance.
    assert float(critic_gap(torch.full((5, 1), 7.0), torch.full((5, 1), 4.0))) == 3.0


def test_the_gradient_penalty_of_a_linear_critic_is_a_function_of_its_weights() -> None:
    """f(x) = w . x has slope w everywhere: (|w| - 1)^2, with gradient 2 (|w| - 1) w / |w|."""
    torch.manual_seed(0)
    w = torch.randn(12, requires_grad=True)
    real, fake = torch.randn(2, 5, 3, 2, 2)
    penalty = gradient_penalty(lambda x: (x.flatten(1) @ w)[:, None], real, fake)
    length = w.detach().norm()
    assert float(penalty.detach()) == pytest.approx(float((length - 1) ** 2), rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, w)
    assert torch.allclose(gradient, 2 * (length - 1) * w.detach() / length, atol=1e-5)


def test_the_gradient_penalty_is_taken_between_real_and_generated_images() -> None:
    """f(x) = |x|^2 / 2 has slope x, which tells where it was looked at."""
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.square().flatten(1).sum(1, keepdim=True) / 2

    torch.manual_seed(0)
    real, fake = torch.full((200, 1, 1, 1), 3.0), torch.full((200, 1, 1, 1), -1.0)
    penalty = gradient_penalty(critic, real, fake)
    (x,) = seen
    assert float(penalty.detach()) == pytest.approx(float((x.abs() - 1).square().mean()), rel=1e-5)
    assert -1 <= float(x.min()) < -0.8
    assert 2.8 < float(x.max()) <= 3
    assert float(x.mean()) == pytest.approx(1, abs=5 * 4 / (12 * 200) ** 0.5)


def test_reconstruction_errors_are_means_over_images_and_pixels() -> None:
    images = torch.tensor([[[[0.0, 1.0]]], [[[-1.0, 0.5]]]])
    found = torch.tensor([[[[0.5, 1.0]]], [[[1.0, 0.0]]]])
    assert float(reconstruction_error(images, found, "l1")) == pytest.approx((0.5 + 2 + 0.5) / 4)
    assert float(reconstruction_error(images, found, "l2")) == pytest.approx((0.25 + 4 + 0.25) / 4)
    assert reconstruction_error(images, found.bfloat16(), "l2").dtype == torch.float32
