"""The axis of examples: seen, said, refused and kept in stores."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_network import Net

import repsim
from repsim.activations import (
    compare,
    compare_classes,
    head_features,
    invariance,
    layer_null_spaces,
    plan_harvest,
)
from repsim.activations.capture.batch_axis import BatchAxis
from repsim.activations.capture.tracing import trace_rows
from repsim.activations.harvesting.features import layer_features
from repsim.data import load
from repsim.data.noise import Noise
from repsim.errors import (
    CaptureError,
    RepsimError,
    RepsimWarning,
    ShapeError,
    StoreError,
    UsageError,
)

#: Four batches of eight sequences, (length, n, features).
BATCHES = list(torch.randn(4, 5, 8, 6, generator=torch.Generator().manual_seed(0)))
FIRST = [batch.transpose(0, 1).contiguous() for batch in BATCHES]


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, *, batch_first: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(6, 7, batch_first=batch_first)
        self.out = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])


class Encoder(nn.Module):
    """A transformer with the sequence first, and a mask of padding (n, length)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 2, 12), 2, enable_nested_tensor=False
        )

    def forward(self, src: Tensor, src_key_padding_mask: Tensor | None = None) -> Tensor:
        return self.encoder(src, src_key_padding_mask=src_key_padding_mask)


class ByHand(nn.Module):
    """A recurrent network that steps over the first axis and says so nowhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.out = nn.GRUCell(6, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        states = [x.new_zeros(x.shape[1], 7)]
        for step in x:
            states.append(self.cell(step, states[-1]))
        return self.out(torch.stack(states[1:]))


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4))


def rows(
    model: nn.Module, batches: Any, path: Path, layer: str = "out", **options: Any
) -> np.ndarray:
    with repsim.harvest(model, batches, path, layers=layer, examples=32, **options) as store:
        return store[layer][:]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_say_it(kind: type[nn.RNNBase], tmp_path: Path) -> None:
    found = rows(Recurrent(kind), BATCHES, tmp_path / "a.h5")
    want = rows(Recurrent(kind, batch_first=True), FIRST, tmp_path / "b.h5")
    np.testing.assert_allclose(found, want, atol=1e-6)
    averages = rows(Recurrent(kind), BATCHES, tmp_path / "c.h5", pooling="avg")
    np.testing.assert_allclose(averages, want.mean(1), atol=1e-6)


def test_transformers_say_it_and_masks_of_padding_stay(tmp_path: Path) -> None:
    model = Encoder().eval()
    mask = torch.zeros(8, 5).bool()
    mask[:3, 3:] = True
    batches = [{"src": x, "src_key_padding_mask": mask} for x in BATCHES]
    kept = (~mask).float().unsqueeze(2)
    with torch.no_grad():
        whole = [model(**batch).transpose(0, 1) for batch in batches]
    want = torch.cat([(x * kept).sum(1) / kept.sum(1) for x in whole])
    said: list[dict[str, Any]] = [{}, {"batch_axis": 1}, {"batch_axis": {"@input:src": 1}}]
    for k, options in enumerate(said):
        found = rows(model, batches, tmp_path / f"{k}.h5", "encoder", pooling="avg", **options)
        np.testing.assert_allclose(found, want, atol=1e-5)


def test_a_network_may_turn_its_input_around_itself(tmp_path: Path) -> None:
    class Around(Recurrent):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.transpose(0, 1)).transpose(0, 1)

    found = trace_rows(Around(), FIRST[0], "rnn:0,out")
    assert [each.axes.batch for each in found.values()] == [1, 1]
    want = rows(Recurrent(), BATCHES, tmp_path / "b.h5")
    np.testing.assert_allclose(rows(Around(), FIRST, tmp_path / "a.h5"), want, atol=1e-6)


def test_labels_decide_against_what_a_network_seems_to_be_given(tmp_path: Path) -> None:
    labelled = [(batch, torch.arange(8)) for batch in BATCHES]
    assert rows(Recurrent(), labelled, tmp_path / "a.h5").shape == (32, 5, 4)
    wrong = [(batch, torch.arange(5)) for batch in BATCHES]
    with pytest.raises(CaptureError, match="depends on the other examples.*--batch-axis 1"):
        repsim.harvest(Recurrent(), wrong, tmp_path / "b.h5", layers="out", examples=20)


@pytest.mark.parametrize(
    ("make", "batches", "message"),
    [
        (
            linear,
            BATCHES,
            "20 of 32 examples arrived.*along axis 1 there are 32: say --batch-axis 1",
        ),
        (ByHand, BATCHES, "depends on the other examples.*say --batch-axis 1"),
        (
            linear,
            [(batch, torch.arange(8)) for batch in BATCHES],
            r"inputs \(5, 8, 6\) and 8 labels or ids; .*--batch-axis 1 \(batch_axis=1\)",
        ),
        (
            lambda: Recurrent(batch_first=True),
            BATCHES,
            "along axis 1 there are 32: say --batch-axis 1",
        ),
    ],
)
def test_a_refusal_proposes_the_axis(
    make: Callable[[], nn.Module], batches: list[Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RepsimError, match=message) as found:
        repsim.harvest(make(), batches, tmp_path / "a.h5", layers="type:Linear", examples=32)
    assert "\n" not in str(found.value)


class Turning(nn.Module):
    """A network that puts the examples first itself, without a module that says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.permute(1, 2, 0))


class Frames(nn.Module):
    """Frames of videos (n, t, c, h, w) as one batch, then a recurrent layer over their time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 3)
        self.gru = nn.GRU(6, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, videos: Tensor) -> Tensor:
        n, t = videos.shape[:2]
        frames = self.conv(videos.flatten(0, 1)).mean((2, 3)).view(n, t, -1)
        return self.head(self.gru(frames.transpose(0, 1))[0][-1])


def test_frames_are_no_examples_in_batches_of_one_video(tmp_path: Path) -> None:
    """Its axis of one example is lost in the frames; they were counted as examples."""
    network, videos = Frames(), torch.randn(6, 4, 3, 5, 5)
    single = list(videos.split(1))
    options: Any = {"examples": 6, "layers": "head", "pooling": "none"}
    with repsim.harvest(network, single, tmp_path / "one.h5", **options) as store:
        assert "batch_axis" not in store.provenance()
        np.testing.assert_allclose(store["head"][:], network(videos).detach(), atol=1e-5)
    with pytest.raises(RepsimError, match="no row for each of 1 examples in 'conv'"):
        compare(network, Frames(), single, layers_a="conv", layers_b="conv", pooling="avg")


def test_layers_with_rows_of_another_axis_propose_it(tmp_path: Path) -> None:
    options = {"examples": 32, "layers": "conv", "pooling": "avg"}
    with pytest.raises(CaptureError, match=r"no row for each.*say --batch-axis 1 .batch_axis=1."):
        repsim.harvest(Turning(), BATCHES, tmp_path / "a.h5", **options)
    with repsim.harvest(Turning(), BATCHES, tmp_path / "a.h5", **options, batch_axis=1) as store:
        expected = torch.cat([Turning()(batch).mean(2) for batch in BATCHES]).detach()
        np.testing.assert_allclose(store["conv"][:], expected, atol=1e-6)


def attending(*, batch_first: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.MultiheadAttention(6, 2, batch_first=batch_first)


def recurring(kind: type[nn.RNNBase], *, batch_first: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return kind(6, 7, batch_first=batch_first)


BARE = {
    "gru": partial(recurring, nn.GRU),
    "lstm": partial(recurring, nn.LSTM),
    "rnn": partial(recurring, nn.RNN),
    "attention": attending,
}


def batches_for(model: nn.Module, *, first: bool = False) -> list[Any]:
    """Four batches, with as many positions as examples: only the modules tell them apart."""
    whole = torch.randn(4, 8, 8, 6, generator=torch.Generator().manual_seed(0))
    turned = [x.transpose(0, 1).contiguous() if first else x for x in whole]
    if isinstance(model, nn.MultiheadAttention):
        return [{"query": x, "key": x + 1, "value": x} for x in turned]
    return turned


@pytest.mark.parametrize("name", list(BARE))
@pytest.mark.parametrize("pooling", ["none", "avg", "last"])
def test_bare_modules_say_it(name: str, pooling: str, tmp_path: Path) -> None:
    model, other = BARE[name](), BARE[name](batch_first=True)
    found = rows(model, batches_for(model), tmp_path / "a.h5", ":0", pooling=pooling)
    first = batches_for(other, first=True)
    want = rows(other, first, tmp_path / "b.h5", ":0", pooling=pooling)
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_bare_attention_has_masks_of_padding(tmp_path: Path) -> None:
    mask = torch.arange(8) >= torch.arange(8).unsqueeze(1) % 4 + 3
    found = []
    for k, batch_first in enumerate((False, True)):
        model = attending(batch_first=batch_first)
        batches = batches_for(model, first=batch_first)
        given = [{**batch, "key_padding_mask": mask} for batch in batches]
        options = {"pooling": "avg", "masks": ":0=key_padding_mask"}
        found.append(rows(model, given, tmp_path / f"{k}.h5", ":0", **options))
        kept = (~mask).float().unsqueeze(2)
    whole = torch.cat([model(**batch)[0] * kept for batch in given]).detach()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    np.testing.assert_allclose(found[0], whole.sum(1) / kept.sum(1).repeat(4, 1), atol=1e-6)


def test_a_memory_has_the_axis_of_its_attention(tmp_path: Path) -> None:
    memory = torch.randn(7, 8, 6, generator=torch.Generator().manual_seed(1))
    found = []
    for batch_first in (False, True):
        torch.manual_seed(0)
        layer = nn.TransformerDecoderLayer(6, 2, 12, batch_first=batch_first)
        batch = {"tgt": BATCHES[0], "memory": memory}
        if batch_first:
            batch = {name: x.transpose(0, 1) for name, x in batch.items()}
        path = tmp_path / f"{batch_first}.h5"
        options = {"layers": "layers.0", "examples": 8, "pooling": "avg"}
        with repsim.harvest(nn.TransformerDecoder(layer, 1), [batch], path, **options) as store:
            found.append(store["layers.0"][:])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def proposed(error: pytest.ExceptionInfo[RepsimError]) -> Any:
    """The batch axis that a refusal proposes, as an argument in Python."""
    found = re.search(r"\(batch_axis=(\{[^}]*\}|\d)\)", str(error.value))
    assert found, str(error.value)
    return ast.literal_eval(found[1])


@pytest.mark.parametrize("said", [None, 1])
@pytest.mark.parametrize("layer", [":1", "0:1"])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_the_axis_that_is_proposed_for_a_state_works(
    kind: type[nn.RNNBase], layer: str, said: Any, tmp_path: Path
) -> None:
    model = recurring(kind)
    state = torch.cat([torch.as_tensor(model(x)[1][0]).reshape(8, 7) for x in BATCHES]).detach()
    shown = model if layer == ":1" else nn.Sequential(model)
    given = {"layers": layer, "examples": 32}
    with pytest.raises(CaptureError, match="no row for each of 8 examples") as refused:
        repsim.harvest(shown, BATCHES, tmp_path / "a.h5", **given, batch_axis=said)
    axis = proposed(refused)
    with repsim.harvest(shown, BATCHES, tmp_path / "a.h5", **given, batch_axis=axis) as store:
        found = store[next(iter(store.layers))][:]
    np.testing.assert_allclose(found.reshape(32, 7), state, atol=1e-6)


@pytest.mark.parametrize(("said", "batch_first"), [(0, False), (1, True)])
def test_a_wrong_axis_is_refused_with_the_right_one(
    said: int, batch_first: bool, tmp_path: Path
) -> None:
    model, batches = recurring(nn.GRU, batch_first=batch_first), FIRST if batch_first else BATCHES
    message = rf"takes axis {1 - said} for the one that holds the examples, not axis {said}; say"
    with pytest.raises(ShapeError, match=message) as refused:
        rows(model, batches, tmp_path / "a.h5", ":0", pooling="avg", batch_axis=said)
    found = rows(
        model, batches, tmp_path / "a.h5", ":0", pooling="avg", batch_axis=proposed(refused)
    )
    want = rows(model, batches, tmp_path / "b.h5", ":0", pooling="avg")
    np.testing.assert_array_equal(found, want)


def test_an_axis_that_was_said_is_not_proposed_again(tmp_path: Path) -> None:
    model = recurring(nn.GRU, batch_first=True)
    with pytest.raises(CaptureError, match="depends on the other examples") as refused:
        rows(model, FIRST, tmp_path / "a.h5", ":0", batch_axis=1)
    assert "(batch_axis) where other axes than 1 hold the examples" in str(refused.value)


@pytest.mark.parametrize("make", [linear, ByHand])
@pytest.mark.parametrize("said", [1, "1", "@input=1,*=1", {"@input": 1, "*": 1}])
def test_the_axis_can_be_said(make: Callable[[], nn.Module], said: Any, tmp_path: Path) -> None:
    layer = "0" if make is linear else "out"
    model = make().eval()
    with torch.no_grad():
        want = torch.cat([model(batch).transpose(0, 1) for batch in BATCHES])
    found = rows(model, BATCHES, tmp_path / "a.h5", layer, batch_axis=said)
    np.testing.assert_allclose(found, want, atol=1e-6)
    plan = plan_harvest(model, BATCHES, layers=layer, examples=32, batch_axis=said)
    assert plan.layers[layer].shape == (5, 4)


def test_arrays_too(tmp_path: Path) -> None:
    found = rows(linear(), [b.numpy() for b in BATCHES], tmp_path / "a.h5", "0", batch_axis=1)
    np.testing.assert_array_equal(found, rows(linear(), FIRST, tmp_path / "b.h5", "0"))


def test_a_layer_may_be_named(tmp_path: Path) -> None:
    model = Recurrent().eval()
    with torch.no_grad():
        want = torch.cat([model.rnn(batch)[1][0].transpose(0, 1) for batch in BATCHES])
    option = "say --batch-axis 'rnn:1.0=1,rnn:1.1=1,@input=1'"
    with pytest.warns(RepsimWarning, match=f"'rnn:1.0'.*{option}"):
        repsim.harvest(model, BATCHES, tmp_path / "a.h5", examples=32).close()
    said = {"@input": 1, "rnn:1.0": 1}
    found = rows(model, BATCHES, tmp_path / "b.h5", "rnn:1.0", batch_axis=said)
    np.testing.assert_allclose(found, want, atol=1e-6)
    with pytest.raises(CaptureError, match="no row for each of 8 examples in 'rnn:0'"):
        rows(model, BATCHES, tmp_path / "c.h5", "rnn:0", batch_axis={"@input": 1, "rnn:0": 0})
    with pytest.raises(UsageError, match="batch axis of 'gru.*': it matches none of out"):
        rows(model, BATCHES, tmp_path / "d.h5", batch_axis={"@input": 1, "gru.*": 1})


def test_networks_that_run_know_the_axis() -> None:
    chosen = {"layers_a": "out", "layers_b": "rnn:0"}
    assert compare(Recurrent(), Recurrent(), BATCHES, **chosen).n == 32
    found = compare(linear(), linear(), BATCHES, batch_axis=1)
    assert (found.n, found.provenance["batch_axis"]) == (32, "1")
    model, chosen = Recurrent(), {"layers_a": "out", "layers_b": "out"}
    found = compare(model, model, BATCHES, **chosen)
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)
    assert found.provenance["batch_axis"] == "@input=1"
    assert "batch_axis" not in compare(linear(), linear(), FIRST).provenance


def test_a_rule_may_be_of_a_layer_of_one_of_two_networks() -> None:
    said = {"@input": 1, "rnn:1.0": 1}
    chosen: dict[str, Any] = {"layers_a": "rnn:1.0", "layers_b": "out"}
    found = compare(Recurrent(), Recurrent(nn.GRU), BATCHES, **chosen, batch_axis=said)
    first = compare(
        Recurrent(batch_first=True),
        Recurrent(nn.GRU, batch_first=True),
        FIRST,
        **chosen,
        batch_axis={"rnn:1.0": 1},
    )
    np.testing.assert_allclose(found.unbiased, first.unbiased, atol=1e-6)
    with pytest.raises(UsageError, match=r"batch axis of 'gru.*': it matches none of rnn:1.0, out"):
        compare(Recurrent(), Recurrent(), BATCHES, **chosen, batch_axis={**said, "gru.*": 1})


# --- functions that run a network for features, null spaces, invariance or classes


class Steps(nn.Module):
    """A network with a linear head that steps over the first axis and says so nowhere."""

    axis = 0

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.each, self.head = nn.GRUCell(6, 7), nn.Linear(7, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[1 - self.axis], 7)
        states = []
        for step in x.unbind(self.axis):
            states.append(state := self.cell(step, state))
        return self.head(self.each(torch.stack(states, self.axis)).mean(self.axis))


class StepsSecond(Steps):
    """The same for inputs with the examples first."""

    axis = 1


class Rows(nn.Module):
    """Images as sequences of their rows, (rows, n, columns) or with the images first."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, images: Tensor) -> Tensor:
        rows = images[:, 0, :, 1:7] + 0.1 * torch.randn(len(images), 1, 1)
        return rows.movedim(0, self.axis).contiguous()


DIGITS = load("digits", "train[:40]", image_size=8)

#: Calls of public functions with a network and the axis of its examples; they give arrays.
ASKED: dict[str, Callable[..., Any]] = {
    "head_features": lambda net, axis, **more: head_features(
        net, BATCHES if axis else FIRST, **more
    ),
    "head_features of a tensor": lambda net, axis, **more: head_features(
        net, torch.cat(BATCHES, 1) if axis else torch.cat(FIRST), batch_size=10, **more
    ),
    "head_features with noise": lambda net, axis, **more: head_features(
        net, IMAGES.transpose(0, axis), noise=Noise("gaussian", 0.1), **more
    ),
    "layer_features": lambda net, axis, **more: layer_features(
        net, BATCHES if axis else FIRST, ["each", "head"], **more
    ),
    "layer_null_spaces": lambda net, axis, **more: layer_null_spaces(
        net,
        BATCHES if axis else FIRST,
        labels=torch.arange(32) % 3,
        generated=torch.cat(BATCHES, 1) if axis else torch.cat(FIRST),
        **more,
    ),
    "invariance": lambda net, axis, **more: invariance(
        net, DIGITS, Rows(axis), batch_size=10, **more
    ),
    "compare_classes": lambda net, axis, **more: compare_classes(
        net, DIGITS, Rows(axis), batch_size=10, **more
    ),
}

IMAGES = torch.rand(12, 6, 3, 2, generator=torch.Generator().manual_seed(0))


class OfMaps(nn.Module):
    """Takes maps (c, n, h, w) to sequences (c, n, h * w)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.head = inner, inner.head

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(2))


def values_of(found: Any) -> list[np.ndarray]:
    if isinstance(found, dict):
        return [each.numpy() for each in found.values()]
    if isinstance(found, list):
        return [np.array([[each.value, each.low, each.high] for each in found])]
    return [found.unbiased if hasattr(found, "unbiased") else found.numpy()]


@pytest.mark.parametrize("name", ASKED)
def test_every_function_that_proposes_the_axis_takes_it(name: str) -> None:
    asked, wrap = ASKED[name], OfMaps if "noise" in name else nn.Identity()
    first, second = wrap(Steps().eval()), wrap(StepsSecond().eval())
    with pytest.raises(RepsimError, match="say --batch-axis 1|or --batch-axis 1") as caught:
        asked(first, 1)
    assert "\n" not in str(caught.value)
    want = values_of(asked(second, 0))
    for said in (1, {"@input": 1, "*": 1}):
        found = asked(first, 1, batch_axis=said)
        for one, other in zip(values_of(found), want, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    if hasattr(found, "provenance"):
        assert found.provenance["batch_axis"] == "@input=1,*=1"
        with pytest.raises(UsageError, match=r"batch axis of 'gru.*': it matches none of"):
            asked(first, 1, batch_axis={"@input": 1, "gru.*": 1})


class LastState(Recurrent):
    def __init__(self, *, batch_first: bool = False) -> None:
        super().__init__(batch_first=batch_first)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[1][0][-1])


@pytest.mark.parametrize("name", [name for name in ASKED if name[-5:] not in ("noise", "tures")])
def test_networks_that_say_it_need_no_axis(name: str) -> None:
    layers = {"layers": "head"} if name in ("invariance", "compare_classes") else {}
    found = ASKED[name](LastState().eval(), 1, **layers)
    want = ASKED[name](LastState(batch_first=True).eval(), 0, **layers)
    for one, other in zip(values_of(found), values_of(want), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_function_check_sees_examples(tmp_path: Path) -> None:
    class Centred(Recurrent):
        def forward(self, x: Tensor) -> Tensor:
            x = super().forward(x)
            return x - x.mean(1, keepdim=True)

    model = nn.Sequential(Centred())
    with pytest.raises(CaptureError, match="layer '0' gives an example other values in another"):
        repsim.harvest(model, BATCHES, tmp_path / "a.h5", layers="0", examples=32)


def test_stores_keep_what_was_said(tmp_path: Path) -> None:
    path, model = tmp_path / "a.h5", linear()
    repsim.harvest(model, BATCHES, path, examples=32, batch_axis=1).close()
    with repsim.harvest(model, BATCHES, path, examples=32, resume=True) as store:
        record = store.provenance()
        assert record["batch_axis"] == "1"
        assert record["axes"] == {"0": "token,example,feature"}
        assert store.describe()[0]["axes"] == "example,token,feature"
    for other in (0, "@input=0", 2):
        with pytest.raises(StoreError, match=f"has batch axis 1, now it is {other}; leave it out"):
            repsim.harvest(model, BATCHES, path, examples=32, resume=True, batch_axis=other)


def test_an_unfinished_harvest_goes_on_with_its_axis(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from BATCHES[:2]
        raise KeyboardInterrupt

    path = tmp_path / "a.h5"
    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(linear(), broken(), path, examples=32, batch_axis=1)
    with pytest.raises(StoreError, match="has batch axis 1, now it is 0"):
        repsim.harvest(linear(), BATCHES, path, examples=32, batch_axis=0, resume=True)
    repsim.harvest(linear(), BATCHES, path, examples=32, resume=True).close()
    repsim.harvest(linear(), BATCHES, tmp_path / "b.h5", examples=32, batch_axis=1).close()
    assert path.read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_stores_of_usual_networks_have_no_such_record(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
    images = torch.randn(8, 3, 4, 4)
    with repsim.harvest(model, [images], tmp_path / "a.h5", examples=8) as store:
        assert not {"axes", "batch_axis"} & store.provenance().keys()


def test_digests_are_of_examples_whatever_the_order(tmp_path: Path) -> None:
    a = repsim.harvest(linear(), BATCHES, tmp_path / "a.h5", examples=32, batch_axis=1)
    b = repsim.harvest(linear(), FIRST, tmp_path / "b.h5", examples=32)
    with a, b:
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_allclose(repsim.cka_map(a, b).diagonal(), 1, atol=1e-6)


@pytest.mark.parametrize("said", ["one", "-1", "a=", True, {"a": "b"}, 1.5])
def test_what_is_no_axis_is_refused(said: Any) -> None:
    with pytest.raises(UsageError, match="batch axis .* is not understood; expected a number"):
        BatchAxis(said)


def test_an_axis_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the input is \(5, 8, 6\) and has no axis 3"):
        rows(linear(), BATCHES, tmp_path / "a.h5", "0", batch_axis=3)


def test_copies_of_examples_are_no_other_axis(tmp_path: Path) -> None:
    """Members of a BatchEnsemble (3, n, d): the axis that the inputs have is not proposed again."""

    def forward(self: Any, x: Tensor) -> Tensor:
        scales = torch.tensor([1.0, 2, 6]).repeat_interleave(len(x)).unsqueeze(1)
        return self.members(self.layer(x.repeat(3, 1) * scales).view(3, len(x), 5)).mean(0)

    torch.manual_seed(0)
    model = Net(forward, layer=nn.Linear(6, 5), members=nn.Identity()).eval()
    inputs = torch.randn(8, 6)
    given = {"layers": "members", "examples": 8}
    with pytest.raises(ShapeError, match="nothing says which axis holds its channels") as refused:
        repsim.harvest(model, [inputs], tmp_path / "a.h5", **given, pooling="avg")
    assert "batch_axis" not in str(refused.value)
    told = "members=channels_last+avg"
    assert told in str(refused.value)
    with repsim.harvest(model, [inputs], tmp_path / "a.h5", **given, pooling=told) as store:
        mean = model.layer(3 * inputs).detach()
        np.testing.assert_allclose(store["members"][:], mean, atol=1e-6)
