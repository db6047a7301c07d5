"""Networks as functions of the example: refusals, what passes, and networks left as they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import repsim
from repsim.activations import compare, head_features, layer_null_spaces, plan_harvest, trace
from repsim.activations.analyses.classes import compare_classes
from repsim.activations.analyses.invariance import invariance
from repsim.activations.capture.differences import thinned
from repsim.activations.capture.unchanged import Unchanged
from repsim.data import ImageSet, Target
from repsim.errors import CaptureError, UsageError
from repsim.networks.weights import network_digest

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two layers, with something between them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 8)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.between(self.a(x).relu()))


class Dropped(Net):
    def between(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class InAList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Dropout(0.5)]

    def between(self, x: Tensor) -> Tensor:
        return self.parts[0](x)


class Sampled(Net):
    def between(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class OfNumPy(Net):
    def between(self, x: Tensor) -> Tensor:
        return x * np.random.rand()  # noqa: NPY002


class OfPython(Net):
    def between(self, x: Tensor) -> Tensor:
        return x * random.random()


class Centred(Net):
    def between(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Ranked(Net):
    """An example's place in the batch decides."""

    def between(self, x: Tensor) -> Tensor:
        return x + torch.arange(len(x))[:, None]


class Seeded(Net):
    """The same numbers each time, dealt by place."""

    def between(self, x: Tensor) -> Tensor:
        return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


class Scaled(Net):
    """As dynamic quantisation does: the largest value of a batch decides."""

    def between(self, x: Tensor) -> Tensor:
        return x / x.max()


class Initialised(Net):
    """The first batch decides, as in ActNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(16))
        self.register_buffer("ready", torch.tensor(False))

    def between(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.shift.data.copy_(x.mean(0))
            self.ready.fill_(True)
        return x - self.shift


class Running(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("m", torch.zeros(16))

    def between(self, x: Tensor) -> Tensor:
        self.m = 0.9 * self.m + 0.1 * x.mean(0).detach()
        return x - self.m


class Recurrent(Net):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.state = nn.GRUCell(16, 16), None

    def between(self, x: Tensor) -> Tensor:
        self.state = self.cell(x, self.state)
        return self.state


class Counting(Net):
    def __init__(self) -> None:
        super().__init__()
        self.seen = {"calls": [0]}

    def between(self, x: Tensor) -> Tensor:
        self.seen["calls"].append(1)
        return x * len(self.seen["calls"])


RANDOM = [Dropped, InAList, Sampled, OfNumPy, OfPython]
BY_BATCH = [Centred, Ranked, Seeded, Scaled, Initialised]
STATE = [Running, Recurrent, Counting]


def harvested(net: nn.Module, path: Path, **options: Any) -> np.ndarray:
    with repsim.harvest(net, X.split(8), path / "a.h5", examples=32, **options) as store:
        return store[store.layers[-1]][:]


class OfLargeBatches(Net):
    """Centred by the batch, but not with three examples or fewer."""

    def between(self, x: Tensor) -> Tensor:
        return x - x.mean(0) if len(x) > 3 else x


class Full(Net):
    """Two experts, each with room for three fifths of the batch."""

    def between(self, x: Tensor) -> Tensor:
        found = torch.zeros_like(x)
        for expert in range(2):
            rows = (x[:, 0] > x[:, 1]).eq(expert).nonzero()[: -(-3 * len(x) // 5), 0]
            found[rows] = x[rows] * (1 + expert)
        return found


class Leaving(Net):
    """Goes on unless all of the batch is sure."""

    def between(self, x: Tensor) -> Tensor:
        return x if x.amax(1).min() > 0.5 else 2 * x


class Shifting(Net):
    """The batch before comes in, if it has the shape of this one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = None

    def between(self, x: Tensor) -> Tensor:
        before = self.last if self.last is not None and len(self.last) == len(x) else x
        self.last = x
        return torch.cat([before[:, :8], x[:, 8:]], 1)


class Masking(Net):
    """Keeps a mask for each shape."""

    def __init__(self) -> None:
        super().__init__()
        self.masks = {}

    def between(self, x: Tensor) -> Tensor:
        return x * self.masks.setdefault(tuple(x.shape), x > 0.3)


class Converging(Net):
    """Stops when all of the batch has converged."""

    def between(self, x: Tensor) -> Tensor:
        found = x
        while (found - x.tanh()).norm() > 0.2:
            found = found / 2 + x.tanh() / 2
        return found


class Cut(Net):
    """Sequences cut to the longest of the batch, and averaged."""

    def between(self, x: Tensor) -> Tensor:
        longest = (x > 0).sum(1).max()
        return x.sort(1, descending=True)[0][:, :longest].mean(1, keepdim=True).expand_as(x)


class Packed(Net):
    """Padded to the longest of the batch by packing, and averaged."""

    def between(self, x: Tensor) -> Tensor:
        lengths = 1 + (x > 0).sum(1) // 2
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        values = nn.utils.rnn.pad_packed_sequence(packed, True)[0]
        return values.mean(1, keepdim=True).expand_as(x)


@pytest.mark.parametrize("kind", RANDOM)
def test_a_random_network_is_refused_unless_that_is_allowed(
    tmp_path: Path, kind: Callable[[], nn.Module]
) -> None:
    net = kind().eval()
    with pytest.raises(CaptureError, match="layer '(b|parts.0)' gives other values.*random"):
        harvested(net, tmp_path)
    with pytest.raises(CaptureError, match="allow_random=True"):
        harvested(net, tmp_path, allow_batch=True)
    harvested(net, tmp_path, allow_random=True)


@pytest.mark.parametrize("kind", BY_BATCH)
def test_a_layer_that_depends_on_its_batch_is_refused_unless_that_is_allowed(
    tmp_path: Path, kind: Callable[[], nn.Module]
) -> None:
    with pytest.raises(CaptureError, match="layer 'b' gives an example other values in another ba"):
        harvested(kind().eval(), tmp_path)
    with pytest.raises(CaptureError, match="allow_batch=True"):
        harvested(kind().eval(), tmp_path, allow_random=True)
    harvested(kind().eval(), tmp_path, allow_batch=True)


@pytest.mark.parametrize("kind", STATE)
def test_a_state_between_calls_is_refused_unless_that_is_allowed(
    tmp_path: Path, kind: Callable[[], nn.Module]
) -> None:
    with pytest.raises(CaptureError, match="layer '(b|cell)' .*keeps a state from one batch"):
        harvested(kind().eval(), tmp_path)
    harvested(kind().eval(), tmp_path, allow_batch=True)


@pytest.mark.parametrize("kind", [Shifting, Masking])
def test_a_state_that_the_same_examples_do_not_show_is_refused(
    tmp_path: Path, kind: Callable[[], nn.Module]
) -> None:
    with pytest.raises(CaptureError, match="layer 'b' .*keeps a state from one batch"):
        harvested(kind().eval(), tmp_path)
    harvested(kind().eval(), tmp_path, allow_batch=True)


def test_a_first_batch_of_one_example_is_checked_by_the_second(tmp_path: Path) -> None:
    batches = [X[:1], X[1:9], X[9:]]
    given = {"layers": "b", "examples": 32}
    with pytest.raises(CaptureError, match="gives an example other values in another batch"):
        repsim.harvest(Centred(), batches, tmp_path / "a.h5", **given)
    with pytest.raises(CaptureError, match="gives an example other values in another batch"):
        repsim.compare(Centred(), Net(), batches, layers_a="b", layers_b="b")
    with repsim.harvest(Net(), batches, tmp_path / "b.h5", **given) as store:
        np.testing.assert_allclose(store["b"][:], Net()(X).detach(), atol=1e-6)


def test_layers_that_run_for_pieces_of_a_batch_are_named(tmp_path: Path) -> None:
    class InPieces(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.cat([self.a(piece).relu() for piece in x.split(4)]))

    with pytest.raises(CaptureError, match="'a' does not run as often for a part of a batch as"):
        repsim.harvest(InPieces(), X.split(8), tmp_path / "a.h5", examples=32)
    with repsim.harvest(InPieces(), X.split(8), tmp_path / "b.h5", layers="b", examples=32) as s:
        np.testing.assert_allclose(s["b"][:], Net()(X).detach(), atol=1e-6)


def test_a_network_that_squeezes_a_single_example_passes(tmp_path: Path) -> None:
    class Squeezing(Net):
        def between(self, x: Tensor) -> Tensor:
            return x[:, :, None].squeeze()

    with repsim.harvest(Squeezing(), X.split(8), tmp_path / "a.h5", layers="b", examples=32) as s:
        np.testing.assert_allclose(s["b"][:], Net()(X).detach(), atol=1e-6)


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tasks = nn.ModuleList([nn.Linear(6, 5) for _ in range(4)])
        self.out = nn.Identity()

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return self.out(torch.stack([task(x) for task in self.tasks], -1) @ weights)


def test_as_many_weights_of_all_as_a_batch_has_examples_are_named(tmp_path: Path) -> None:
    network, weights = Weighted(), torch.rand(4)
    given: Any = {"examples": 32, "layers": "out", "overwrite": True}
    batches = [{"x": x, "weights": weights} for x in X.split(4)]
    with pytest.raises(CaptureError, match="where 'weights' belongs to the whole batch, give batc"):
        repsim.harvest(network, batches, tmp_path / "a.h5", **given)
    batches = [{"x": x, "weights": weights} for x in X.split(8)]  # the remedy
    with repsim.harvest(network, batches, tmp_path / "a.h5", **given) as store:
        right = network(X, weights).detach()
        np.testing.assert_allclose(store["out"][:], right, atol=1e-6)


class Graph(nn.Module):
    """A network of the nodes of a graph, by its adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return self.b(torch.sparse.mm(adjacency, self.a(x)))


def adjacency(n: int) -> Tensor:
    return (torch.rand(n, n) < 0.3).float() + torch.eye(n)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("form", ["to_sparse", "to_sparse_csr"])
def test_a_sparse_adjacency_goes_with_its_nodes(form: str, tmp_path: Path) -> None:
    network, graphs = Graph(), [adjacency(20), adjacency(12)]
    sparse = [getattr(each, form)() for each in graphs]
    batches = [{"x": X[:20], "adjacency": sparse[0]}, {"x": X[20:], "adjacency": sparse[1]}]
    given: Any = {"examples": 32, "layers": "b", "overwrite": True, "allow_batch": True}
    with pytest.raises(CaptureError, match="'adjacency' is sparse and connects the 20 examples"):
        repsim.harvest(network, batches, tmp_path / "a.h5", **{**given, "allow_batch": False})
    right = [network.b(a @ network.a(x)) for a, x in zip(graphs, (X[:20], X[20:]), strict=True)]
    with repsim.harvest(network, batches, tmp_path / "a.h5", **given) as store:
        np.testing.assert_allclose(store["b"][:], torch.cat(right).detach(), atol=1e-5)
    same = compare(network, network, batches, layers_a="b", layers_b="b", allow_batch=True)
    assert same.n == 32
    np.testing.assert_allclose(same.unbiased, 1, atol=1e-6)


def test_a_sparse_matrix_of_a_network_goes_with_every_batch(tmp_path: Path) -> None:
    """Such as the Laplacian of a mesh that all examples share."""

    class Mesh(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(7, 5)

        def forward(self, x: Tensor, laplacian: Tensor) -> Tensor:
            return self.layer(torch.sparse.mm(laplacian, x.T).T)

    network, laplacian = Mesh(), torch.randn(7, 6)
    batches = [{"x": x, "laplacian": laplacian.to_sparse()} for x in X.split(8)]
    with repsim.harvest(network, batches, tmp_path / "a.h5", examples=32) as store:
        right = network.layer(X @ laplacian.T).detach()
        np.testing.assert_allclose(store["layer"][:], right, atol=1e-5)
    words = {"x": X[:8], "laplacian": torch.eye(8, 6).to_sparse()}
    with pytest.raises(UsageError, match="'laplacian': it is sparse.*call .to_dense"):
        repsim.harvest(network, [words], tmp_path / "b.h5", examples=8)
    with pytest.raises(UsageError, match="it is sparse.*call .to_dense"):
        repsim.harvest(network, [{"x": X.to_sparse()}], tmp_path / "b.h5", examples=32)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(6, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, seen: Tensor, h0: Tensor) -> Tensor:
        return self.out(self.gru(seen, h0)[0])


def test_the_axis_of_a_state_is_proposed_for_the_state_alone(tmp_path: Path) -> None:
    network, seen, state = Stateful(), torch.randn(16, 5, 6), torch.randn(1, 16, 4)
    batches = [
        {"seen": seen[k : k + 4], "h0": state[:, k : k + 4].contiguous()} for k in range(0, 16, 4)
    ]
    given: Any = {"examples": 16, "layers": "out", "overwrite": True}
    with pytest.raises(CaptureError, match="axis 1 of 'h0' holds the examples") as caught:
        repsim.harvest(network, batches, tmp_path / "a.h5", **given)
    assert "--batch-axis '@input:h0=1' (batch_axis={'@input:h0': 1})" in str(caught.value)
    axis = {"@input:h0": 1}
    with repsim.harvest(network, batches, tmp_path / "a.h5", **given, batch_axis=axis) as store:
        right = network(seen, state).detach()
        np.testing.assert_allclose(store["out"][:], right, atol=1e-6)


def test_a_layer_without_rows_for_a_part_of_the_batch_is_named(tmp_path: Path) -> None:
    class Summing(Net):
        def between(self, x: Tensor) -> Tensor:
            return x if len(x) > 4 else x.sum(0)

    with pytest.raises(CaptureError, match="'b' gives no row for each example of a part of the"):
        harvested(Summing(), tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_draws_from_a_few_are_random_and_no_state(tmp_path: Path, seed: int) -> None:
    class Augmented(Net):
        def between(self, x: Tensor) -> Tensor:
            place = int(torch.randint(0, 5, ()))
            return x * (torch.arange(16) != place)

    torch.manual_seed(seed)
    with pytest.raises(CaptureError, match="it is random in evaluation mode"):
        harvested(Augmented(), tmp_path)
    harvested(Augmented(), tmp_path, allow_random=True)


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("form", [torch.Tensor, list])
def test_numbers_for_all_examples_may_be_as_many_as_are_shown(
    tmp_path: Path, channels: int, form: Callable[[Tensor], Any]
) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, 4, 3)

        def forward(self, x: Tensor, std: Any) -> Tensor:
            return self.conv(x / torch.as_tensor(std).float()[:, None, None])

    net, x, std = Scaled(), torch.randn(16, channels, 6, 6), torch.arange(1.0, channels + 1)
    given = form(std.tolist()) if form is list else std
    batches = [{"x": each, "std": given} for each in x.split(8)]
    with repsim.harvest(net, batches, tmp_path / "a.h5", pooling="avg", examples=16) as store:
        want = net(x, std).mean((2, 3)).detach()
        np.testing.assert_allclose(store["conv"][:], want, atol=1e-5)


def test_a_tuple_of_arrays_is_of_the_examples(tmp_path: Path) -> None:
    class Past(Net):
        def forward(self, x: Tensor, past: tuple[Tensor, Tensor]) -> Tensor:
            return super().forward(x + past[0] - past[1])

    batches = [{"x": x, "past": (2 * x, x)} for x in X.split(8)]
    with repsim.harvest(Past(), batches, tmp_path / "a.h5", layers="b", examples=32) as store:
        np.testing.assert_allclose(store["b"][:], Net()(2 * X).detach(), atol=1e-5)
        assert len(set(store.inputs.tolist())) == 32


def test_a_network_of_any_arguments_takes_tokens(tmp_path: Path) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Embedding(9, 4)

        def forward(self, *args: Any, **options: Any) -> Tensor:
            return self.inner(*args, **options)

    tokens = torch.randint(0, 9, (24, 5), generator=torch.Generator().manual_seed(0))
    net = Wrapped()
    with repsim.harvest(net, tokens.split(8), tmp_path / "a.h5", examples=24) as store:
        np.testing.assert_array_equal(store["inner"][:], net.inner(tokens).detach())


OF_WHOLE_BATCHES = [OfLargeBatches, Full, Leaving, Converging, Cut, Packed]


@pytest.mark.parametrize("kind", OF_WHOLE_BATCHES)
def test_a_batch_is_refused_or_each_of_its_rows_is_that_of_the_example_alone(
    tmp_path: Path, kind: Callable[[], nn.Module]
) -> None:
    net, found = kind().eval(), []
    for seed in range(20):
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            alone = torch.cat([net(each[None]) for each in x])
        found.append(rows_or_none(net, x, tmp_path / f"{seed}.h5"))
        if found[-1] is not None:
            np.testing.assert_allclose(found[-1], alone, atol=1e-5)
    assert any(each is None for each in found)


def rows_or_none(net: nn.Module, x: Tensor, path: Path) -> np.ndarray | None:
    """The layer ``b`` of a batch; None where the network is refused for what it does to it."""
    with suppress(CaptureError), repsim.harvest(net, [x], path, layers="b", examples=16) as store:
        return store["b"][:]
    return None


@pytest.mark.parametrize("shape", [(5,), (5, 0), (5, 2000), (5, 700, 33), (5, 64, 56, 56)])
def test_a_part_of_a_layer_is_its_first_values_and_some_of_all_others(
    shape: tuple[int, ...],
) -> None:
    x = torch.arange(float(np.prod(shape))).reshape(shape)
    part = thinned(x)
    assert len(part) == 5
    assert part[0].numel() < 4096
    assert torch.equal(part.flatten()[:1], x.flatten()[:1])
    for axis in range(1, x.ndim):  # the same places of a shorter one
        size = x.shape[axis] // 2
        cut = thinned(x.narrow(axis, 0, size))
        assert torch.equal(cut, part.narrow(axis, 0, cut.shape[axis]))
        assert 2 * part.shape[axis] >= x.shape[axis] or part.shape[axis] > cut.shape[axis]


@pytest.mark.parametrize("pair", [(6, 126), (126, 6), (40, 42), (0, 128), (65, 64)])
def test_an_example_that_depends_on_any_other_of_a_large_batch_is_seen(
    tmp_path: Path, pair: tuple[int, int]
) -> None:
    class Limited(Net):
        def between(self, x: Tensor) -> Tensor:
            return x.maximum(x.max() - 50)

    x = torch.rand(129, 6, generator=torch.Generator().manual_seed(0))
    net = Limited()
    with torch.no_grad():
        net.a.weight.copy_(torch.eye(6).repeat(3, 1)[:16])
    x += 60
    x[pair[0]], x[pair[1]] = 100, 20  # the limit of 50 changes no third one
    with pytest.raises(CaptureError, match="layer 'b' gives an example other values in another"):
        repsim.harvest(net, [x], tmp_path / "a.h5", layers="b", examples=129)


def test_what_is_allowed_is_recorded(tmp_path: Path) -> None:
    with repsim.harvest(
        Dropped(), X.split(8), tmp_path / "a.h5", examples=32, allow_random=True
    ) as store:
        assert store.provenance()["allowed"] == {"randomness": True, "batch": False}


def test_an_allowed_state_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    net = Running().eval()
    got = harvested(net, tmp_path, allow_batch=True)
    with torch.no_grad():
        want = torch.cat([net(x) for x in X.split(8)])  # from the state of before the harvest
    np.testing.assert_allclose(got, want.numpy(), atol=1e-6)


def test_the_first_layer_is_named_whatever_was_chosen(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.ReLU(), nn.Linear(5, 3)
    )
    with pytest.raises(CaptureError, match="layer '1' gives an example other values"):
        harvested(net, tmp_path, layers="3")


@pytest.mark.parametrize("kind", [*RANDOM, *BY_BATCH, *STATE])
def test_networks_are_left_as_they_were(tmp_path: Path, kind: Callable[[], nn.Module]) -> None:
    net = kind()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = {key: value for key, value in vars(net).items() if key != "training"}
    calls = list(net.seen["calls"]) if kind is Counting else None
    drawn, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.raises(CaptureError):
        harvested(net, tmp_path)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    harvested(net, tmp_path, allow_random=True, allow_batch=True)
    assert net.training
    assert {k: v for k, v in vars(net).items() if k != "training"} == attributes
    if kind is Counting:
        assert net.seen["calls"] == calls
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_weights_that_a_forward_writes_into_are_brought_back(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Embedding(9, 4, max_norm=0.1), nn.Flatten(), nn.Linear(12, 3))
    before = net[0].weight.detach().clone()
    tokens = torch.randint(0, 9, (16, 3), generator=torch.Generator().manual_seed(0))
    repsim.harvest(net, tokens.split(8), tmp_path / "a.h5", examples=16).close()
    assert torch.equal(net[0].weight, before)


def test_running_statistics_of_a_module_in_a_list_are_brought_back(tmp_path: Path) -> None:
    net = InAList()
    net.parts = [nn.BatchNorm1d(16)]
    with pytest.raises(CaptureError, match="layer 'b' gives an example other values"):
        harvested(net, tmp_path)
    assert torch.equal(net.parts[0].running_mean, torch.zeros(16))
    assert int(net.parts[0].num_batches_tracked) == 0


class Hardened(Net):
    """Signs in evaluation mode, of which an attribute is kept by a ``train`` of its own."""

    hard = False

    def train(self, mode: bool = True) -> Hardened:
        self.hard = not mode
        return super().train(mode)

    def between(self, x: Tensor) -> Tensor:
        return (x - 0.3).sign() if self.hard else x


class Merging(Net):
    """Weights of two parts, which are merged in place for evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.more, self.merged = nn.Parameter(torch.ones(8, 16)), None

    def eval(self) -> Merging:
        self.b.weight.data += self.more.data
        self.merged = self.b.weight
        return super().eval()

    def between(self, x: Tensor) -> Tensor:
        return x if self.training else x + 0 * self.merged.sum()


def test_a_comparison_names_the_weights_that_were_handed_over(tmp_path: Path) -> None:
    network, images = Merging(), torch.randn(64, 6)
    handed = network_digest(network)
    given = {"layers_a": "a", "layers_b": "b", "pooling": "project:3"}
    found = repsim.compare(network, network, [images], **given)
    assert found.networks == ((handed, handed),)
    kept = {"examples": 64, "layers": ["a", "b"], "pooling": "project:3"}
    with repsim.harvest(network, images.split(16), tmp_path / "a.h5", **kept) as store:
        assert store.provenance()["weights_sha256"] == handed
        right = repsim.cka_map(store).unbiased[0, 1]
    assert network_digest(network) == handed
    np.testing.assert_allclose(found.unbiased, right, atol=1e-5)  # the same random directions


class MonteCarlo(Net):
    """Dropout that stays on in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def train(self, mode: bool = True) -> MonteCarlo:
        super().train(mode)
        self.drop.train()
        return self

    def between(self, x: Tensor) -> Tensor:
        return self.drop(x)


@pytest.mark.parametrize("kind", [Hardened, Merging])
@pytest.mark.parametrize("inside", [False, True])
def test_a_network_is_put_in_evaluation_mode_by_its_own_code(
    tmp_path: Path, kind: Callable[[], nn.Module], inside: bool
) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = kind()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

        def eval(self) -> Around:
            self.inner.eval()
            return super().eval()

    net, layer = (Around(), "inner.b") if inside else (kind(), "b")
    own = net.inner if inside else net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = dict(vars(own))
    given = {"layers": layer, "examples": 32, "overwrite": True}
    with repsim.harvest(net, X.split(8), tmp_path / "a.h5", **given) as store:
        got = store[layer][:]
    assert vars(own) == attributes
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    np.testing.assert_allclose(got, net.eval()(X).detach(), rtol=1e-5, atol=1e-5)
    with repsim.harvest(net, X.split(8), tmp_path / "a.h5", **given) as store:
        np.testing.assert_array_equal(store[layer][:], got)  # eval() is not called again


def test_dropout_that_a_network_keeps_on_is_random(tmp_path: Path) -> None:
    for net in (MonteCarlo(), MonteCarlo().eval()):
        with pytest.raises(CaptureError, match="layer 'drop' gives other values.*random"):
            harvested(net, tmp_path, overwrite=True)
        harvested(net, tmp_path, allow_random=True, overwrite=True)
        assert net.drop.training
    net.drop.eval()
    harvested(net, tmp_path, overwrite=True)  # as it was handed over


def test_an_eval_that_fails_is_one_line(tmp_path: Path) -> None:
    class Failing(Net):
        def eval(self) -> Failing:
            raise RuntimeError("no weights")

    with pytest.raises(CaptureError, match=r"eval\(\) of Failing fails: RuntimeError: no weights"):
        harvested(Failing(), tmp_path)


OUTSIDE = nn.BatchNorm1d(16)


def through_a_helper(x: Tensor) -> Tensor:
    return OUTSIDE(x)


class OfAGlobal(Net):
    def between(self, x: Tensor) -> Tensor:
        return OUTSIDE(x)


class OfAHelper(Net):
    def between(self, x: Tensor) -> Tensor:
        return through_a_helper(x)


class OfAnAttribute(Net):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def between(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("place", ["global", "helper", "closure", "partial", "method", "lambda"])
def test_modules_that_functions_reach_are_brought_back(tmp_path: Path, place: str) -> None:
    inner = nn.BatchNorm1d(16)

    class InAClosure(Net):
        def between(self, x: Tensor) -> Tensor:
            return (lambda y: inner(y))(x)

    net, norm = {
        "global": lambda: (OfAGlobal(), OUTSIDE),
        "helper": lambda: (OfAHelper(), OUTSIDE),
        "closure": lambda: (InAClosure(), inner),
        "partial": lambda: (OfAnAttribute(partial(partial(inner))), inner),
        "method": lambda: (OfAnAttribute(inner.forward), inner),
        "lambda": lambda: (OfAnAttribute(lambda x: inner(x)), inner),
    }[place]()
    with pytest.raises(CaptureError, match="layer 'b' gives an example other values"):
        harvested(net, tmp_path)
    harvested(net, tmp_path, allow_batch=True)
    assert torch.equal(norm.running_mean, torch.zeros(16))
    assert int(norm.num_batches_tracked) == 0


def test_generators_of_a_network_are_brought_back() -> None:
    class Held(Net):
        def __init__(self) -> None:
            super().__init__()
            self.torch = torch.Generator().manual_seed(1)
            self.numpy, self.python = np.random.default_rng(1), random.Random(1)
            self.array = np.zeros(3)

        def between(self, x: Tensor) -> Tensor:
            self.array += 1
            drawn = self.numpy.random() + self.python.random() + self.array.sum()
            return x + torch.randn(x.shape, generator=self.torch) + drawn

    net = Held()
    with Unchanged(net) as kept, kept.watching():
        first = net(X)
    assert torch.equal(net(X), first)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_functions_of_the_example_pass_in_every_type(tmp_path: Path, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU()) for _ in range(8)]
    net = nn.Sequential(nn.Linear(6, 64), *layers).to(kind)
    batches = [x.to(kind) for x in X.split(8)]
    repsim.harvest(net, batches, tmp_path / "a.h5", examples=32).close()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("between", [Dropped, Centred])
def test_halves_are_refused_too(
    tmp_path: Path, kind: torch.dtype, between: Callable[[], nn.Module]
) -> None:
    net = between().to(kind)
    with pytest.raises(CaptureError, match="layer 'b'"):
        repsim.harvest(net, [x.to(kind) for x in X.split(8)], tmp_path / "a.h5", examples=32)


def test_a_small_dependence_in_halves_is_seen_in_a_wider_copy(tmp_path: Path) -> None:
    class Slightly(Net):
        def between(self, x: Tensor) -> Tensor:
            return x - 0.01 * x.mean(0)

    net = Slightly().to(torch.bfloat16)
    with pytest.raises(CaptureError, match="other values in another batch"):
        repsim.harvest(net, [x.bfloat16() for x in X.split(8)], tmp_path / "a.h5", examples=32)


def test_a_network_of_one_batch_size_is_judged_on_whole_batches(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self, centred: bool) -> None:
            super().__init__()
            self.f, self.centred = nn.Linear(6, 5), centred

        def forward(self, x: Tensor) -> Tensor:
            x = x.reshape(8, 6)
            return self.f(x - x.mean(0) if self.centred else x)

    harvested(Fixed(False), tmp_path)
    with pytest.raises(CaptureError, match="layer 'f' gives an example other values"):
        harvested(Fixed(True), tmp_path, overwrite=True)


def test_a_plan_refuses_what_a_harvest_would() -> None:
    with pytest.raises(CaptureError, match="layer 'b' gives other values"):
        plan_harvest(Dropped(), X.split(8), examples=32)
    assert plan_harvest(Dropped(), X.split(8), examples=32, allow_random=True).n == 32


class Images(nn.Module):
    """A network with a linear head, whose features are random or depend on the batch."""

    def __init__(self, spoil: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.c, self.head, self.spoil = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), spoil

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.spoil(self.c(x)).mean((2, 3)))


def _dropped(x: Tensor) -> Tensor:
    return F.dropout(x, 0.5)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(0)


def _set() -> ImageSet:
    pixels = (IMAGES * 40 + 128).clamp(0, 255).to(torch.uint8)
    ids = tuple(map(str, range(16)))
    return ImageSet(
        "some", "all", pixels, (Target("label", torch.arange(16) % 2, ("a", "b")),), ids
    )


RUNS = {
    "compare": lambda net, **options: compare(net, net, IMAGES.split(8), **options),
    "invariance": lambda net, **options: invariance(
        net, _set(), nn.Identity(), batch_size=8, **options
    ),
    "classes": lambda net, **options: compare_classes(net, _set(), batch_size=8, **options),
    "head features": lambda net, **options: head_features(net, IMAGES, **options),
    "layer null spaces": lambda net, **options: layer_null_spaces(net, IMAGES, **options),
}


class Renormed(nn.Conv2d):
    """Weights of bounded norm, put in place of the old ones in each forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data = torch.renorm(self.weight.data, 2, 0, 0.1)
        return super().forward(x)


@pytest.mark.parametrize("where", [*RUNS, "harvest", "trace"])
def test_weights_that_a_forward_replaces_are_brought_back(where: str, tmp_path: Path) -> None:
    net = Images(torch.relu).eval()
    net.c = Renormed(3, 4, 3)
    before, run = net.c.weight.detach().clone(), RUNS.get(where)
    if run:
        run(net)
    elif where == "trace":
        trace(net, IMAGES)
    else:
        repsim.harvest(net, [IMAGES], tmp_path / "a.h5", examples=16).close()
    assert torch.equal(net.c.weight, before)


class Initialising(Images):
    """The first batch decides a parameter."""

    def __init__(self) -> None:
        super().__init__(self.shifted)
        self.shift = nn.Parameter(torch.zeros(4, 1, 1))
        self.register_buffer("ready", torch.tensor(False))

    def shifted(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.shift.data.copy_(x.mean((0, 2, 3))[:, None, None])
            self.ready.fill_(True)
        return x - self.shift


@pytest.mark.parametrize("where", RUNS)
def test_every_place_where_a_network_runs_leaves_it_as_it_was(where: str) -> None:
    net = Initialising().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    RUNS[where](net, allow_batch=True)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("where", RUNS)
def test_every_place_where_a_network_runs_refuses(where: str) -> None:
    run = RUNS[where]
    with pytest.raises(CaptureError, match="layer 'head' .*random.*allow_random=True"):
        run(Images(_dropped))
    with pytest.raises(CaptureError, match="layer 'head' .*other examples.*allow_batch=True"):
        run(Images(_centred))
    run(Images(_dropped), allow_random=True)
    run(Images(_centred), allow_batch=True)
    run(Images(torch.relu))


# --- one input, one row each


@pytest.mark.parametrize(
    "batch",
    [
        ([X, X + 1], torch.zeros(32).long()),
        [(x, 0) for x in IMAGES],
        list(IMAGES),
        [torch.zeros(5, 6), torch.zeros(7, 6)],
        [torch.zeros(5).long(), torch.zeros(7).long()],
        [IMAGES, IMAGES + 1],
        [{"x": x} for x in IMAGES],
    ],
    ids=["views", "pairs", "images", "ragged", "tokens", "views alone", "dictionaries"],
)
def test_a_batch_of_views_or_of_examples_is_refused_by_all(tmp_path: Path, batch: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    net(IMAGES if batch[0] is IMAGES else X)
    with pytest.raises(UsageError, match="a batch gave .*collate_fn=list"):
        repsim.harvest(net, [batch], tmp_path / "a.h5", examples=16)
    with pytest.raises(UsageError, match="a batch gave .*collate_fn=list"):
        compare(net, net, [batch])


def test_one_view_in_a_list_is_the_input(tmp_path: Path) -> None:
    batches = [([x], torch.zeros(len(x)).long()) for x in X.split(8)]
    with repsim.harvest(Net(), batches, tmp_path / "a.h5", examples=32) as store:
        np.testing.assert_allclose(store["b"][:], Net()(X).detach().numpy(), atol=1e-6)
