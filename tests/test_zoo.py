"""Networks and loaders of many families: rows, as each example alone gives them, or refusals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import rnn
from torch.utils.data import DataLoader, IterableDataset
from toy_network import Net

import repsim
from repsim.errors import RepsimError

N = 12
torch.manual_seed(0)
X = torch.randn(N, 4)
SERIES = torch.randn(N, 6, 4)
MAPS = torch.randn(N, 3, 8, 4)
SIZES = [3, 7, 4, 2, 6, 5, 9, 3, 8, 4, 5, 7]
RAGGED = [torch.randn(size, 4) for size in SIZES]


@dataclass(frozen=True)
class Row:
    """A network or a loader, and what is right.

    Attributes:
        network: of one test.
        layer: that is stored.
        expected: what is stored of an example, from what the layer gives for it alone; or part of
            the refusal.
        inputs: one tensor (n, ...), or arguments by name.
        keep: further arguments of ``harvest``.
        axis: of the examples in the layer.
        call: of the layer.
    """

    network: Callable[[], nn.Module]
    layer: str
    expected: Callable[[Tensor], Tensor] | str
    inputs: Tensor | dict[str, Tensor] = field(default_factory=lambda: X)
    keep: dict[str, Any] = field(default_factory=dict)
    axis: int = 0
    call: int = 0


def whole(x: Tensor) -> Tensor:
    return x


def over_maps(x: Tensor) -> Tensor:
    return x.mean((1, 2))


def over_first(x: Tensor) -> Tensor:
    return x.mean(0)


def over_last(x: Tensor) -> Tensor:
    return x.mean(-1)


# --- networks


def squeeze_and_excite() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.conv(x)
        return net.out(x * net.gate(net.squeeze(x)).sigmoid())

    return Net(
        forward,
        conv=nn.Conv2d(3, 8, 3),
        squeeze=nn.AdaptiveAvgPool2d(1),
        gate=nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(2, 8, 1)),
        out=nn.Identity(),
    )


def windows() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.stem(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        parts = x.view(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        parts = net.mix(parts).view(n, h // 2, w // 2, 2, 2, c).transpose(2, 3)
        return net.norm(x + parts.reshape(n, h, w, c))

    return Net(forward, stem=nn.Conv2d(3, 8, 2, 2), mix=nn.Linear(8, 8), norm=nn.LayerNorm(8))


def mixer() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.embed(x)
        x = net.norm(x + net.tokens(x.transpose(1, 2)).transpose(1, 2))
        return net.channels(x)

    return Net(
        forward,
        embed=nn.Linear(4, 4),
        tokens=nn.Linear(6, 6),
        norm=nn.LayerNorm(4),
        channels=nn.Linear(4, 5),
    )


def fourier() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.real(net.mix(torch.fft.fft2(net.embed(x))).real)

    return Net(forward, embed=nn.Linear(4, 5), mix=nn.Identity(), real=nn.Identity())


def queries() -> nn.Module:
    """Four learned queries that attend to maps, with the sequence first, as in DETR."""

    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.stem(x).flatten(2).permute(2, 0, 1)
        asked = net.ask.weight[:, None].repeat(1, x.shape[1], 1)
        return net.out(net.attend(asked, x, x)[0])

    return Net(
        forward,
        stem=nn.Conv2d(3, 8, 2, 2),
        ask=nn.Embedding(4, 8),
        attend=nn.MultiheadAttention(8, 2),
        out=nn.Linear(8, 5),
    )


def prototypes() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        return torch.cdist(net.embed(x), net.project(net.table(torch.arange(4))))

    return Net(forward, embed=nn.Linear(4, 5), table=nn.Embedding(4, 3), project=nn.Linear(3, 5))


def biased_attention() -> nn.Module:
    """Relative positions give (heads, t, t), whatever the examples are; there are four heads."""

    def forward(net: Any, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        bias = net.bias(net.table(places[:, None] - places + 8).permute(2, 0, 1))
        scores = (x @ x.transpose(1, 2))[:, None] + bias
        return net.out(scores.softmax(-1).mean(1) @ x)

    return Net(forward, table=nn.Embedding(16, 4), bias=nn.Identity(), out=nn.Linear(4, 5))


def in_another_order(change: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Net(lambda net, x: net.embed(change(x)), embed=nn.Linear(4, 5))


def by_gate(x: Tensor) -> Tensor:
    return x[x[:, 0].argsort()]


def experts() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, 4)
        chosen, found = net.gate(tokens).argmax(1), torch.zeros(len(tokens), 5)
        for k in range(2):
            found[chosen == k] = net.expert[k](tokens[chosen == k])
        return net.out(found.view(*x.shape[:2], 5))

    return Net(
        forward,
        gate=nn.Linear(4, 2),
        expert=nn.ModuleList([nn.Linear(4, 5), nn.Linear(4, 5)]),
        out=nn.Identity(),
    )


def two_in_one_batch() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        left, right = net.embed(torch.cat([x, x.flip(1)])).chunk(2)
        return net.out(left - right)

    return Net(forward, embed=nn.Linear(4, 5), out=nn.Identity())


def changes_its_input() -> nn.Module:
    return Net(lambda net, x: net.embed(x.sub_(1).mul_(0.5)), embed=nn.Linear(4, 5))


def folded_time() -> nn.Module:
    """Sequences first, and time folded into the batch for a convolution; maps are 8 by 4."""

    def forward(net: Any, x: Tensor) -> Tensor:
        t, n = x.shape[:2]
        return net.out(net.conv(x.flatten(0, 1)).unflatten(0, (t, n)))

    return Net(forward, conv=nn.Conv2d(3, 5, 1), out=nn.Identity())


def packed() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        lengths = torch.full((len(x),), x.shape[1])
        _, last = net.gru(rnn.pack_padded_sequence(x, lengths, batch_first=True))
        return net.out(last[0])

    return Net(forward, gru=nn.GRU(4, 5, batch_first=True), out=nn.Identity())


def observed() -> nn.Module:
    from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver

    quantise = FakeQuantize(MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    return nn.Sequential(nn.Linear(4, 5), quantise, nn.Linear(5, 3))


def averaged() -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(nn.Sequential(nn.Linear(4, 5)))


def twice() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.act(net.layer(net.act(net.layer(x))))

    return Net(forward, layer=nn.Linear(4, 4), act=nn.ReLU(inplace=True))


def micro_batches() -> nn.Module:
    def forward(net: Any, x: Tensor) -> Tensor:
        return net.out(torch.cat([net.embed(part) for part in x.split(2)]))

    return Net(forward, embed=nn.Linear(4, 5), out=nn.Identity())


def one_by_one() -> nn.Module:
    """A layer with as many features as a batch has examples runs on one after the other."""

    def forward(net: Any, x: Tensor) -> Tensor:
        return net.out(torch.stack([net.embed(each) for each in x]))

    return Net(forward, embed=nn.Linear(4, 4), out=nn.Identity())


AVERAGE: dict[str, Any] = {"pooling": "avg"}
FIRST = {"pooling": "channels_first+avg"}
LAST = {"pooling": "channels_last+avg"}
ROWLESS = "no row for each of"
DEPENDS = "gives an example other values in another batch"

ROWS = {
    "squeeze (n, c, 1, 1)": Row(squeeze_and_excite, "squeeze", over_maps, MAPS, AVERAGE),
    "excited maps": Row(squeeze_and_excite, "out", over_maps, MAPS, AVERAGE),
    "windows in the batch": Row(windows, "mix", ROWLESS, MAPS),
    "windows put back": Row(windows, "norm", lambda x: x.mean((0, 1)), MAPS, AVERAGE),
    "mixed tokens": Row(mixer, "tokens", "nothing says which axis", SERIES, AVERAGE),
    "mixed tokens, said": Row(mixer, "tokens", over_last, SERIES, FIRST),
    "mixed channels": Row(mixer, "channels", over_first, SERIES, AVERAGE),
    "complex values": Row(fourier, "mix", "it returns a tensor of torch.complex64", SERIES),
    "real parts": Row(fourier, "real", over_first, SERIES, AVERAGE),
    "queries": Row(queries, "out", over_first, MAPS, AVERAGE, axis=1),
    "as many prototypes as examples": Row(prototypes, "project", ROWLESS),
    "as many heads as examples": Row(biased_attention, "bias", ROWLESS, SERIES),
    "attention with a bias": Row(biased_attention, "out", over_first, SERIES, AVERAGE),
    "rows turned round": Row(in_another_order(lambda x: x.flip(0)), "embed", DEPENDS),
    "rows shifted": Row(in_another_order(lambda x: x.roll(1, 0)), "embed", DEPENDS),
    "rows sorted by a gate": Row(in_another_order(by_gate), "embed", DEPENDS),
    "tokens of one expert": Row(experts, "expert.0", ROWLESS, SERIES),
    "tokens of all experts": Row(experts, "out", over_first, SERIES, LAST),
    "two views in one batch": Row(two_in_one_batch, "embed", ROWLESS),
    "difference of two views": Row(two_in_one_batch, "out", whole),
    "input changed in place": Row(changes_its_input, "embed", whole),
    "packed sequence": Row(packed, "gru:0", ROWLESS, SERIES),
    "last of a packed sequence": Row(packed, "out", whole, SERIES),
    "observer of a fake quantisation": Row(observed, "2", "gives an example other values"),
    "averaged weights": Row(averaged, "module.0", whole),
    "parts of a batch": Row(micro_batches, "embed", ROWLESS),
    "all parts of a batch": Row(micro_batches, "out", whole),
    "examples one by one": Row(one_by_one, "embed", ROWLESS),
    "all examples, one by one": Row(one_by_one, "out", whole),
    "one module twice": Row(twice, "layer#1", whole, call=1),
}  # fmt: skip


def alone(row: Row) -> np.ndarray:
    """The rows of a layer, with each example shown alone."""
    torch.manual_seed(1)
    network = row.network().eval()
    found: list[list[Tensor]] = []
    address = row.layer.partition("#")[0]
    network.get_submodule(address).register_forward_hook(
        lambda module, given, output: found[-1].append(output.clone())
    )
    for k in range(N):
        found.append([])
        with torch.no_grad():
            network(row.inputs[k : k + 1].clone())
    kept = [row.expected(calls[row.call].select(row.axis, 0)) for calls in found]
    return torch.stack(kept).numpy()


def harvested(network: nn.Module, loader: Any, layer: str, **keep: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with repsim.harvest(network, loader, "zoo.h5", layers=layer, **keep) as store:
            return store[store.layers[0]][:]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ROWS)
def test_networks(name: str) -> None:
    row = ROWS[name]
    torch.manual_seed(1)
    network, batches = row.network(), [each.clone() for each in row.inputs.split(4)]
    given = {"examples": N, **row.keep}
    if isinstance(row.expected, str):
        with pytest.raises(RepsimError, match=row.expected):
            harvested(network, batches, row.layer, **given)
        return
    found = harvested(network, batches, row.layer, **given)
    np.testing.assert_allclose(found, alone(row), atol=1e-5)
    assert torch.equal(torch.cat(batches), row.inputs)  # a network may change what it is given


def test_an_axis_that_is_as_long_by_chance_is_not_proposed() -> None:
    batches = torch.randn(6, 8, 3, 8, 4).split(4, 1)  # (t, n, c, h, w), batches of four, maps 8 x 4
    with pytest.raises(RepsimError, match=ROWLESS) as refused:
        harvested(folded_time(), batches, "conv", examples=8, batch_axis={"@input": 1})
    assert "batch-axis" not in str(refused.value)
    for axis in (2, 3):
        with pytest.raises(RepsimError, match=ROWLESS):
            said = {"@input": 1, "conv": axis}
            harvested(folded_time(), batches, "conv", examples=8, batch_axis=said)


def test_a_network_that_changes_its_input_leaves_it_to_the_next() -> None:
    first, second = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5)), nn.Linear(4, 5)
    batches = [each.clone() for each in X.split(4)]
    found = repsim.compare(
        first, nn.Sequential(second), batches, layers_a="1", layers_b="0"
    ).unbiased
    plain = nn.Sequential(nn.ReLU(), first[1])
    right = repsim.compare(
        plain, nn.Sequential(second), X.split(4), layers_a="1", layers_b="0"
    ).unbiased
    np.testing.assert_allclose(found, right, rtol=1e-6)
    assert torch.equal(torch.cat(batches), X)


# --- loaders


class Reused:
    """A loader that gives every batch in the same memory."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        self.wrap = wrap

    def __iter__(self) -> Iterator[Any]:
        memory = torch.empty(4, 4)
        for batch in X.split(4):
            memory.copy_(batch)
            yield self.wrap(memory)


class Random:
    """One that shuffles, too: both times it is read, its first batch lies in the same memory."""

    def __init__(self) -> None:
        self.memory = torch.empty(4, 4)

    def __iter__(self) -> Iterator[Any]:
        for places in torch.randperm(N).split(4):
            self.memory.copy_(X[places])
            yield self.memory


class Named(NamedTuple):
    image: Tensor
    label: Tensor


class Dealt(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(X)


LOADERS: dict[str, Callable[[], Any]] = {
    "memory used again": lambda: Reused(whole),
    "memory used again, as an array": lambda: Reused(Tensor.numpy),
    "memory used again, in a dictionary": lambda: Reused(lambda x: {"input": x}),
    "memory used again, by a generator": lambda: iter(Reused(lambda x: (x, x[:, 0] > 0))),
    "iterable data set": lambda: DataLoader(Dealt(), 5),
    "read-only array": lambda: [np.frombuffer(X.numpy().tobytes(), np.float32).reshape(N, 4)],
    "other byte order": lambda: [X.numpy().astype(">f4")],
    "array read backwards": lambda: [np.ascontiguousarray(X.numpy()[::-1])[::-1]],
    "array read backwards, in a dictionary": lambda: [
        {"input": np.ascontiguousarray(X.numpy()[::-1])[::-1]}
    ],
    "empty batch": lambda: [X[:4], X[:0], X[4:]],
    "zeros and ones as floats": lambda: [(X, F.one_hot(torch.arange(N) % 3).float())],
    "fields by name": lambda: [Named(x, x[:, 0] > 0) for x in X.split(5)],
    "images by name": lambda: [{"image": x, "label": x[:, 0] > 0} for x in X.split(5)],
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_loaders(name: str) -> None:
    network = nn.Sequential(nn.Linear(4, 5))
    found = harvested(network, LOADERS[name](), "0", examples=N)
    np.testing.assert_allclose(found, network(X).detach().numpy(), atol=1e-6)


def test_a_shuffle_does_not_hide_in_memory_that_is_used_again() -> None:
    with pytest.raises(RepsimError, match="gives other inputs when it is read again"):
        harvested(nn.Sequential(nn.Linear(4, 5)), Random(), "0", examples=N)


# --- padding to the longest of a batch


def padded(places: range, turned: bool = False) -> Tensor:
    found = rnn.pad_sequence([RAGGED[k] for k in places], batch_first=True)
    return found.transpose(1, 2) if turned else found


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv1d(4, 5, 3, padding=1), nn.AdaptiveAvgPool1d(1))


def recurrent() -> nn.Module:
    return nn.Sequential(nn.GRU(4, 5, batch_first=True))


PADDED = {
    "average": (lambda: nn.Sequential(nn.Linear(4, 5)), "0", {"pooling": "avg"}, False),
    "last": (recurrent, "0:0", {"pooling": "last"}, False),
    "state": (recurrent, "0:1", {"batch_axis": {"0:1": 1}}, False),
    "pooled by the network": (pooled, "1", {}, True),
}


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("size", [6, 4])
def test_padding_to_the_longest_of_a_batch_is_asked_about(name: str, size: int) -> None:
    network, layer, keep, turned = PADDED[name]
    batches = [padded(range(k, k + size), turned) for k in range(0, N, size)]
    with pytest.raises(RepsimError, match="filled up to the longest of each batch"):
        harvested(network(), batches, layer, examples=N, **keep)
    kept = harvested(network(), batches, layer, examples=N, masks="*=none", overwrite=True, **keep)
    assert len(kept) == N


def test_padding_to_the_longest_is_asked_about_by_compare() -> None:
    network = nn.Sequential(nn.Linear(4, 5))
    batches = [padded(range(6)), padded(range(6, N))]
    with pytest.raises(RepsimError, match="filled up to the longest of each batch"):
        repsim.compare(network, network, batches, pooling="avg")


def test_examples_of_one_length_in_each_batch_are_not() -> None:
    network = nn.Sequential(nn.Linear(4, 5))
    batches = [torch.randn(4, size, 4) for size in (5, 3, 8)]
    batches[1][:, -1] = 0  # silence at the end of all
    found = harvested(network, batches, "0", examples=N, pooling="avg")
    right = torch.cat([network(x).mean(1) for x in batches]).detach()
    np.testing.assert_allclose(found, right, atol=1e-6)


def test_an_embedding_says_which_token_is_padding() -> None:
    network = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Tanh())
    given = {"examples": N, "pooling": "avg", "overwrite": True}
    tokens = torch.randint(1, 9, (N, 5))
    right = network(tokens).mean(1).detach()
    np.testing.assert_allclose(harvested(network, [tokens], "1", **given), right, atol=1e-6)
    tokens[3, 2:] = 0
    with pytest.raises(RepsimError, match="nothing says which of its positions"):
        harvested(network, [tokens], "1", **given)
    told = [{"input": tokens, "real": tokens != 0}]
    found = harvested(network, told, "1", masks="*=real:tokens", **given)
    right[3] = network(tokens[3, :2]).mean(0).detach()
    np.testing.assert_allclose(found, right, atol=1e-6)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, X)])
def test_networks_of_jit_are_refused(make: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(RepsimError, match="pass the module it was made from"):
        harvested(make(nn.Sequential(nn.Linear(4, 5)).eval()), [X], "0", examples=N)
