"""Reversible networks: their inverse, and a backward pass that computes activations again."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.activations.capture.hooks import Capture
from repsim.networks.families.revnet import Config, Downsample, RevNet
from repsim.networks.reversible import ReversibleGroup, ReversibleUnit


def used(network: nn.Module) -> nn.Module:
    """A network whose normalisations have other scales, shifts and statistics than at the start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def revnet(**settings: Any) -> RevNet:
    torch.manual_seed(0)
    network = RevNet(3, Config(**{"width": 4, "depth": 26, **settings}), 0)
    network.head = nn.Linear(network.feature_dim, 5)
    used(network)
    return network


def images(n: int = 6, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    x = x.clone().requires_grad_()
    network(x).square().sum().backward()
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {**found, "images": x.grad}


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


# --- the unit, and the inverse


def test_a_unit_is_written_by_hand() -> None:
    torch.manual_seed(0)
    unit = used(ReversibleUnit(16)).eval()
    x = torch.randn(3, 16, 5, 5)
    conv1, conv2, conv3 = (unit.residual[k] for k in (2, 5, 8))
    assert [tuple(c.weight.shape) for c in (conv1, conv2, conv3)] == [
        (2, 8, 1, 1),
        (2, 2, 3, 3),
        (8, 2, 1, 1),
    ]
    h = x[:, 8:]
    for k in (0, 3, 6):
        h = unit.residual[k + 2](unit.residual[k](h).relu())
    assert torch.equal(unit(x), torch.cat([x[:, 8:], x[:, :8] + h], 1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("depth", [26, 50])
def test_every_group_is_inverted(depth: int, training: bool) -> None:
    network = revnet(depth=depth, width=8).train(training)
    state = copy.deepcopy(network.state_dict())
    x = network.stem(images()).detach()
    for k in range(1, 5):
        group = network.get_submodule(f"block{k}")
        with torch.no_grad():
            y = group(x)
            after = copy.deepcopy(network.state_dict())
            # The channels that are zero by construction would make it 3e-4.
            assert distance(group.inverse(y), x) < 1e-5
        # The inverse leaves the running statistics as they are.
        assert all(torch.equal(value, after[key]) for key, value in network.state_dict().items())
        x = network.get_submodule(f"down{k + 1}")(y) if k < 4 else y
    moved = {key for key, value in after.items() if not torch.equal(value, state[key])}
    assert bool(moved) == training


def test_maps_shrink_between_groups_by_means_of_pixels_and_zeros() -> None:
    x = torch.arange(36.0).view(1, 4, 3, 3)
    y = Downsample(2)(x)
    assert y.shape == (1, 8, 2, 2)
    assert not y[:, :2].any()
    assert not y[:, 6:].any()
    # Pixels that are not there do not count: the last row and column are means of what there is.
    assert y[0, 2].tolist() == [[2.0, 3.5], [6.5, 8.0]]


# --- the backward pass


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_gradients_are_those_of_the_ordinary_backward_pass(
    dtype: torch.dtype, bound: float
) -> None:
    again, kept = (revnet(depth=50, recompute=flag).to(dtype) for flag in (True, False))
    x = images().to(dtype)
    assert torch.equal(again(x), kept(x))
    ours, theirs = gradients(again, x), gradients(kept, x)
    assert ours.keys() == theirs.keys() == {*dict(kept.named_parameters()), "images"}
    for name, expected in theirs.items():
        assert distance(ours[name], expected) < bound, name
    # Statistics moved once a forward pass, not in backward passes.
    state = kept.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    counters = [value for key, value in state.items() if key.endswith("num_batches_tracked")]
    assert {int(each) for each in counters} == {2}


def test_a_run_of_steps_ends_where_the_ordinary_one_ends() -> None:
    ends = []
    for flag in (True, False):
        network = revnet(recompute=flag).double()
        optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
        for k in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                network(images().roll(k, 0).double()), torch.arange(6) % 5
            )
            loss.backward(inputs=list(network.parameters()))
            optimizer.step()
        ends.append(network.state_dict())
    for key, value in ends[1].items():
        assert torch.allclose(ends[0][key], value, rtol=1e-9, atol=1e-12), key


def test_weights_that_are_frozen_get_no_gradient() -> None:
    again, kept = (revnet(recompute=flag).double() for flag in (True, False))
    for network in (again, kept):
        for part in (network.stem, network.block2, network.block3.units[0]):
            part.requires_grad_(False)
    ours, theirs = (gradients(network, images().double()) for network in (again, kept))
    assert ours.keys() == theirs.keys()
    assert not any(name.startswith(("stem", "block2")) for name in ours)
    assert all(distance(ours[name], theirs[name]) < 1e-10 for name in theirs)


def test_batch_statistics_are_used_again_whatever_the_mode_is_by_then() -> None:
    network, expected = revnet().double(), gradients(revnet().double(), images().double())
    x = images().double().requires_grad_()
    loss = network(x).square().sum()
    network.eval()
    loss.backward()
    assert x.grad is not None
    assert distance(x.grad, expected["images"]) < 1e-12
    assert not any(module.training for module in network.modules())


def test_weights_that_changed_since_the_forward_pass_are_refused() -> None:
    network = revnet()
    loss = network(images()).sum()
    with torch.no_grad():
        next(network.block3.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_derivative_is_refused() -> None:
    group = ReversibleGroup(16, 2)
    x = torch.randn(4, 16, 3, 3, requires_grad=True)
    (grad,) = torch.autograd.grad(group(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


def test_mixed_precision_keeps_the_halves_whole() -> None:
    x = images()
    again, kept = (revnet(recompute=flag) for flag in (True, False))
    found = []
    for network in (again, kept):
        with torch.autocast("cpu", torch.bfloat16):
            out = network(x)
        network.zero_grad()
        out.float().square().sum().backward()
        found.append({name: p.grad for name, p in network.named_parameters()})
    # Of eight binary digits, nothing more is lost by computing again.
    for name, expected in found[1].items():
        assert distance(found[0][name], expected) < 2**-6, name
    with torch.autocast("cpu", torch.bfloat16):
        assert again.block1(again.stem(x)).dtype == torch.float32
    assert again.half().eval().block1(torch.zeros(2, 16, 4, 4).half()).dtype == torch.float16


# --- taps


@pytest.mark.parametrize("recompute", [True, False])
def test_taps_have_the_values_that_the_parts_compute(recompute: bool) -> None:
    network, x = revnet(recompute=recompute), images()
    with Capture(network) as capture:
        network(x)
        taken = capture.take()
    assert list(taken) == network.layer_names()
    with torch.no_grad():
        value = x
        for name, part in network.eval().named_children():
            value = part(value)
            if name in taken:
                assert torch.equal(taken[name], value), name
    network.train()
    seen: dict[str, Tensor] = {}
    hook = network.block2.register_forward_hook(lambda m, i, o: seen.update(block2=o))
    network(x).sum().backward()
    hook.remove()
    assert seen["block2"].requires_grad


def test_gradients_reach_taps_inside_a_group_in_evaluation_mode() -> None:
    network = revnet().eval()
    inside: list[Tensor] = []
    network.block2.units[0].register_forward_hook(lambda m, i, o: inside.append(o))
    out = network(images()).sum()
    (grad,) = torch.autograd.grad(out, inside)
    assert bool(grad.any())


# --- memory


def kept_bytes(network: nn.Module, x: Tensor) -> int:
    """Bytes of activations that a forward pass leaves for the backward pass."""
    own = {p.untyped_storage().data_ptr() for p in [*network.parameters(), *network.buffers(), x]}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            kept[place] = tensor  # held, so that no other storage takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_training_keeps_the_ends_of_groups_alone() -> None:
    """So that memory does not grow with the units of a group, as the ordinary one's does."""
    x = images(8, 32)
    again = {depth: kept_bytes(revnet(depth=depth, width=8), x) for depth in (14, 26, 50)}
    plain = {
        depth: kept_bytes(revnet(depth=depth, width=8, recompute=False), x)
        for depth in (14, 26, 50)
    }
    assert again[14] == again[26] == again[50]
    assert plain[50] > plain[26] > plain[14] > again[14]
    assert plain[50] > 4 * again[50]
