"""Statistics of batch normalisation, held against closed forms and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from repsim.batch_statistics import (
    BatchMeans,
    by_batch,
    kept,
    normalisations,
    put,
    under,
)
from repsim.networks.families.dcgan import Discriminator


def network() -> nn.Sequential:
    """Two normalisations, the second of a scaled first."""
    first, second = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        first.weight.fill_(3)
        first.bias.fill_(-1)
    return nn.Sequential(first, second).eval()


def statistics_over(model: nn.Module, batches: list[Tensor]) -> dict[str, Tensor]:
    means = BatchMeans(model)
    for batch in batches:
        means.update(batch)
    return means.statistics()


def test_statistics_are_the_means_over_batches_in_closed_form() -> None:
    model = network()
    batches = [torch.tensor([[a - d], [a + d]]) for a, d in ((1.0, 2.0), (5.0, 4.0))]
    found = statistics_over(model, batches)
    # Of a batch (a - d, a + d): mean a, unbiased variance 2 d². The second normalisation is given
    # -1 and +1 (but for eps), times 3, less 1.
    assert found["0.running_mean"].item() == 3.0
    assert found["0.running_var"].item() == (8 + 32) / 2
    assert found["1.running_mean"].item() == pytest.approx(-1)
    assert found["1.running_var"].item() == pytest.approx(2 * 9, rel=1e-5)


def test_statistics_are_those_of_torch_with_cumulative_averages() -> None:
    torch.manual_seed(0)
    model = Discriminator(1, width=4, size=(16, 16)).eval()
    batches = [torch.randn(12, 1, 16, 16) * k for k in range(1, 5)]
    found = statistics_over(model, batches)
    for norm in normalisations(model).values():
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for name, value in found.items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_by_batch_a_network_gives_what_it_gives_in_training() -> None:
    torch.manual_seed(1)
    model = Discriminator(1, width=4, size=(16, 16)).eval()
    images, before = torch.randn(9, 1, 16, 16) * 5 + 1, kept(model)
    with torch.no_grad(), by_batch(model):
        found = model(images)
    assert all(torch.equal(value, kept(model)[name]) for name, value in before.items())
    assert int(model.conv2[1].num_batches_tracked) == 0
    assert not model.training
    torch.testing.assert_close(found, model.train()(images).detach(), rtol=1e-4, atol=1e-6)


def test_statistics_are_put_into_a_network_and_taken_out_again() -> None:
    model = network()
    x, own = torch.tensor([[7.0]]), kept(model)
    other = {name: value + 3 for name, value in own.items()}
    before = model(x)
    with under(model, other):
        assert model(x).item() != before.item()
    assert torch.equal(model(x), before)
    put(model, other)
    assert all(torch.equal(value, other[name]) for name, value in kept(model).items())


def test_two_sides_of_known_statistics_are_each_normalised_by_their_own() -> None:
    """Far apart as they are, each side comes out centred; the running statistics mix both."""
    model = nn.Sequential(nn.BatchNorm1d(1, momentum=0.5)).eval()
    sides = {"real": (10.0, 1.0), "generated": (-10.0, 4.0)}
    batches = {side: [torch.tensor([[a - d], [a + d]])] * 6 for side, (a, d) in sides.items()}
    model.train()
    for real, generated in zip(*batches.values(), strict=True):
        model(real), model(generated)
    model.eval()
    assert model(batches["real"][0]).mean().abs() > 0.5
    for side, (a, d) in sides.items():
        found = statistics_over(model, batches[side])
        assert found["0.running_mean"].item() == a
        assert found["0.running_var"].item() == 2 * d * d
        with under(model, found):
            # (a ± d - a) / sqrt(2 d²)
            values = model(batches[side][0]).flatten().tolist()
        assert values == pytest.approx([-(0.5**0.5), 0.5**0.5], rel=1e-5)


def test_layers_without_running_statistics_are_left_alone() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.LayerNorm(2)).eval()
    assert normalisations(model) == {}
    assert statistics_over(model, [torch.randn(4, 2)]) == {}
