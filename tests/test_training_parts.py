"""The loop's parts by themselves: steps, losses, sheets, signs of collapse, feeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import repsim.training.loaders as feeding
from repsim.data import load
from repsim.data.folder import ImageFiles
from repsim.training.batchnorm import BatchNormOfAll, synchronise
from repsim.training.compose import configure
from repsim.training.ema import MovingAverage
from repsim.training.image_grid import GAP, pairs, sheet
from repsim.training.loaders import Resident, feed, open_images, rows_of_epoch
from repsim.training.loop import train
from repsim.training.method import StepContext
from repsim.training.metrics import Diverged, Means, check_weights
from repsim.training.mode_collapse import Coverage, alpha, classes_seen
from repsim.training.optimizers import Stepper

CPU = torch.device("cpu")


# Steps


def parameter(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor([value]))


def test_a_part_counts_what_lies_between_zero_grad_and_step() -> None:
    """Gradients that another loss leaves behind after a step are not those of the next part."""
    weight = parameter()
    stepper = Stepper(torch.optim.SGD([weight], lr=0.1), parts=2)
    for slope in (3.0, 5.0):
        stepper.zero_grad()
        (slope * weight).sum().backward()
        stepper.step()
        (100 * weight).sum().backward()
    assert weight.item() == pytest.approx(1 - 0.1 * 4)


def test_every_group_keeps_its_own_rate() -> None:
    groups = [{"params": [parameter()], "lr": 0.1}, {"params": [parameter()], "lr": 1.0}]
    stepper = Stepper(torch.optim.SGD(groups), lr_scale=2.0)
    stepper.set_lr(0.5)
    assert [group["lr"] for group in stepper.param_groups] == [0.1, 1.0]


@pytest.mark.parametrize("parts", [1, 2])
def test_scaled_losses_give_the_steps_of_unscaled_ones(parts: int) -> None:
    weight = parameter()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    stepper = Stepper(torch.optim.SGD([weight], lr=0.1), parts=parts, scaler=scaler)
    for _ in range(parts):
        stepper.zero_grad()
        scaler.scale((3 * weight).sum()).backward()
        assert weight.grad is not None
        assert weight.grad.item() == 3 * 1024
        stepper.step()
    assert weight.item() == pytest.approx(0.7)


def scaled(scaler: torch.amp.GradScaler, **weights: nn.Parameter) -> StepContext:
    """The context of a step whose losses are float16."""
    steppers = {
        name: Stepper(torch.optim.SGD([weight], lr=0.1), scaler=scaler)
        for name, weight in weights.items()
    }

    def backward(loss: Tensor, **options: Any) -> None:
        scaler.scale(loss).backward(**options)

    return StepContext({}, steppers, backward, settle=scaler.update)


def test_steps_that_overflow_are_left_out_and_the_scale_falls() -> None:
    weight = parameter()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled(scaler, net=weight).descend((weight * math.inf).sum(), "net")
    assert weight.item() == 1.0
    assert scaler.get_scale() == 512.0


def test_optimisers_of_one_loss_share_its_scale() -> None:
    one, other = parameter(), parameter()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
    training = scaled(scaler, one=one, other=other)
    for k in (1, 2):
        training.descend((3 * one + 5 * other).sum(), "one", "other")
        assert one.item() == pytest.approx(1 - 0.3 * k, abs=1e-6)
        assert other.item() == pytest.approx(1 - 0.5 * k, abs=1e-6)
        assert scaler.get_scale() == 1024.0 * 2**k


def test_the_average_follows_its_recurrence_and_copies_counters() -> None:
    network = nn.BatchNorm1d(1)
    average = MovingAverage({"net": network}, 0.75)
    expected = 1.0
    for k in range(1, 5):
        with torch.no_grad():
            network.weight.fill_(float(k * k))
            network.num_batches_tracked.fill_(k)
        average.update()
        expected = 0.75 * expected + 0.25 * k * k
    assert average.state["net"]["weight"].item() == pytest.approx(expected)
    assert average.state["net"]["num_batches_tracked"].item() == 4
    with average.in_place():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 16


# Losses


def test_means_and_the_first_that_is_not_finite() -> None:
    means = Means(CPU)
    for step, (a, b) in enumerate([(1.0, 2.0), (3.0, math.inf), (math.nan, 1.0)]):
        means.add(step + 100, {"a": torch.tensor(a), "b": torch.tensor(b)})
        if step == 0:
            means.check()
            assert means.overall() == {"a": 1.0, "b": 2.0}
            assert means.brief() == "a 1.000 b 2.000"
    with pytest.raises(Diverged, match="b became inf at step 102"):
        means.check()


def test_weights_that_are_not_finite_are_named() -> None:
    network = nn.Linear(2, 1)
    check_weights({"net": network})
    with torch.no_grad():
        network.bias.fill_(math.nan)
    with pytest.raises(Diverged, match="bias of network 'net' is not finite"):
        check_weights({"net": network})


# Sheets


def test_a_sheet_puts_images_where_they_belong() -> None:
    images = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 3, 4, 4)
    grid = sheet(images, 5)
    assert grid.shape == (3, 2 * 4 + GAP, 3 * 4 + 2 * GAP)
    corners = [
        grid[0, top, left].item() for top in (0, 4 + GAP) for left in (0, 4 + GAP, 8 + 2 * GAP)
    ]
    assert corners == [0, 64, 128, 191, 255, 0]  # the last place is empty
    assert grid[0, 4].max() == 0
    assert sheet(images, 4).shape == (3, 2 * 4 + GAP, 2 * 4 + GAP)
    named = {"a": torch.full((9, 1, 4, 4), -1.0), "b": torch.full((9, 1, 4, 4), 1.0)}
    lines = sheet(named, 6)
    assert lines.shape == (1, 2 * 4 + GAP, 3 * 4 + 2 * GAP)
    assert (lines[0, 0, 0], lines[0, -1, 0]) == (0, 255)


# Signs of collapse


def test_alpha_is_the_ratio_of_densities() -> None:
    """A discriminator at its optimum 1 / (1 + α)."""
    ratio = torch.tensor([0.5, 1.0, 3.0])
    discriminator = 1 / (1 + ratio)
    mean, variation = alpha(torch.logit(discriminator)[:, None])
    assert mean == pytest.approx(1.5)
    assert variation == pytest.approx(ratio.std(correction=0).item() / 1.5)
    assert alpha(torch.full((4, 1), 0.3)) == pytest.approx((math.exp(-0.3), 0.0))


@pytest.mark.parametrize(
    ("k", "n", "columns", "lines"),
    [(40, 64, 8, 4), (40, 10, 3, 1), (5, 64, 5, 1), (40, 1, 1, 1), (40, 3, 1, 1)],
)
def test_each_image_is_above_what_was_made_of_it(k: int, n: int, columns: int, lines: int) -> None:
    images = torch.linspace(-1, 1, k)[:, None, None, None].expand(-1, 3, 4, 4)
    grid = pairs(images, -images, n)
    assert grid.shape == (3, 2 * lines * (4 + GAP) - GAP, columns * (4 + GAP) - GAP)
    corners = grid[0, :: 4 + GAP, :: 4 + GAP].double()
    expected = ((images[: columns * lines, 0, 0, 0].double() + 1) * 127.5).view(lines, columns)
    torch.testing.assert_close(corners[::2], expected, atol=0.5, rtol=0)
    torch.testing.assert_close(corners[1::2], 255 - expected, atol=0.5, rtol=0)


def test_classes_are_seen_strays_aside() -> None:
    predicted = torch.tensor([0] * 500 + [1] * 495 + [2] * 5)  # 10 of 1,000 would count
    assert classes_seen(predicted, 10) == 2
    assert classes_seen(torch.arange(10), 10) == 10


def test_coverage_tells_a_collapsed_generator_from_one_that_shows_all_classes() -> None:
    source = feed(load("digits", "train"), CPU, 0)
    coverage = Coverage(source, 10, seed=0)
    assert coverage.accuracy > 0.9
    held_out = load("digits", "test").inputs()[:200]
    collapsed = held_out[:1].expand(200, -1, -1, -1)
    row = coverage.seen({"all": held_out, "one": collapsed})
    assert row["classes_seen.all"] == 10
    assert row["classes_seen.one"] == 1
    assert row["classes_seen"] == 10
    assert coverage.seen(collapsed)["classes_seen"] == 1


# Feeds


def test_processes_and_parts_share_an_epoch_without_gaps_or_overlaps() -> None:
    order = torch.randperm(50)
    rows = torch.stack([rows_of_epoch(order, 12, 2, 3, rank) for rank in range(3)])
    assert rows.shape == (3, 8, 2)  # 4 steps of 2 parts; 2 images of each process
    assert torch.equal(rows.transpose(0, 1).flatten(), order[:48])
    assert torch.equal(rows_of_epoch(order, 12, 1, 1, 0).flatten(), order[:48])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(20):
            pixels = rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{k}.png")
    return tmp_path / "pets"


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_do_not_fit_are_streamed_and_equal(folder: Path, workers: int) -> None:
    whole = open_images(str(folder), "train", None)
    files = open_images(str(folder), "train", None, memory=0)
    assert isinstance(files, ImageFiles)
    assert files.nbytes == len(whole) * 3 * 32 * 32
    rows = torch.randperm(len(whole))[:30].view(3, 10)
    feeds = Resident(whole, CPU), feed(files, CPU, workers)  # type: ignore[arg-type]
    for a, b in zip(*(each.batches(rows) for each in feeds), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    counts = [len(batch.labels) for batch in feeds[1].in_order(7)]
    assert sum(counts) == len(whole)
    assert set(counts[:-1]) == {7}


@pytest.mark.parametrize(
    ("size", "counts"), [(7, [7, 7, 7, 7, 2]), (29, [30]), (30, [30]), (40, [30]), (10, [10] * 3)]
)
def test_no_image_comes_alone_after_others(size: int, counts: list[int]) -> None:
    """Methods that compare held-out images with each other have others in every batch."""
    batches = list(Resident(load("digits", "train[:30]"), CPU).in_order(size))
    assert [len(batch.labels) for batch in batches] == counts
    inputs = load("digits", "train[:30]").inputs()
    assert torch.equal(torch.cat([batch.images for batch in batches]), inputs)


def test_streamed_training_is_that_from_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"data": str(folder), "epochs": 2, "batch_size": 10, "depth": 10, "width": 4}
    config = configure("supervised", values, "test")
    memory = train("supervised", config, tmp_path / "memory")
    monkeypatch.setattr(feeding, "default_memory", lambda device: 0)
    streamed = train("supervised", config, tmp_path / "streamed")
    assert streamed.digest() == memory.digest()
    assert "ids_sha256" in streamed.describe()["trained_on"]


def test_a_set_larger_than_the_device_stays_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images = load("digits", "test")
    monkeypatch.setattr(feeding, "default_memory", lambda device: 0)
    (batch,) = Resident(images, torch.device("meta")).batches(torch.arange(4)[None])
    assert batch.images.device.type == "meta"


# Batch normalisation over processes, here of one


@pytest.fixture
def one_process(tmp_path: Path) -> Any:
    import torch.distributed as dist

    dist.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("norm", "shape"), [(nn.BatchNorm2d, (6, 3, 4, 4)), (nn.BatchNorm1d, (6, 3))]
)
def test_batch_normalisation_of_all_is_torchs_for_one(
    one_process: Any, norm: Any, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    plain, shared = nn.Sequential(norm(3)), nn.Sequential(norm(3))
    synchronise(shared, CPU)
    assert isinstance(shared[0], BatchNormOfAll)
    assert list(shared.state_dict()) == list(plain.state_dict())
    inputs = [(1000 + torch.randn(shape)).requires_grad_() for _ in range(2)]
    with torch.no_grad():
        inputs[1].copy_(inputs[0])
    weights = torch.randn(shape)
    for network, x in ((plain, inputs[0]), (shared, inputs[1])):
        (network(x) * weights).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(shared[0].weight.grad, plain[0].weight.grad, rtol=1e-3, atol=1e-3)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value)
    torch.testing.assert_close(shared.eval()(inputs[0]), plain.eval()(inputs[0]))


def test_synchronised_networks_keep_sharing_what_they_share() -> None:
    block = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    a, b = nn.Sequential(block), nn.Sequential(block)
    weight = block[1].weight
    for network in (a, b):
        synchronise(network, CPU)
    assert a[0][1] is b[0][1]
    assert a[0][1].weight is weight
