"""The axes of layers: channels and positions, inferred or refused, against means by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from toy_network import Net

import repsim
from repsim.activations.analyses.probe import ProbePlan, probe_layers
from repsim.activations.capture import Capture
from repsim.activations.capture.tracing import trace_rows
from repsim.activations.store.axes import stored_axes
from repsim.activations.store.format import ExampleRows, LayerSpec
from repsim.activations.store.writer import write_store
from repsim.errors import ShapeError, UsageError

N = 6
IMAGES = torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(N, 5, 8, generator=torch.Generator().manual_seed(1))


def convnext_block() -> nn.Module:
    """Of as many channels as its maps are high and wide: no shape tells them apart."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(self.act(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)

    return Net(
        forward,
        depthwise=nn.Conv2d(8, 8, 7, padding=3, groups=8),
        norm=nn.LayerNorm(8),
        wide=nn.Linear(8, 16),
        act=nn.GELU(),
        narrow=nn.Linear(16, 8),
    )


def convnext() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 2, 2), convnext_block())


def windows() -> nn.Module:
    """Attention within windows, as in Swin: (n, h, w, c) is cut up and put together again."""

    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        n, _, c = x.shape
        y = self.norm(x).view(n, 8, 8, c).roll((-1, -1), (1, 2))
        y = y.view(n, 2, 4, 2, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(y).view(-1, 16, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        y = y.transpose(1, 2).reshape(-1, 4, 4, c).view(n, 2, 2, 4, 4, c)
        y = self.merged(y.permute(0, 1, 3, 2, 4, 5).reshape(n, 8, 8, c))
        return self.out(x.view(n, 8, 8, c) + y)

    return Net(
        forward,
        stem=nn.Conv2d(3, 8, 2, 2),
        norm=nn.LayerNorm(8),
        qkv=nn.Linear(8, 24),
        merged=nn.Identity(),
        out=nn.Identity(),
    )


def mixer() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = self.mixed(x + self.over_tokens(x.transpose(1, 2)).transpose(1, 2))
        return self.out(x + self.over_channels(x))

    return Net(
        forward,
        stem=nn.Conv2d(3, 8, 4, 4),
        over_tokens=nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16)),
        mixed=nn.Identity(),
        over_channels=nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)),
        out=nn.Identity(),
    )


def series() -> nn.Module:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.relu(self.norm(self.conv(x.transpose(1, 2))))
        return self.rnn(F.max_pool1d(y, 1).transpose(1, 2))[0]

    return Net(
        forward,
        conv=nn.Conv1d(8, 7, 3, padding=1),
        norm=nn.BatchNorm1d(7),
        relu=nn.ReLU(),
        rnn=nn.GRU(7, 4, batch_first=True),
    )


def vit() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.weight.expand(len(x), -1, -1), x], 1)
        return self.encoder(self.drop(x))

    return Net(
        forward,
        patches=nn.Conv2d(3, 8, 4, 4),
        token=nn.Embedding(1, 8),
        drop=nn.Dropout(),
        encoder=nn.TransformerEncoder(layer, 1),
    )


def generator() -> nn.Module:
    def forward(self: Any, z: Tensor) -> Tensor:
        x = self.relu(self.dense(z).view(-1, 8, 4, 4))
        return self.tanh(self.up(x))

    return Net(
        forward,
        dense=nn.Linear(8, 128),
        relu=nn.ReLU(),
        up=nn.ConvTranspose2d(8, 3, 4, 2, 1),
        tanh=nn.Tanh(),
    )


def video() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.MaxPool3d(2))


def channels_last_format() -> nn.Module:
    """The memory format says nothing about axes."""
    return nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.ReLU()).to(memory_format=torch.channels_last)


VIDEO = torch.randn(N, 3, 4, 6, 6, generator=torch.Generator().manual_seed(2))
MAPS = torch.randn(N, 4, 5, 3, generator=torch.Generator().manual_seed(3))


def patches() -> nn.Module:
    """Of pixels, cut out by a view: channels and positions of the image become features."""

    def forward(self: Any, x: Tensor) -> Tensor:
        x = x.view(len(x), 3, 4, 4, 4, 4).permute(0, 2, 4, 3, 5, 1)
        return self.embed(self.cut(x.reshape(len(x), 16, 48)))

    return Net(forward, cut=nn.Identity(), embed=nn.Linear(48, 8))


def columns() -> nn.Module:
    """Columns of a map as a series, as in recurrent networks that read text from images."""

    def forward(self: Any, x: Tensor) -> Tensor:
        return self.rnn(self.cut(self.conv(x).permute(0, 3, 1, 2).flatten(2)))[0]

    return Net(
        forward,
        conv=nn.Conv2d(3, 2, 1),
        cut=nn.Identity(),
        rnn=nn.LSTM(32, 5, batch_first=True),
    )


def channel_attention() -> nn.Module:
    """A convolution over the channels of maps, as in ECA-Net."""

    def forward(self: Any, x: Tensor) -> Tensor:
        x = self.maps(x)
        means = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2)
        return self.out(x * self.over_channels(means).sigmoid().transpose(-1, -2).unsqueeze(-1))

    return Net(
        forward,
        maps=nn.Conv2d(3, 6, 4, 4),
        over_channels=nn.Conv1d(1, 1, 3, padding=1),
        out=nn.Identity(),
    )


def filters() -> nn.Module:
    """A map of learned filters and of time, as networks of raw sound make it."""
    return nn.Sequential(
        nn.Conv1d(5, 7, 3), nn.Unflatten(1, (1, 7)), nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 1)
    )


def signal() -> nn.Module:
    """A series that a linear layer makes."""
    return nn.Sequential(nn.Linear(8, 16), nn.Unflatten(1, (1, 16)), nn.Conv1d(1, 4, 3))


def frames() -> nn.Module:
    """A network of images on each frame of a film (n, frames, c, h, w)."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.conv(x.flatten(0, 1))
        return self.out(y.view(len(x), x.shape[1], *y.shape[1:]))

    return Net(forward, conv=nn.Conv2d(4, 5, 3), out=nn.ReLU())


#: A network, its inputs, and the axes over which each layer is averaged.
CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, Mapping[str, tuple[int, ...]]]] = {
    "linear over maps": (
        lambda: nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.LayerNorm(12)),
        MAPS,
        {"0": (1, 2), "1": (1, 2), "2": (1, 2)},
    ),
    "linear over volumes": (lambda: nn.Sequential(nn.Linear(6, 9)), VIDEO, {"0": (1, 2, 3)}),
    "convnext": (
        convnext,
        IMAGES,
        {"0": (2, 3), "1.depthwise": (2, 3), "1.norm": (1, 2), "1.wide": (1, 2), "1.act": (1, 2)}
        | {"1.narrow": (1, 2), "1": (2, 3)},
    ),
    "windows": (windows, IMAGES, {"norm": (1,), "merged": (1, 2), "out": (1, 2)}),
    "mixer": (
        mixer,
        IMAGES,
        {"stem": (2, 3), "mixed": (1,), "over_channels.1": (1,), "over_channels": (1,)}
        | {"out": (1,)},
    ),
    "series": (
        series,
        TOKENS,
        {"conv": (2,), "norm": (2,), "relu": (2,), "rnn:0": (1,)},
    ),
    "vit": (
        vit,
        IMAGES,
        {"patches": (2, 3), "drop": (1,), "encoder.layers.0.linear1": (1,), "encoder": (1,)},
    ),
    "generator": (generator, TOKENS[:, 0], {"relu": (2, 3), "up": (2, 3), "tanh": (2, 3)}),
    "patches": (patches, IMAGES, {"cut": (1,), "embed": (1,)}),
    "columns": (columns, IMAGES, {"conv": (2, 3), "cut": (1,), "rnn:0": (1,)}),
    "channel attention": (
        channel_attention,
        IMAGES,
        {"maps": (2, 3), "over_channels": (1,), "out": (2, 3)},
    ),
    "filters": (filters, TOKENS, {"0": (2,), "2": (2, 3), "3": (2, 3)}),
    "signal": (signal, TOKENS[:, 0], {"2": (2,)}),
    "frames": (frames, VIDEO, {"out": (1, 3, 4)}),
    "video": (video, VIDEO, {"0": (2, 3, 4), "1": (2, 3, 4), "2": (2, 3, 4)}),
    "channels_last memory": (
        channels_last_format,
        IMAGES.contiguous(memory_format=torch.channels_last),
        {"0": (2, 3), "1": (2, 3)},
    ),
    "instance norm of maps of nothing": (
        lambda: nn.Sequential(nn.ReLU(), nn.InstanceNorm2d(4)),
        MAPS,
        {"0": (2, 3), "1": (2, 3)},
    ),
}


def made(make: Callable[[], nn.Module]) -> nn.Module:
    """A network of a case, with the same weights each time."""
    torch.manual_seed(0)
    return make().eval()


def whole_layers(model: nn.Module, inputs: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """Layers as the network gives them."""
    with Capture(model, list(layers)) as capture:
        model(inputs)
        return capture.take()


@pytest.mark.parametrize("case", CASES)
def test_averages_are_over_positions(case: str, tmp_path: Path) -> None:
    make, inputs, positions = CASES[case]
    model = made(make)
    whole = whole_layers(model, inputs, positions)
    store = repsim.harvest(
        model, inputs.split(4), tmp_path / "a.h5", layers=list(positions), pooling="avg", examples=N
    )
    with store:
        for layer, axes in positions.items():
            want = whole[layer].mean(axes).numpy()
            np.testing.assert_allclose(store[layer][:], want, atol=1e-6, err_msg=layer)


@pytest.mark.parametrize("case", CASES)
def test_what_is_stored_whole_is_as_the_layer_gave_it_and_averages_as_well(
    case: str, tmp_path: Path
) -> None:
    make, inputs, positions = CASES[case]
    model = made(make)
    whole = whole_layers(model, inputs, positions)
    with repsim.harvest(
        model, inputs.split(4), tmp_path / "a.h5", layers=list(positions), examples=N
    ) as store:
        for record in store.describe():
            layer = record["layer"]
            np.testing.assert_allclose(store[layer][:], whole[layer], atol=1e-6)
            named = record["axes"].split(",")
            channels = [k for k, name in enumerate(named) if name in ("channel", "feature")]
            assert set(positions[layer]) == {*range(1, len(named))} - {*channels}


def test_groups_of_channels_are_channels(tmp_path: Path) -> None:
    model = made(lambda: grouped(nn.Identity()))
    whole = whole_layers(model, IMAGES, ["groups"])["groups"]
    with repsim.harvest(
        model, [IMAGES], tmp_path / "a.h5", layers="groups", pooling="avg", examples=N
    ) as store:
        np.testing.assert_allclose(store["groups"][:], whole.mean((3, 4)).flatten(1), atol=1e-6)


def test_heads_are_channels(tmp_path: Path) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        q, k = self.qk(x).view(len(x), 5, 2, 2, 4).permute(2, 0, 3, 1, 4)
        return self.weights((self.query(q) @ k.transpose(-2, -1)).softmax(-1))

    torch.manual_seed(0)
    model = Net(forward, qk=nn.Linear(8, 16), query=nn.Identity(), weights=nn.Identity()).eval()
    whole = whole_layers(model, TOKENS, ["query", "weights"])
    with repsim.harvest(
        model, [TOKENS], tmp_path / "a.h5", layers="query,weights", pooling="avg", examples=N
    ) as store:
        np.testing.assert_allclose(store["query"][:], whole["query"].mean(2).flatten(1), atol=1e-6)
        np.testing.assert_allclose(store["weights"][:], whole["weights"].mean((2, 3)), atol=1e-6)


def filled(self: Any, x: Tensor) -> Tensor:
    """Tokens turned around, in a new tensor of the same shape."""
    values = self.layer(x)
    new = values.new_zeros(values.shape)
    new[:] = values.mT
    return self.out(new)


def replaced(self: Any, x: Tensor) -> Tensor:
    """Tokens turned around behind the back of functions."""
    values = self.layer(x).clone()
    values.data = values.data.mT.contiguous()
    return self.out(values)


def basis(self: Any, x: Tensor) -> Tensor:
    return self.out(torch.exp(-((self.layer(x)[..., None] - torch.linspace(-2, 2, 5)) ** 2)))


def statistics(self: Any, x: Tensor) -> Tensor:
    maps = self.layer(x)
    return self.out(torch.stack((maps.mean(-1), maps.std(-1)), -1))


def grouped(behind: nn.Module) -> nn.Module:
    """Channels of maps cut into groups, as those of turned filters are."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.behind(self.groups(y.view(len(x), 5, 4, *y.shape[2:])))

    return Net(forward, conv=nn.Conv2d(3, 20, 3), groups=nn.Identity(), behind=behind)


UNKNOWN = {
    "a layer over tokens": (mixer, IMAGES, "over_tokens.0"),
    "no layer at all": (lambda: nn.Sequential(nn.ReLU()), MAPS, "0"),
    "a convolution over tokens": (
        lambda: nn.Sequential(nn.Linear(8, 8), nn.Conv1d(5, 4, 1)),
        TOKENS,
        "1",
    ),
    "a convolution of several units over channels": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 4, 4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Unflatten(1, (1, 8)),
            nn.Conv1d(1, 4, 3),
            nn.Conv1d(4, 3, 3),
        ),
        IMAGES,
        "5",
    ),
    "a view that is never used": (
        lambda: nn.Sequential(nn.Linear(8, 12), nn.Flatten(), nn.Unflatten(1, (3, 4, 5))),
        TOKENS,
        "2",
    ),
    "batch normalisation of tokens": (
        lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(5)),
        TOKENS,
        "1",
    ),
    "capsules, of positions and groups of channels": (
        lambda: Net(
            lambda self, x: self.out(
                self.conv(x).view(len(x), 2, 4, 16).permute(0, 1, 3, 2).reshape(len(x), 32, 4)
            ),
            conv=nn.Conv2d(3, 8, 4, 4),
            out=nn.Identity(),
        ),
        IMAGES,
        "out",
    ),
    "groups of channels that a module behind them takes for positions": (
        lambda: grouped(nn.BatchNorm3d(5)),
        IMAGES,
        "groups",
    ),
    "groups of channels after a module that takes them for positions": (
        lambda: grouped(nn.BatchNorm3d(5)),
        IMAGES,
        "behind",
    ),
    "groups of channels beside positions in a convolution": (
        lambda: grouped(nn.Conv3d(5, 5, 1)),
        IMAGES,
        "groups",
    ),
    "groups of channels that are pooled as positions": (
        lambda: grouped(nn.MaxPool3d(2)),
        IMAGES,
        "groups",
    ),
    "groups of channels beside maps of other positions": (
        lambda: Net(
            lambda self, x: self.groups(
                self.conv(x).view(len(x), 5, 4, 8, 8) + self.deep(x.view(len(x), 3, 4, 8, 8))
            ),
            conv=nn.Conv2d(3, 20, 2, 2),
            deep=nn.Conv3d(3, 5, 1),
            groups=nn.Identity(),
        ),
        IMAGES,
        "groups",
    ),
    "inverses of square matrices": (
        lambda: Net(
            lambda self, x: self.out(torch.linalg.inv(self.layer(x) + 9 * torch.eye(5))),
            layer=nn.Linear(8, 5),
            out=nn.Identity(),
        ),
        TOKENS,
        "out",
    ),
    "a new tensor that is filled in another order": (
        lambda: Net(filled, layer=nn.Linear(8, 5), out=nn.Identity()),
        TOKENS,
        "out",
    ),
    "other values in place of a tensor's own": (
        lambda: Net(replaced, layer=nn.Linear(8, 5), out=nn.Identity()),
        TOKENS,
        "out",
    ),
    "functions of a basis for each feature, as in a KAN": (
        lambda: Net(basis, layer=nn.Linear(8, 4), out=nn.Identity()),
        TOKENS[:, 0],
        "out",
    ),
    "distances of tokens from centroids, as in NetVLAD": (
        lambda: Net(
            lambda self, x: self.out(self.layer(x)[:, :, None] - torch.arange(20.0).view(4, 5)),
            layer=nn.Linear(8, 5),
            out=nn.Identity(),
        ),
        TOKENS,
        "out",
    ),
    "distances from centroids that come first": (
        lambda: Net(
            lambda self, x: self.out(self.layer(x)[:, None] - torch.arange(20.0).view(4, 1, 5)),
            layer=nn.Linear(8, 5),
            out=nn.Identity(),
        ),
        TOKENS,
        "out",
    ),
    "statistics of each channel side by side": (
        lambda: Net(statistics, layer=nn.Conv1d(5, 4, 3), out=nn.Identity()),
        TOKENS,
        "out",
    ),
    "spectra": (
        lambda: Net(lambda self, x: self.out(torch.fft.rfft(x, dim=1).real), out=nn.ReLU()),
        TOKENS,
        "out",
    ),
}


def test_queries_and_maps_that_a_network_adds_are_positions(tmp_path: Path) -> None:
    """Before the channels, as queries; or behind them, where a convolution says so."""
    torch.manual_seed(0)
    queries, place = torch.randn(7, 4), torch.randn(4, 5, 5)
    for model, layer in (
        (Net(lambda self, x: self.out(self.layer(x)[:, None] + queries)), "out"),
        (Net(lambda self, x: self.conv(self.out(self.layer(x)[..., None, None] + place))), "out"),
    ):
        model.layer, model.out, model.conv = nn.Linear(8, 4), nn.Identity(), nn.Conv2d(4, 3, 3)
        whole = whole_layers(model, TOKENS[:, 0], [layer])[layer]
        mean = whole.mean(1) if whole.ndim == 3 else whole.mean((2, 3))
        path = tmp_path / f"{whole.ndim}.h5"
        with repsim.harvest(
            model, [TOKENS[:, 0]], path, layers=layer, pooling="avg", examples=N
        ) as store:
            np.testing.assert_allclose(store[layer][:], mean, atol=1e-6)


@pytest.mark.parametrize("case", UNKNOWN)
def test_where_nothing_says_averages_are_refused_until_told(case: str, tmp_path: Path) -> None:
    make, inputs, layer = UNKNOWN[case]
    model = made(make)

    def store(pooling: str) -> repsim.ActivationStore:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        return repsim.harvest(model, [inputs], path, layers=layer, pooling=pooling, examples=N)

    for pooling in ("avg", "positions", "grid:2", "cls", "none+last"):
        with pytest.raises(ShapeError, match="nothing says which axis holds its channels") as found:
            store(pooling)
        assert "\n" not in str(found.value)
        assert f"'{layer}=channels_last+avg,*=avg'" in str(found.value)
    whole = whole_layers(model, inputs, [layer])[layer]
    with store("none") as kept, store("project:7") as projected:
        assert kept[layer].shape == whole.shape
        assert projected[layer].shape == (N, 7)
        assert "axis1" in kept.describe()[0]["axes"]
    last, first = (tuple(range(1, whole.ndim - 1)), tuple(range(2, whole.ndim)))
    for said, axes in (("channels_last+avg", last), ("channels_first+avg", first)):
        with store(f"{layer}={said}") as told:
            np.testing.assert_allclose(told[layer][:], whole.mean(axes), atol=1e-6)


def test_other_reductions_know_the_axes_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6)).eval()
    whole = model(MAPS).detach()

    def rows(pooling: str) -> np.ndarray:
        path = tmp_path / f"{pooling.replace(':', '-')}.h5"
        with repsim.harvest(model, [MAPS], path, pooling=pooling, examples=N) as store:
            return store["0"][:]

    np.testing.assert_allclose(rows("positions"), whole.flatten(0, 2), atol=1e-6)
    grid = F.adaptive_avg_pool2d(whole.movedim(-1, 1), 2)
    np.testing.assert_allclose(rows("grid:2"), grid, atol=1e-6)
    conv = nn.Sequential(nn.Conv1d(8, 6, 1)).eval()
    across = TOKENS.transpose(1, 2).contiguous()
    with repsim.harvest(
        conv, [across], tmp_path / "c.h5", pooling="cls+project:4", examples=N
    ) as store:
        assert store["0"].shape == (N, 4)
    with repsim.harvest(conv, [across], tmp_path / "l.h5", pooling="last", examples=N) as store:
        np.testing.assert_allclose(store["0"][:], conv(across).detach()[:, :, -1], atol=1e-6)


def test_foreign_code_ends_the_trace_until_a_module_says_more(tmp_path: Path) -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.from_numpy(2 * x.numpy())

    model = Net(
        lambda self, x: self.norm(self.act(Twice.apply(self.conv(x)))),
        conv=nn.Conv2d(3, 4, 3),
        act=nn.ReLU(),
        norm=nn.BatchNorm2d(4),
    ).eval()
    found = trace_rows(model, IMAGES)
    assert [each.axes.channels for each in found.values()] == [(1,), (1,), (1,)]
    model.norm = nn.Identity()
    found = trace_rows(model, IMAGES)
    assert [each.axes.channels for each in found.values()] == [(1,), None, None]


@pytest.mark.filterwarnings("ignore")  # of torch, about quantisation
def test_quantised_layers_say_it_by_their_class() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 5)), {nn.Linear})
    (found,) = trace_rows(model, MAPS, "0").values()
    assert found.axes.channels == (3,)


def test_following_leaves_a_network_and_its_inputs_as_they_were() -> None:
    model, x = convnext(), IMAGES.clone()
    before = dict(vars(model))
    trace_rows(model, x)
    assert vars(model) == before
    assert not model._forward_pre_hooks
    assert torch.equal(x, IMAGES)


def test_probes_average_what_was_stored_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.Conv2d(4, 5, 1)).eval()
    maps, labels = torch.randn(60, 4, 5, 3), torch.arange(60) % 2
    maps += labels[:, None, None, None] * torch.tensor([1.0, -1, 0])

    def stored(part: slice, pooling: str) -> repsim.ActivationStore:
        ids = [str(k) for k in range(60)][part]
        batch = (maps[part], labels[part], ids)
        path = tmp_path / f"{pooling}-{part.start}-{part.stop}.h5"
        return repsim.harvest(
            model, [batch], path, layers="0,1", pooling=pooling, examples=len(ids)
        )

    parts = slice(0, 40), slice(40, 60)
    plan = ProbePlan(solvers=["ridge"])
    averages = [stored(part, "0=avg,1=none") for part in parts]
    sides = [stored(part, "none") for part in parts]
    found = [
        probe_layers(*each, layers="0", plan=plan).entries[0].accuracy for each in (averages, sides)
    ]
    assert found[0] == found[1]
    with pytest.raises(UsageError, match="'1' of .* say --pooling channels_last.avg or") as error:
        probe_layers(*sides, layers="1", plan=plan)
    assert "\n" not in str(error.value)
    told = ProbePlan(solvers=["ridge"], pooling="channels_first+avg")
    assert probe_layers(*sides, layers="1", plan=told).entries


def test_stores_of_before_know_their_modules(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    layers = {
        "linear": LayerSpec("Linear", (4, 5, 3), "float32"),
        "relu": LayerSpec("ReLU", (4, 5, 3), "float32"),
        "series": LayerSpec("Conv1d", (4, 5), "float32"),
        "video": LayerSpec("Conv3d", (4, 5, 3, 2), "float32", "example,axis1,axis2,axis3,axis4"),
        "out": LayerSpec("Linear", (4,), "float32"),
    }
    provenance = {"pooling": "none"}
    with write_store(
        path, n=2, layers=layers, heads={}, provenance=provenance, resume=False
    ) as writer:
        for layer, spec in layers.items():
            writer.write(layer, np.zeros((2, *spec.shape), np.float32))
        writer.commit(ExampleRows(["a", "b"]))
    with repsim.open_store(path) as store:
        axes = {layer: each.channels for layer, each in stored_axes(store).items()}
    assert axes == {"linear": (3,), "relu": (1,), "series": (1,), "video": (1,), "out": (1,)}
