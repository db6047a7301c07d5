"""LARS against the formula of You et al. (2017), by hand and in a slow float64 version."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import SGD

from repsim.networks import ResNet
from repsim.training.lars import LARS, lars_groups


def test_two_steps_by_hand() -> None:
    """w = (3, 4), g = (0, 2): |w| = 5, |g| = 2; η = 0.1, β = 0.2, γ = 10, m = 0.5."""
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = LARS([w], lr=10.0, momentum=0.5, weight_decay=0.2, trust=0.1)
    w.grad = torch.tensor([0.0, 2.0])
    optimizer.step()
    # λ = 0.1 * 5 / (2 + 0.2 * 5) = 1/6; v = 10/6 * (0.6, 2.8) = (1, 14/3); w - v = (2, -2/3).
    assert torch.allclose(w.detach(), torch.tensor([2.0, -2 / 3]))
    w.grad = torch.tensor([0.0, 0.0])
    optimizer.step()
    # Without a gradient λ = 1: v = (1, 14/3) / 2 + 10 * 0.2 * (2, -2/3) = (4.5, 1).
    assert torch.allclose(w.detach(), torch.tensor([-2.5, -5 / 3]))


def test_many_steps_equal_algorithm_1() -> None:
    torch.manual_seed(0)
    lr, m, decay, trust = 0.7, 0.9, 1e-2, 0.02
    weights = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5))]
    optimizer = LARS(weights, lr, m, decay, trust)
    slow = [w.detach().double() for w in weights]
    velocity = [torch.zeros_like(w) for w in slow]
    for _ in range(10):
        for k, weight in enumerate(weights):
            weight.grad = torch.randn_like(weight)
            g, w = weight.grad.double(), slow[k]
            rate = trust * w.norm() / (g.norm() + decay * w.norm())
            velocity[k] = m * velocity[k] + lr * rate * (g + decay * w)
            slow[k] = w - velocity[k]
        optimizer.step()
    for weight, expected in zip(weights, slow, strict=True):
        assert torch.allclose(weight.detach().double(), expected, atol=1e-5)


def test_the_scale_of_the_loss_does_not_matter_without_decay() -> None:
    found = []
    for scale in (1.0, 1000.0):
        w = nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer = LARS([w], lr=1.0)
        (scale * w.square().sum()).backward()
        optimizer.step()
        found.append(w.detach())
    assert torch.allclose(*found)
    assert not torch.equal(found[0], torch.tensor([3.0, 4.0]))


def test_without_adaptation_it_is_sgd_while_the_rate_is_constant() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    other = copy.deepcopy(network)
    pairs = [
        (network, LARS(network.parameters(), 0.1, 0.9, 0.01, adapt=False)),
        (other, SGD(other.parameters(), 0.1, 0.9, weight_decay=0.01)),
    ]
    for _ in range(3):
        x = torch.randn(4, 3)
        for each, optimizer in pairs:
            optimizer.zero_grad()
            each(x).square().sum().backward()
            optimizer.step()
    for p, q in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_weights_of_zero_start_to_move() -> None:
    w = nn.Parameter(torch.zeros(2))
    w.grad = torch.tensor([1.0, -1.0])
    LARS([w], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(w.detach(), torch.tensor([-0.5, 0.5]))


def test_biases_and_norms_neither_decay_nor_adapt() -> None:
    network = ResNet(1, 10, 4)
    network.head = nn.Linear(network.feature_dim, 3)
    adapted, plain = lars_groups(network)
    assert {id(p) for group in (adapted, plain) for p in group["params"]} == {
        id(p) for p in network.parameters()
    }
    kinds = {
        id(p): isinstance(module, (nn.Conv2d, nn.Linear)) and name == "weight"
        for module in network.modules()
        for name, p in module.named_parameters(recurse=False)
    }
    assert all(kinds[id(p)] for p in adapted["params"])
    assert not any(kinds[id(p)] for p in plain["params"])
    optimizer = LARS(lars_groups(network), 0.5, weight_decay=1e-6)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [1e-6, 0.0]
    assert [g["adapt"] for g in optimizer.param_groups] == [True, False]


def test_a_state_that_was_loaded_continues_exactly() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(4, 3)
    results = []
    for stop in (False, True):
        w = nn.Parameter(torch.ones(3))
        optimizer = LARS([w], 0.1)
        for k, g in enumerate(gradients):
            if stop and k == 2:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = LARS([w], 0.1)
                optimizer.load_state_dict(state)
            w.grad = g.clone()
            optimizer.step()
        results.append(w.detach())
    assert torch.equal(*results)


def test_a_closure_is_computed_with_gradients_and_returned() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    optimizer = LARS([w], 0.1, adapt=False)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (2 * w).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 2.0
    assert float(w.detach()) == pytest.approx(0.8)
