"""Null spaces of layers: against patches that are unfolded, one by one, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim.activations.analyses.layer_nullspace import layer_null_spaces
from repsim.activations.harvesting.loaders import TensorLoader
from repsim.errors import CaptureError, NonFiniteError, ShapeError, UsageError
from repsim.nullspace.convolutions import filtered, patch_space, patch_sums
from repsim.nullspace.shares import share
from repsim.nullspace.windows import Window
from repsim.results import NullSpaceEntry

N = 12
LABELS = torch.arange(N) % 3

#: Layers by what is special about them; maps have 4 channels, 9 rows and 11 columns.
LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "stride": {"stride": 2},
    "strides": {"stride": (3, 2), "padding": (0, 1)},
    "padding": {"padding": 1},
    "paddings": {"padding": (2, 0)},
    "dilation": {"dilation": 2, "padding": 1},
    "dilations": {"dilation": (1, 3), "padding": (1, 2), "stride": (2, 1)},
    "groups": {"groups": 2, "padding": 1},
    "depthwise": {"groups": 4, "out": 8, "padding": 1},
    "asymmetric": {"kernel": (1, 5), "padding": (0, 2)},
    "tall kernel": {"kernel": (4, 2), "stride": 2},
    "pointwise": {"kernel": 1},
    "pointwise strided": {"kernel": 1, "stride": 2},
    "same": {"kernel": (4, 3), "padding": "same"},
    "same dilated": {"kernel": (2, 4), "padding": "same", "dilation": (3, 1)},
    "valid": {"padding": "valid"},
    "reflect": {"padding": (1, 2), "padding_mode": "reflect"},
    "replicate": {"padding": 2, "padding_mode": "replicate", "stride": 2},
    "circular": {"padding": (2, 1), "padding_mode": "circular", "dilation": 2},
    "reflect same": {"kernel": (2, 4), "padding": "same", "padding_mode": "reflect"},
    "tall": {"out": 40},
    "over half": {"out": 30},
    "over half in groups": {"out": 30, "groups": 2},
    "deficient": {"out": 20, "rank": 3},
    "deficient in one group": {"groups": 2, "out": 6, "rank": (3, 1)},
    "zero": {"rank": 0},
    "zero in one group": {"groups": 2, "rank": (2, 0), "out": 6},
}


def layer(
    out: int = 6, kernel: Any = 3, rank: Any = None, bias: bool = False, **settings: Any
) -> nn.Conv2d:
    torch.manual_seed(1)
    conv = nn.Conv2d(4, out, kernel, bias=bias, **settings).double()
    ranks = rank if isinstance(rank, tuple) else (rank,) * conv.groups
    with torch.no_grad():
        for part, r in zip(conv.weight.chunk(conv.groups), ranks, strict=True):
            if r is not None:
                flat = part.flatten(1)
                left, right = torch.randn(len(flat), r), torch.randn(r, flat.shape[1])
                product = left.double() @ right.double()
                part.copy_(product.view_as(part))
    return conv


def maps(n: int = N, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, 9, 11, generator=generator).double()
    return x + 0.7 + torch.arange(n)[:, None, None, None] % 3  # means that differ by class


def unfolded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Every patch, (n, positions, dim): padded as the module pads, cut out by torch."""
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(x, conv._reversed_padding_repeated_twice, mode=mode)
    return F.unfold(padded, conv.kernel_size, conv.dilation, 0, conv.stride).transpose(1, 2)


def projector(conv: nn.Conv2d, dtype: torch.dtype = torch.float64) -> tuple[Tensor, int]:
    """Onto the null space of all groups, by the pseudo-inverse; and the rank.

    ``dtype`` is that of the weights before they were made float64: how exact they are.
    """
    blocks, rank = [], 0
    for part in conv.weight.detach().chunk(conv.groups):
        matrix = part.flatten(1)
        rtol = max(matrix.shape) * torch.finfo(dtype).eps
        inverse = torch.linalg.pinv(matrix, rtol=rtol)
        blocks.append(torch.eye(matrix.shape[1]).double() - inverse @ matrix)
        rank += int(torch.linalg.matrix_rank(matrix, rtol=rtol))
    return torch.block_diag(*blocks), rank


def expected(patches: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (n,) of patches (n, positions, dim) in the null space, and whole."""
    return (patches @ null).square().sum((1, 2)), patches.square().sum((1, 2))


def close(found: Tensor, wanted: Tensor, relative: float, scale: Tensor) -> bool:
    """Up to a fraction of the energy that is split."""
    return bool(((found - wanted).abs() <= relative * scale).all())


@pytest.fixture(params=LAYERS)
def conv(request: pytest.FixtureRequest) -> nn.Conv2d:
    return layer(**LAYERS[request.param])


# --- one layer

#: What torch says of "same" with even kernels.
EVEN = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def entry(entries: list[NullSpaceEntry], **wanted: Any) -> NullSpaceEntry:
    (found,) = [e for e in entries if all(getattr(e, k) == v for k, v in wanted.items())]
    return found


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@EVEN
def test_shares_are_those_of_unfolded_patches(
    conv: nn.Conv2d, dtype: torch.dtype, relative: float
) -> None:
    network = nn.Sequential(conv).to(dtype)
    x = maps().to(dtype)
    found = layer_null_spaces(network, list(x.split(5)), labels=LABELS)
    conv.double()
    patches, (null, rank) = unfolded(conv, x.double()), projector(conv, dtype)
    groups = {"all": torch.ones(N, dtype=torch.bool)}
    groups |= {f"class {k}": k == LABELS for k in range(3)}
    assert len(found) == 2 * len(groups)
    for group, rows in groups.items():
        for quantity in ("layer_energy", "layer_energy_centred"):
            own = patches[rows]
            if quantity == "layer_energy_centred":
                own = own - own.mean((0, 1))
            part, whole = expected(own, null)
            got = entry(found, group=group, quantity=quantity, layer="0", part="null")
            assert (got.rank, got.dim) == (rank, patches.shape[2])
            assert got.chance == pytest.approx(1 - rank / patches.shape[2])
            value = float(part.sum() / whole.sum())
            assert got.value == pytest.approx(value, rel=relative, abs=1e-15)
            spread = (part - value * whole).square().sum() * len(part) / (len(part) - 1)
            reach = 1.959963984540054 * float(spread.sqrt() / whole.sum())
            assert got.high - got.low == pytest.approx(2 * reach, rel=1e-4, abs=1e-9)
            assert (got.high + got.low) / 2 == pytest.approx(got.value)


@EVEN
def test_energies_and_sums_example_by_example(conv: nn.Conv2d) -> None:
    from repsim.activations.analyses.layer_nullspace import _window

    x, window = maps(), _window(conv)
    patches, (null, _) = unfolded(conv, x), projector(conv)
    space = patch_space(conv.weight, window)
    parts = filtered(x, space)
    found = parts.energies(space)
    part, whole = expected(patches, null)
    assert parts.positions == patches.shape[1] == window.positions(x.shape[2:])
    assert close(found.whole, whole, 1e-12, whole)
    assert close(found.null, part, 1e-12, whole)
    assert torch.allclose(patch_sums(x, window), patches.sum(1), rtol=1e-12, atol=1e-12)
    # What the layer makes of a patch does not depend on its part in the null space.
    with torch.no_grad():
        outputs = conv(x)
    matrix = torch.block_diag(*[g.flatten(1) for g in conv.weight.detach().chunk(conv.groups)])
    again = (patches - patches @ null) @ matrix.T
    again = again + (0 if conv.bias is None else conv.bias.detach())
    assert torch.allclose(again.transpose(1, 2), outputs.flatten(2), atol=1e-10)


def test_an_empty_null_space_holds_nothing_and_a_zero_weight_sees_nothing() -> None:
    x = maps()
    for case, value in (("tall", 0.0), ("zero", 1.0)):
        for found in layer_null_spaces(nn.Sequential(layer(**LAYERS[case])), x, labels=LABELS):
            assert (found.value, found.low, found.high) == (value,) * 3
            assert found.chance == value


def test_a_small_share_is_no_difference_of_large_numbers() -> None:
    conv = layer(out=35)
    null, _ = projector(conv)
    (direction,) = torch.linalg.eigh(null)[1][:, -1:].T
    torch.manual_seed(2)
    patch = torch.randn(N, 36).double() @ (torch.eye(36).double() - null) + 1e-4 * direction
    x = patch.view(N, 4, 3, 3)
    wanted = float((patch @ null).square().sum() / patch.square().sum())
    assert 0 < wanted < 1e-8
    (raw, _) = layer_null_spaces(nn.Sequential(conv).float(), x.float())
    assert raw.value == pytest.approx(wanted, rel=0.02)


def test_independent_pixels_lie_in_the_null_space_by_chance() -> None:
    x = torch.randn(60, 4, 9, 11, generator=torch.Generator().manual_seed(5)).double()
    raw, centred = layer_null_spaces(nn.Sequential(layer(out=12)), x)
    assert raw.chance == pytest.approx(2 / 3)
    for found in (raw, centred):
        assert found.low < found.chance < found.high
        assert found.high - found.low < 0.05


def test_the_tolerance_of_the_rank_is_the_callers() -> None:
    network = nn.Sequential(nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.diag(torch.tensor([1.0, 0.1, 1e-9])))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert [layer_null_spaces(network, x, rank_tolerance=t)[0].rank for t in (None, 0.5)] == [
        2,
        1,
    ]


def test_large_maps_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = layer(padding=1)
    expected = layer_null_spaces(nn.Sequential(conv), maps(), labels=LABELS)
    monkeypatch.setattr("repsim.nullspace.convolutions._AT_ONCE", 1000)
    found = layer_null_spaces(nn.Sequential(conv), maps(), labels=LABELS)
    for one, other in zip(found, expected, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12)


# --- the interval


def test_the_interval_is_that_of_a_ratio() -> None:
    part, whole = torch.tensor([1.0, 2.0, 4.0]).double(), torch.tensor([2.0, 5.0, 5.0]).double()
    value, low, high = share(part, whole)
    assert value == pytest.approx(7 / 12)
    residuals = [p - 7 / 12 * w for p, w in zip(part.tolist(), whole.tolist(), strict=True)]
    error = math.sqrt(3 / 2 * sum(r * r for r in residuals)) / 12
    assert (low, high) == pytest.approx((value - 1.96 * error, value + 1.96 * error), rel=1e-4)
    assert share(part / 3, part)[1:] == pytest.approx((1 / 3, 1 / 3))
    value, low, high = share(part[:1], whole[:1])
    assert value == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(math.isnan(each) for each in share(part * 0, part * 0))
    with pytest.raises(ShapeError, match="2 parts of 3 wholes"):
        share(part[:2], whole)


@pytest.mark.slow
def test_it_holds_the_value_of_many_images_as_often_as_it_says() -> None:
    """Of 200 intervals from 40 images each, about 190; centred, the mean being estimated."""
    conv = layer(kernel=4, out=5)
    null, _ = projector(conv)
    generator = torch.Generator().manual_seed(3)

    def drawn(n: int) -> Tensor:
        scale = torch.rand(n, 1, 1, 1, generator=generator) * 2
        offset = torch.randn(n, 4, 1, 1, generator=generator)
        return (scale * torch.randn(n, 4, 5, 4, generator=generator) + offset).double()

    many = unfolded(conv, drawn(20_000)).flatten(0, 1)
    many = many - many.mean(0)
    truth = float((many @ null).square().sum() / many.square().sum())
    hits = 0
    for _ in range(200):
        entries = layer_null_spaces(nn.Sequential(conv), drawn(40))
        found = entry(entries, quantity="layer_energy_centred")
        hits += found.low <= truth <= found.high
    assert 176 <= hits <= 199


# --- networks


class Shared(nn.Module):
    """A layer twice, one under two addresses, one never, and a class of its own arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unused = nn.Linear(4, 4)
        self.late = nn.Linear(4, 4)
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.alias = self.twice
        self.up = nn.ConvTranspose2d(3, 3, 2)
        self.normalised = Standardised(3, 4, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.alias(self.twice(x).relu()))
        return self.late(self.drop(self.normalised(x).mean((2, 3))))


class Standardised(nn.Conv2d):
    """Convolves with another weight than it holds."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


def test_each_layer_that_runs_once_in_order_of_execution() -> None:
    network = Shared().train()
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    seen: list[tuple[int, int]] = []
    found = layer_null_spaces(
        network,
        TensorLoader(x, 4),
        progress=lambda done, total, note="": seen.append((done, total)),
    )
    assert list(dict.fromkeys(each.layer for each in found)) == ["twice", "late"]
    assert seen == [(4, 12), (6, 12), (10, 12), (12, 12)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in network.modules())
    assert all(not module._forward_pre_hooks for module in network.modules())
    network.eval()
    with torch.no_grad():
        inputs = [x, network.twice(x).relu()]
    patches = torch.cat([unfolded(network.twice, each.double()) for each in inputs], dim=1)
    for quantity, shift in (("layer_energy", 0), ("layer_energy_centred", patches.mean((0, 1)))):
        part, whole = expected(patches - shift, projector(network.twice.double())[0])
        got = entry(found, layer="twice", quantity=quantity)
        assert got.value == pytest.approx(float(part.sum() / whole.sum()), rel=1e-5)
    network.float()
    only = layer_null_spaces(network, x, layers="lat*")
    assert {each.layer for each in only} == {"late"}
    with pytest.raises(UsageError, match="no layer 'normalised'"):
        layer_null_spaces(network, x, layers="normalised")


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7)])
def test_linear_layers_take_positions_as_patches(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(7, 3).double()
    x = torch.randn(N, *shape).double() + 1
    found = layer_null_spaces(nn.Sequential(linear), x, labels=LABELS.numpy())
    rows = x.reshape(N, -1, 7)
    matrix = linear.weight.detach()
    null = torch.eye(7).double() - torch.linalg.pinv(matrix) @ matrix
    for group, chosen in (("all", slice(None)), ("class 1", LABELS == 1)):
        own = rows[chosen] - rows[chosen].mean((0, 1))
        part, whole = expected(own, null)
        got = entry(found, group=group, quantity="layer_energy_centred")
        assert got.value == pytest.approx(float(part.sum() / whole.sum()), rel=1e-10)
        assert (got.rank, got.dim) == (3, 7)


def test_generated_images_are_a_group_about_a_mean_of_their_own() -> None:
    network, real, fake = nn.Sequential(layer()), maps(), maps(7, seed=8) * 2 - 1
    found = layer_null_spaces(network, real, labels=LABELS, generated=TensorLoader(fake, 3))
    assert [each.group for each in found[::2]] == [
        "all",
        "class 0",
        "class 1",
        "class 2",
        "generated",
    ]
    alone = layer_null_spaces(network, fake)
    for one, other in zip(found[-2:], alone, strict=True):
        assert one.key == replace(other, group="generated").key
        assert one.value == pytest.approx(other.value, rel=1e-12)


def test_examples_without_a_class_count_among_all() -> None:
    labels = torch.where(torch.arange(N) < 3, -1, 4)
    found = layer_null_spaces(nn.Sequential(layer()), maps(), labels=labels.tolist())
    assert {each.group for each in found} == {"all", "class 4"}
    alone = layer_null_spaces(nn.Sequential(layer()), maps()[3:])
    for quantity in ("layer_energy", "layer_energy_centred"):
        one, other = (
            entry(found, group="class 4", quantity=quantity),
            entry(alone, quantity=quantity),
        )
        assert one.value == pytest.approx(other.value, rel=1e-12)


def test_layers_that_are_given_nothing_or_always_the_same() -> None:
    network = nn.Sequential(layer(kernel=3))
    raw, centred = layer_null_spaces(network, torch.zeros(4, 4, 9, 11).double())
    assert math.isnan(raw.value)
    assert math.isnan(centred.value)
    raw, centred = layer_null_spaces(network, torch.full((4, 4, 9, 11), 0.3).double())
    assert 0 <= raw.value <= 1
    assert math.isnan(centred.value)
    assert math.isnan(centred.low)


@pytest.mark.parametrize("out", [2, 30])
@pytest.mark.parametrize("spread", [1e-2, 1e-3, 3e-4])
def test_a_small_spread_about_a_large_mean_is_split_as_it_is(spread: float, out: int) -> None:
    """Convolutions of float32, whose rounding is more than the energy of the spread."""
    conv = layer(out=out)
    generator = torch.Generator().manual_seed(4)
    x = 1 + spread * torch.randn(N, 4, 9, 11, generator=generator)
    _, found = layer_null_spaces(nn.Sequential(conv).float(), x)
    patches, (null, _) = unfolded(conv.double(), x.double()), projector(conv, torch.float32)
    part, whole = expected(patches - patches.mean((0, 1)), null)
    assert found.value == pytest.approx(float(part.sum() / whole.sum()), abs=1e-6 / spread)
    assert found.note == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [2 * 10.0**-k for k in range(2, 14)])
def test_a_share_is_a_share_or_is_missing(spread: float, dtype: torch.dtype) -> None:
    """Also where all lies in the row space or in the null space; on ever smaller spreads."""
    for case in ("tall", "zero", "plain"):
        conv = layer(**LAYERS[case])
        x = 1 + spread * torch.randn(
            N, conv.in_channels, 9, 11, generator=torch.Generator().manual_seed(4)
        )
        raw, found = layer_null_spaces(nn.Sequential(conv).to(dtype), x.to(dtype))
        assert 0 <= raw.value <= 1
        missing = spread < (1e-4 if dtype == torch.float32 else 1e-6)
        assert math.isnan(found.value) == missing
        assert missing or 0 <= found.value <= 1
        assert ("rounding" in found.note) == missing


def test_halves_are_measured_in_float32() -> None:
    network, x = nn.Sequential(layer()), maps()
    wanted = layer_null_spaces(network, x)
    found = layer_null_spaces(network.bfloat16(), x.bfloat16())
    for one, other in zip(found, wanted, strict=True):
        assert one.value == pytest.approx(other.value, rel=0.02)


class Sometimes(nn.Module):
    """Leaves a layer out for batches of one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + (self.b(x) if len(x) > 1 else 0)


class Merged(nn.Module):
    """Counts positions as examples."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.flatten(0, 1))


def wrong() -> Iterator[Any]:
    x, few = torch.randn(5, 3), torch.randn(2, 4, 3)
    net = nn.Sequential(nn.Linear(3, 2))
    yield Sometimes(), x.split(2), {}, CaptureError, "layer 'b' ran for 4 of 5 examples; choose"
    yield Merged(), few, {}, CaptureError, "no row for each of 2 examples in 'a@input' \\(8, 3\\)"
    yield nn.Sequential(nn.ReLU()), x, {}, UsageError, "Sequential has no Conv2d or Linear layer"
    yield net, [], {}, UsageError, "the loader gave no images \\(all\\); expected at least one"
    yield net, x, {"generated": []}, UsageError, "gave no images \\(generated\\)"
    yield net, x, {"labels": [1, 2]}, ShapeError, "the loader gave 5 examples, labels has 2"
    yield net, x, {"labels": range(9)}, ShapeError, "the loader gave 5 examples, labels has 9"
    yield net, x, {"labels": [0.5] * 5}, ShapeError, "labels are torch.float64 of shape \\(5,\\)"
    yield net, x * torch.nan, {}, NonFiniteError, "layer '0' is given NaN or infinity"
    yield net, torch.randn(5, 4), {}, CaptureError, r"inputs \(5, 4\) torch.float32\), in layer '0'"
    yield net, x, {"layers": "7"}, UsageError, "no layer '7'"


@pytest.mark.parametrize(("network", "images", "options", "error", "message"), list(wrong()))
def test_networks_and_images_that_do_not_fit(
    network: nn.Module, images: Any, options: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        layer_null_spaces(network, images, **options)
    assert "\n" not in str(caught.value)


def test_windows_lay_kernels_where_torch_does() -> None:
    for kernel, stride, dilation in itertools.product((1, 3), (1, 2), (1, 3)):
        window = Window((kernel, 2), (stride, 1), (dilation, 2))
        rows, columns = window.taps((9, 8))
        x = torch.randn(1, 1, 9, 8).double()
        patches = F.unfold(x, (kernel, 2), (dilation, 2), 0, (stride, 1))
        sums = torch.einsum("ah,nchw,bw->ab", rows, x, columns)
        assert torch.allclose(sums.flatten(), patches.sum(2)[0])
