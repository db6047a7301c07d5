"""Masks in other forms than one tensor (n, t) that a network takes: lists, maps, other entries."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

import repsim
from repsim.activations.capture.pairs import is_of_pairs
from repsim.errors import CaptureError, RepsimWarning, UsageError

T = 8
SIZES = [3, 5, 2, 8, 4, 7, 8, 5, 3, 6, 2, 8, 4, 7, 6, 5]
N = len(SIZES)
MASK = torch.arange(T) < torch.tensor(SIZES)[:, None]
X = torch.randn(N, T, 6, generator=torch.Generator().manual_seed(0)) * MASK[..., None]


class Attending(nn.Module):
    """Attention to tokens alone, by an entry of any form; ``layer`` gives it for each position."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 5)

    def run(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = (x @ x.transpose(1, 2)).masked_fill(~mask.bool()[:, None], -1e9)
        return self.layer(scores.softmax(-1) @ x)


def attending(read: Callable[..., Tensor]) -> nn.Module:
    """A network that has the arguments of ``read``, which makes a mask of all but ``x``."""

    names = ", ".join(inspect.signature(read).parameters)
    forward = eval(f"lambda net, x, {names}: net.run(x, net.read({names}))")
    kind = type("Net", (Attending,), {"forward": forward, "read": staticmethod(read)})
    made: nn.Module = kind().eval()
    return made


def right() -> np.ndarray:
    values = Attending().run(X, MASK).detach()
    return torch.stack([v[m].mean(0) for v, m in zip(values, MASK, strict=True)]).numpy()


def averaged(
    net: nn.Module, form: Callable[[slice], dict[str, Any]], path: Path, size: int = 8, **more: Any
) -> np.ndarray:
    places = [slice(k, k + size) for k in range(0, N, size)]
    batches = [{"x": X[at], **form(at)} for at in places]
    given = {"examples": N, "layers": "layer", "pooling": "avg", "overwrite": True, **more}
    with repsim.harvest(net, batches, path / "a.h5", **given) as store:
        return np.asarray(store["layer"][:])


LISTS = [
    (lambda attention_mask: torch.tensor(attention_mask), lambda a: a.tolist()),
    (lambda attention_mask: torch.stack(attention_mask), lambda a: list(a)),
    (lambda mask: torch.tensor(mask), lambda a: a.tolist()),
    (lambda mask: torch.tensor(mask), lambda a: tuple(a.tolist())),
    (lambda attention_mask: torch.as_tensor(np.stack(attention_mask)), lambda a: list(a.numpy())),
    (lambda attn_mask: attn_mask, lambda a: a),
    (lambda attn_mask: attn_mask == 1, lambda a: a.long()),
    (lambda src_mask: src_mask, lambda a: a),
]


@pytest.mark.parametrize("size", [8, 6, 16])
@pytest.mark.parametrize(("read", "form"), LISTS)
def test_masks_of_any_form_leave_padding_out(
    read: Any, form: Any, size: int, tmp_path: Path
) -> None:
    net, name = attending(read), read.__code__.co_varnames[0]
    found = averaged(net, lambda at: {name: form(MASK[at])}, tmp_path, size)
    np.testing.assert_allclose(found, right(), atol=1e-5)


WITHIN = [
    (lambda masks: masks[0], lambda a: {"masks": [a]}, "masks.0:tokens"),
    (lambda masks: masks[0], lambda a: {"masks": (a.long(),)}, "masks.0:tokens"),
    (lambda extra: extra["m"], lambda a: {"extra": {"m": a}}, "extra.m:tokens"),
    (lambda extra: extra["m"][0], lambda a: {"extra": {"m": [a]}}, "extra.m.0:tokens"),
    (
        lambda extra: torch.tensor(extra["mask"]),
        lambda a: {"extra": {"mask": a.tolist()}},
        "extra.mask:tokens",
    ),
    (
        lambda attention_mask: attention_mask[0],
        lambda a: {"attention_mask": [a]},
        "attention_mask.0:tokens",
    ),
    (
        lambda sizes: torch.arange(T) < torch.as_tensor(sizes)[:, None],
        lambda a: {"sizes": a.sum(1).tolist()},
        "sizes:lengths",
    ),
]


@pytest.mark.parametrize(("read", "form", "told"), WITHIN)
def test_masks_within_other_entries_are_refused_until_they_are_told(
    read: Any, form: Any, told: str, tmp_path: Path
) -> None:
    net = attending(read)
    with pytest.raises(UsageError, match=f"--masks 'layer={told}'"):
        averaged(net, lambda at: form(MASK[at]), tmp_path)
    found = averaged(net, lambda at: form(MASK[at]), tmp_path, masks=f"*={told}")
    np.testing.assert_allclose(found, right(), atol=1e-5)


def test_squares_are_of_pairs_unless_their_rows_end_in_padding() -> None:
    causal = torch.ones(T, T).tril()
    window = causal.triu(-2)
    prefix = causal.clone()
    prefix[:, :3] = 1
    for pairs in (causal, causal.bool(), ~causal.bool(), window, prefix, torch.zeros(T, T)):
        assert is_of_pairs("attn_mask", pairs)
    added = torch.zeros(T, T).masked_fill(causal == 0, -torch.inf)
    assert is_of_pairs("src_mask", added)
    assert is_of_pairs("memory_mask", torch.randn(6, T))
    for examples in (MASK[:T], MASK[:T].long(), ~MASK[:T], MASK[:6], torch.ones(T, T).bool()):
        assert not is_of_pairs("attn_mask", examples)
    assert not is_of_pairs("mask", causal)


def bias(at: slice) -> Tensor:
    return torch.zeros(N, T).masked_fill(~MASK, -torch.inf)[at]


OTHERWISE = [
    (lambda attn_bias: attn_bias[:, 0, 0] == 0, lambda at: {"attn_bias": bias(at)[:, None, None]}),
    (lambda bias: bias > -1, lambda at: {"bias": bias(at).clamp(min=-1e9)}),
    (lambda w: w > 0, lambda at: {"w": (MASK / MASK.sum(1, keepdim=True))[at]}),
    (lambda segment_ids: segment_ids >= 0, lambda at: {"segment_ids": MASK[at].long() - 1}),
    (lambda times: ~times.isnan(), lambda at: {"times": bias(at).nan_to_num(0, neginf=torch.nan)}),
    (
        lambda last_index: torch.arange(T) <= last_index[:, None],
        lambda at: {"last_index": MASK[at].sum(1) - 1},
    ),
]


@pytest.mark.parametrize(("read", "form"), OTHERWISE)
def test_entries_that_end_where_padding_begins_get_a_warning(
    read: Any, form: Any, tmp_path: Path
) -> None:
    name = read.__code__.co_varnames[0]
    with pytest.warns(RepsimWarning, match=f"'{name}' .* every position counts, as in layer"):
        averaged(attending(read), form, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepsimWarning)
        told = {"masks": "*=none"}
        averaged(attending(read), form, tmp_path, **told)
        averaged(attending(read), form, tmp_path, pooling="none")


def test_entries_with_values_like_others_get_no_warning(tmp_path: Path) -> None:
    values = {
        "times": torch.rand(N, T).cumsum(1) * (torch.arange(T) > 0),  # all begin with 0
        "weights": torch.rand(N, T),
        "sparse": torch.rand(N, T).relu() * (torch.rand(N, T) > 0.3),
        "segments": torch.arange(T).expand(N, T) // 3,
        "classes": torch.arange(N) % 5,
    }
    net = attending(lambda times, weights, sparse, segments, classes: torch.ones(len(times), T))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RepsimWarning)
        averaged(net, lambda at: {k: v[at] for k, v in values.items()}, tmp_path)


# --- lengths, towers, maps


@pytest.mark.parametrize("channels", [5, 8, 16])
@pytest.mark.parametrize("masks", ["", "*=lengths"])
def test_lengths_of_series_whose_channels_come_first(
    channels: int, masks: str, tmp_path: Path
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(4, channels, 3, padding=1)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            kept = torch.arange(x.shape[2]) < lengths[:, None]
            return self.conv(x * kept[:, None])

    lengths, x, net = torch.tensor([3, 5, 2, 7, 4, 7, 6, 5]), torch.randn(8, 4, 8), Net()
    values = net(x, lengths).detach()
    expected = [v[:, :k].mean(1) for v, k in zip(values, lengths.tolist(), strict=True)]
    given = {"examples": 8, "layers": "conv", "pooling": "avg", "masks": masks}
    batch = {"x": x, "lengths": lengths}
    with repsim.harvest(net, [batch], tmp_path / "a.h5", **given) as store:
        np.testing.assert_allclose(store["conv"][:], torch.stack(expected), atol=1e-6)


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.conv(image).mean((2, 3))


class Captions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)

    def forward(self, text: Tensor, attention_mask: Tensor) -> Tensor:
        kept = attention_mask[..., None]
        return (self.embed(text) * kept).sum(1) / kept.sum(1)


@pytest.mark.parametrize("size", [9, 7])
@pytest.mark.parametrize("name", ["attention_mask", "caption_mask", "lengths"])
def test_the_mask_of_a_caption_is_none_of_an_image(name: str, size: int, tmp_path: Path) -> None:
    mask = MASK[:8, :7].long()
    told = mask.sum(1) if name == "lengths" else mask
    batch = {"image": torch.randn(8, 3, size, 8), "text": torch.randint(1, 20, (8, 7)), name: told}
    net = Images()
    given = {"examples": 8, "layers": "conv", "pooling": "avg"}
    with pytest.warns(RepsimWarning, match=f"does not take 'text', '{name}'"):
        found = repsim.harvest(net, [batch], tmp_path / "a.h5", **given)
    with found as store:
        expected = net.conv(batch["image"]).mean((2, 3)).detach()
        np.testing.assert_allclose(store["conv"][:], expected, atol=1e-6)


def test_two_towers_of_one_batch_are_compared() -> None:
    mask = MASK[:8, :7].long()
    text = torch.randint(1, 20, (8, 7)) * mask
    batch = {"image": torch.randn(8, 3, 9, 8), "text": text, "attention_mask": mask}
    with pytest.warns(RepsimWarning, match="does not take"):
        found = repsim.compare(Images(), Captions(), [batch] * 2, pooling="avg")
    assert found.n in (8, 16)


MAPS = torch.rand(8, 5, 7, generator=torch.Generator().manual_seed(1)) > 0.3
OF_MAPS = [
    (nn.Conv2d(3, 6, 1), torch.randn(8, 3, 5, 7), MAPS, "avg"),
    (nn.Linear(3, 6), torch.randn(8, 5, 7, 3), MAPS, "channels_last+avg"),
    (nn.Linear(3, 6), torch.randn(8, 5, 5, 3), MAPS[:, :, :5], "avg"),  # pairs
    (nn.Conv3d(3, 6, 1), torch.randn(8, 3, 8, 2, 4), MASK[:8], "avg"),  # frames
]


@pytest.mark.parametrize("marks_padding", [False, True])
@pytest.mark.parametrize(("layer", "x", "mask", "pooling"), OF_MAPS)
def test_averages_of_maps_leave_out_the_padding_that_is_told(
    layer: nn.Module, x: Tensor, mask: Tensor, pooling: str, marks_padding: bool, tmp_path: Path
) -> None:
    batch = {"input": x, "own": ~mask if marks_padding else mask}
    told = f"*=own:{'padding' if marks_padding else 'tokens'}"
    given = {"examples": 8, "pooling": pooling, "masks": told}
    with repsim.harvest(nn.Sequential(layer), [batch], tmp_path / "a.h5", **given) as store:
        values = layer(x).detach()
        values = values.movedim(1, -1) if isinstance(layer, (nn.Conv2d, nn.Conv3d)) else values
        expected = [v[m].flatten(0, -2).mean(0) for v, m in zip(values, mask, strict=True)]
        np.testing.assert_allclose(store["0"][:], torch.stack(expected), atol=1e-6)


def test_the_refusal_of_a_map_names_the_mask_that_fits(tmp_path: Path) -> None:
    batch = {"input": torch.randn(8, 3, 5, 7), "pixel_mask": MAPS.long()}
    net, given = nn.Sequential(nn.Conv2d(3, 6, 1)), {"examples": 8, "pooling": "avg"}
    with pytest.raises(UsageError, match="pass --masks '0=pixel_mask:tokens'"):
        repsim.harvest(net, [batch], tmp_path / "a.h5", **given)


class Spectra(nn.Module):
    """A network of spectra (n, 1, frequencies, frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Conv2d(1, 4, 1), nn.Linear(4, 5)
        self.strided = nn.Conv2d(1, 3, (1, 2), (1, 2))
        self.fixed = nn.Linear(9, 2)

    def forward(self, input: Tensor) -> Tensor:
        return self.last(self.layer(input).permute(0, 3, 2, 1)), self.strided(input)


class OfOneLength(Spectra):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input), self.fixed(input.mean((1, 2)))


def spectra(frequencies: int, longest: int, *, filled: bool) -> dict[str, Tensor]:
    """Spectra of nine frames that are padded, and their lengths before and after a stride of 2."""
    lengths = torch.tensor([3, 5, 8, 7, 6, 2, 4, longest])
    x = torch.randn(8, 1, frequencies, 9, generator=torch.Generator().manual_seed(0))
    if filled:
        x *= (torch.arange(9) < lengths[:, None])[:, None, None]
    return {"input": x, "lengths": lengths, "halves": lengths.div(2, rounding_mode="floor")}


SPECTRA = [
    (Spectra(), 3, 8, False),
    (Spectra(), 3, 9, True),
    (Spectra(), 5, 8, True),
    (Spectra(), 12, 7, True),
    (OfOneLength(), 3, 9, False),
    (OfOneLength(), 12, 8, True),
]


@pytest.mark.parametrize(("net", "frequencies", "longest", "filled"), SPECTRA)
def test_lengths_of_the_frames_of_maps(
    net: nn.Module, frequencies: int, longest: int, filled: bool, tmp_path: Path
) -> None:
    batch = spectra(frequencies, longest, filled=filled)
    del batch["halves"]
    given = {"examples": 8, "layers": "layer,last", "pooling": "avg", "overwrite": True}
    with pytest.raises(UsageError, match="pass --masks 'layer=lengths:lengths'.*it counts the"):
        repsim.harvest(net, [batch], tmp_path / "a.h5", **given)
    with repsim.harvest(net, [batch], tmp_path / "a.h5", **given, masks="*=lengths") as store:
        for k, length in enumerate(batch["lengths"]):
            maps = net.layer(batch["input"][k : k + 1, ..., :length])
            expected = maps.mean((2, 3))[0].detach()
            np.testing.assert_allclose(store["layer"][k], expected, atol=1e-6)
            expected = net.last(maps.permute(0, 3, 2, 1)).mean((1, 2))[0].detach()
            np.testing.assert_allclose(store["last"][k], expected, atol=1e-6)


@pytest.mark.parametrize("frequencies", [3, 6])
def test_lengths_of_fewer_frames_need_an_axis_that_is_clear(
    frequencies: int, tmp_path: Path
) -> None:
    batch, net = spectra(frequencies, 9, filled=True), Spectra()
    del batch["lengths"]
    given = {"examples": 8, "layers": "strided", "pooling": "avg", "masks": "*=halves:lengths"}
    if frequencies == 6:
        with pytest.raises(UsageError, match="'halves' holds lengths .* a mask of its positions"):
            repsim.harvest(net, [batch], tmp_path / "a.h5", **given)
        return
    with repsim.harvest(net, [batch], tmp_path / "a.h5", **given) as store:
        for k, length in enumerate(batch["halves"]):
            maps = net.strided(batch["input"][k : k + 1, ..., : 2 * length])
            np.testing.assert_allclose(
                store["strided"][k], maps.mean((2, 3))[0].detach(), atol=1e-6
            )


def test_lengths_of_the_frames_of_squares_are_refused(tmp_path: Path) -> None:
    batch = {"input": torch.randn(8, 1, 9, 9), "lengths": torch.arange(2, 10)}
    given = {"examples": 8, "layers": "layer", "pooling": "avg", "masks": "*=lengths"}
    with pytest.raises(UsageError, match="'lengths' holds lengths .* a mask of its positions"):
        repsim.harvest(Spectra(), [batch], tmp_path / "a.h5", **given)


def test_flags_of_steps_may_mark_no_padding(tmp_path: Path) -> None:
    """Such as the ends of episodes, in reinforcement learning."""

    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 5)

        def forward(self, seen: Tensor, done: Tensor) -> Tensor:
            return self.layer(seen) * (1 - done)[..., None]

    seen, network = torch.randn(8, 7, 6), Agent()
    batch = {"seen": seen, "done": (torch.rand(8, 7) < 0.3).float()}
    given: Any = {"examples": 8, "layers": "layer", "pooling": "avg"}
    with pytest.raises(UsageError, match="with flags .done.*'layer=none'.*'layer=done:padding' if"):
        repsim.harvest(network, [batch], tmp_path / "a.h5", **given)
    with repsim.harvest(network, [batch], tmp_path / "a.h5", **given, masks="*=none") as store:
        right = network.layer(seen).mean(1).detach()
        np.testing.assert_allclose(store["layer"][:], right, atol=1e-6)


class Pooling(nn.Module):
    """The average, the sum, or the weighted sum of a bag of instances."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.score, self.kind = nn.Linear(6, 5), nn.Linear(5, 1), kind

    def forward(self, bag: Tensor, **masks: Tensor) -> Tensor:
        (mask,) = masks.values()
        values, kept = self.layer(bag), mask.unsqueeze(2)
        if self.kind == "attention":
            kept = self.score(values).masked_fill(~kept, -1e9).softmax(1)
        share = mask.sum(1, keepdim=True) if self.kind == "average" else 1
        return (values * kept).sum(1) / share


@pytest.mark.parametrize("kind", ["attention", "average", "sum"])
@pytest.mark.parametrize("name", ["bag_mask", "node_mask", "mask"])
def test_masks_of_other_names_are_refused_with_a_remedy_that_works(
    name: str, kind: str, tmp_path: Path
) -> None:
    batch, network = {"bag": X, name: MASK}, Pooling(kind)
    given: Any = {"examples": N, "layers": "layer", "pooling": "avg"}
    told = f"layer={name}:tokens"
    says = rf"--masks '{told}' .* if 1 marks a token, 'layer={name}:padding' if 1 .*'layer=none'"
    with pytest.raises(UsageError, match=says) as error:
        repsim.harvest(network, [batch], tmp_path / "a.h5", **given)
    assert "\n" not in str(error.value)
    with repsim.harvest(network, [batch], tmp_path / "a.h5", **given, masks=told) as store:
        values = network.layer(X).detach()
        expected = [v[m].mean(0) for v, m in zip(values, MASK, strict=True)]
        np.testing.assert_allclose(store["layer"][:], torch.stack(expected), atol=1e-6)


# --- lists with as many parts as examples; other networks and loaders


class Crops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x: Tensor, crops: list[Tensor]) -> Tensor:
        return self.layer(x) + torch.stack([self.layer(each) for each in crops], 1).mean(1)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("size", [2, 3, 4, 8])
def test_parts_of_a_list_go_by_their_rows(parts: int, size: int, tmp_path: Path) -> None:
    x, crops = torch.randn(24, 6), torch.randn(parts, 24, 6)
    batches = [
        {"x": x[k : k + size], "crops": [each[k : k + size] for each in crops]}
        for k in range(0, 24, size)
    ]
    net = Crops()
    with repsim.harvest(net, batches, tmp_path / "a.h5", examples=24, layers="layer#1") as store:
        expected = net.layer(crops[0]).detach()
        np.testing.assert_allclose(store["layer#1"][:], expected, atol=1e-6)


def test_lists_of_images_go_by_their_elements(tmp_path: Path) -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, index: Tensor, images: list[Tensor]) -> Tensor:
            return self.layer(torch.stack([each.mean((1, 2)) for each in images]))

    images, net = torch.randn(16, 3, 5, 5), Detector()
    batches = [{"index": torch.arange(8), "images": list(images[k : k + 8])} for k in (0, 8)]
    with repsim.harvest(net, batches, tmp_path / "a.h5", examples=16) as store:
        expected = net.layer(images.mean((2, 3))).detach()
        np.testing.assert_allclose(store["layer"][:], expected, atol=1e-6)


def test_packed_sequences_are_to_be_packed_in_forward(tmp_path: Path) -> None:
    packed = rnn.pack_sequence([torch.randn(k, 6) for k in (5, 3, 2)])
    for batch in (packed, (packed, torch.arange(3))):
        with pytest.raises(UsageError, match="gave a PackedSequence.*'lengths'.*pack them in"):
            repsim.harvest(nn.Sequential(nn.GRU(6, 4)), [batch], tmp_path / "a.h5", examples=3)


def test_exported_programs_are_to_be_unflattened(tmp_path: Path) -> None:
    x, net = torch.randn(8, 6), nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    dynamic = ({0: torch.export.Dim("n", min=1, max=64)},)
    program = torch.export.export(net, (x,), dynamic_shapes=dynamic)
    with pytest.raises((UsageError, CaptureError), match=r"pass torch\.export\.unflatten"):
        repsim.harvest(program.module(), [x], tmp_path / "a.h5", examples=8)
    for network, layers in ((program, None), (program.module(), "2")):
        with pytest.raises(UsageError, match=r"pass torch\.export\.unflatten"):
            repsim.harvest(network, [x], tmp_path / "a.h5", layers=layers, examples=8)
    given = {"examples": 8}
    unflattened = torch.export.unflatten(program)
    with repsim.harvest(unflattened, [x], tmp_path / "a.h5", **given) as store:
        np.testing.assert_allclose(store["2"][:], net(x).detach(), atol=1e-6)
