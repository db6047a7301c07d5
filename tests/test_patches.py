"""Pretext tasks on patches: where patches are cut, and the mean over them as the features."""

from __future__ import annotations

import copy
import json
import math
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command
from test_methods import batch, make, plain
from torch import Tensor, nn

from repsim.activations import ActivationStore
from repsim.activations.capture.hooks import Capture
from repsim.data import load
from repsim.data.patches import Grid, colour_shifts, resized, standardised
from repsim.errors import UsageError
from repsim.networks.heads import PatchesHead
from repsim.networks.image_spec import ImageSpec
from repsim.networks.patchwise import PatchMean
from repsim.training.compose import configure
from repsim.training.method import Batch
from repsim.training.methods import find_method
from repsim.training.permutations import distant_permutations
from repsim.training.run import Run

TASKS = ("jigsaw", "relative_patch_location")
COLOUR = ImageSpec(channels=3, classes=10, height=32, width=32, flips=True)


def places(n: int, side: int) -> Tensor:
    """Images whose numbers say where they are: row / 100 + column, and thousands of the image."""
    rows, columns = torch.arange(side).view(-1, 1), torch.arange(side)
    return (rows / 100 + columns + 1000 * torch.arange(n).view(-1, 1, 1)).unsqueeze(1).double()


# --- cutting


def test_the_published_grids_and_those_of_small_images_in_proportion() -> None:
    published = Grid.for_questions(255, 3)
    assert published == Grid(side=3, cell=85, patch=64, image=292)
    assert published.for_features() == Grid(side=3, cell=64, patch=64, image=224)
    assert Grid.for_questions(32, 3, cell=85) == published
    # 32 pixels: nine patches of 9 pixels fill 27, which are 192/224 of 31.5.
    small = Grid.for_questions(32, 3)
    assert small == Grid(side=3, cell=11, patch=9, image=38)
    assert small.for_features() == Grid(side=3, cell=9, patch=9, image=32)
    assert Grid.for_questions(32, 2) == Grid(side=2, cell=16, patch=13, image=37)
    assert Grid.for_questions(32, 2, patch=10).for_features() == Grid(2, 10, 10, 23)


def test_patches_are_cut_from_the_middle_of_each_cell() -> None:
    grid = Grid(side=3, cell=5, patch=2, image=19)  # 2 pixels beside the crop, 1 in a cell
    images = places(2, 19)
    patches = grid.cut(images, grid.centred())
    assert patches.shape == (2, 9, 1, 2, 2)
    for n, (k, (row, column)) in product(range(2), enumerate(product(range(3), repeat=2))):
        above, beside = 2 + 5 * row + 1, 2 + 5 * column + 1
        assert torch.equal(patches[n, k], images[n, :, above : above + 2, beside : beside + 2])


def test_patches_are_scattered_in_the_cells_of_one_crop() -> None:
    grid = Grid(side=2, cell=4, patch=3, image=10)
    torch.manual_seed(0)
    corners = grid.scattered(400)
    patches = grid.cut(places(400, 10), corners)[:, :, 0]
    seen = {tuple(each.flatten().tolist()) for each in corners[:, 0]}
    assert seen == set(product(range(4), repeat=2))  # three places of the crop, two in a cell
    apart = corners[:, 3, 0] - corners[:, 0, 0]
    assert apart.unique().tolist() == [3, 4, 5]  # a cell, less or more one pixel
    first = corners[7, 2, 0].tolist()
    expected = places(400, 10)[7, 0, first[0] : first[0] + 3, first[1] : first[1] + 3]
    assert torch.equal(patches[7, 2], expected)


def test_channels_of_coloured_patches_are_shifted_by_themselves() -> None:
    images = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[::2] = images[::2, :1]
    torch.manual_seed(0)
    shifts = colour_shifts(images, 4, 2)
    assert shifts.shape == (60, 4, 3, 2)
    assert not shifts[::2].any()
    assert shifts[1::2].unique().tolist() == [-2, -1, 0, 1, 2]
    grid = Grid(side=2, cell=3, patch=2, image=8)
    corners = (grid.centred() + shifts).clamp(0, 6)
    patches = grid.cut(images, corners)
    for n, k, c in product((0, 1, 59), range(4), range(3)):
        above, beside = corners[n, k, c].tolist()
        assert torch.equal(patches[n, k, c], images[n, c, above : above + 2, beside : beside + 2])


def test_a_resized_image_is_bilinear_and_a_smaller_one_an_average() -> None:
    image = torch.tensor([[[[0.0, 4.0]] * 2]])
    assert resized(image, 4)[0, 0, 0].tolist() == [0, 1, 3, 4]
    fine = torch.rand(1, 1, 64, 64)
    assert float(resized(fine, 2).std()) < 0.03  # of 32 x 32 pixels each
    assert resized(fine, 64) is fine


def test_standardised_patches_have_mean_0_and_deviation_1() -> None:
    patches = torch.rand(2, 3, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    patches[0, 1] = 0.25
    found = standardised(patches)
    for each, patch in zip(found.flatten(0, 1), patches.flatten(0, 1), strict=True):
        if patch.unique().numel() == 1:
            assert not each.any()
        else:
            assert torch.allclose(each, (patch - patch.mean()) / patch.std(correction=0))
    # One number of 48 that is a level off is as far as a patch of 8 bits can be from that.
    patches[0, 1, 0, 0, 0] += 2 / 255
    assert float(standardised(patches)[0, 1].square().mean()) == pytest.approx(47 / 48)


# --- permutations


def apart(chosen: Any) -> int:
    """The sum of Hamming distances over pairs of permutations."""
    return sum(
        a != b for one, other in combinations(chosen, 2) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("patches", "count"), [(3, 3), (3, 4), (4, 3), (4, 4), (4, 5)])
def test_the_greedy_choice_is_as_far_apart_as_any(patches: int, count: int) -> None:
    """No other set of as many permutations with the identity is further apart."""
    first, *others = permutations(range(patches))
    furthest = max(apart([first, *some]) for some in combinations(others, count - 1))
    found = [tuple(each) for each in distant_permutations(patches, count).tolist()]
    assert found[0] == first
    assert apart(found) == furthest


def test_each_permutation_is_the_furthest_from_those_before() -> None:
    """Step by step; among equals the one with the furthest neighbour, then the first."""
    found = [tuple(each) for each in distant_permutations(4, 24).tolist()]
    assert sorted(found) == list(permutations(range(4)))
    for k in range(1, 24):
        before, left = found[:k], sorted(found[k:])
        to_all = [[4 - sum(map(int.__eq__, each, one)) for one in before] for each in left]
        best = max(range(len(left)), key=lambda place: (sum(to_all[place]), min(to_all[place])))
        assert found[k] == left[best]
    assert len(distant_permutations(4, 100)) == 24


def test_a_hundred_permutations_are_as_far_apart_as_the_published_ones() -> None:
    """Noroozi and Favaro (2016), Table 4: 8.08 on average; theirs are at least 2 apart."""
    orders = distant_permutations(9, 100)
    distances = (orders[:, None] != orders).sum(2)[~torch.eye(100, dtype=torch.bool)]
    assert float(distances.float().mean()) == pytest.approx(8.08, abs=0.005)
    assert int(distances.min()) == 4
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(100, 9))


# --- features


@pytest.mark.parametrize("network", ["resnet", "resnet_v2", "revnet", "vgg", "nin"])
def test_features_are_means_over_patches_at_every_tap(network: str) -> None:
    """Against a loop over images and patches."""
    size = {"blocks": 4} if network == "nin" else {} if network == "vgg" else {"depth": 14}
    settings = {"network": network, "width": 2, "embedding": 5, "hidden": 5, **size}
    config = configure("relative_patch_location", settings, "test")
    torch.manual_seed(0)
    method = find_method("relative_patch_location")(config, COLOUR)
    extractor = method.extractor("encoder").eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    layers = [*extractor.layer_names(), "block1", "block4", "pre_logits"]
    layers = list(dict.fromkeys(layers))
    assert set(method.encoder.layer_names()) <= set(layers)
    with Capture(extractor, layers) as capture:
        out = extractor(images)
        found = capture.take()
    for n in range(2):
        sums: dict[str, Any] = dict.fromkeys(layers, 0)
        for row, column in product(range(3), repeat=2):  # 27 of 32 pixels, from the third on
            patch = images[n, :, 2 + 9 * row : 11 + 9 * row, 2 + 9 * column : 11 + 9 * column]
            patch = (patch - patch.mean()) / patch.std(correction=0)
            with Capture(method.encoder, layers) as capture:
                method.encoder(patch[None])
                sums = {layer: sums[layer] + value for layer, value in capture.take().items()}
        for layer in layers:
            assert torch.allclose(found[layer][n], sums[layer][0] / 9, rtol=1e-4, atol=1e-5), layer
    assert torch.equal(out, found["head"])


def test_the_extractor_is_for_images_of_any_size_and_learns_through_the_mean() -> None:
    method = make("relative_patch_location")
    extractor = method.extractor("encoder")
    assert extractor(torch.zeros(3, 1, 32, 32)).shape == (3, 20)
    assert extractor(torch.rand(3, 1, 40, 40)).shape == (3, 20)
    extractor(torch.rand(3, 1, 32, 32)).square().sum().backward()
    assert all(weight.grad is not None for weight in method.encoder.parameters())
    assert not list(extractor.block1._forward_hooks)
    assert isinstance(copy.deepcopy(extractor), PatchMean)


# --- steps


def test_the_head_begins_as_in_the_code() -> None:
    torch.manual_seed(0)
    head = PatchesHead(600, 500, 8, 0.5)
    first, last = head.hidden, head.out
    for linear in (first, last):
        assert float(linear.weight.detach().abs().max()) <= 0.01
        # of a normal distribution that is cut off at two deviations
        assert float(linear.weight.detach().std()) == pytest.approx(0.005 * 0.8796, rel=0.02)
    assert first.bias.unique().tolist() == [pytest.approx(0.1)]
    assert not last.bias.any()
    assert [type(part).__name__ for part in head] == [
        *("Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear")
    ]


def test_a_step_of_relative_patch_location_is_the_step_that_is_written_by_hand() -> None:
    """Eight pairs of each image, the middle patch second; the head has a decay of its own."""
    method = make("relative_patch_location", lr=0.1, weight_decay=0.01, dropout=0.0, grey=0.0)
    encoder, head = copy.deepcopy(method.encoder), copy.deepcopy(method.head)
    torch.manual_seed(0)
    patches = method.scattered(batch(3).images)
    assert patches.shape == (3, 9, 1, 9, 9)
    z = encoder(patches.flatten(0, 1)).view(3, 9, 20)
    outer = (0, 1, 2, 3, 5, 6, 7, 8)
    logits = head(torch.stack([torch.cat([each[k], each[4]]) for each in z for k in outer]))
    answers = torch.arange(8).repeat(3)
    loss = -logits.log_softmax(1)[torch.arange(24), answers].mean()
    loss.backward()
    torch.manual_seed(0)
    found = method.step(batch(3), plain(method))
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    hits = (logits.argmax(1) == answers).float().mean()
    assert float(found["accuracy"]) == pytest.approx(float(hits))
    for twin, network, decay in ((encoder, method.encoder, 0.01), (head, method.head, 5e-4)):
        for before, after in zip(twin.parameters(), network.parameters(), strict=True):
            expected = before - 0.1 * (before.grad + decay * before)
            assert torch.allclose(after, expected, rtol=1e-4, atol=1e-6)


def test_a_step_of_jigsaw_puts_all_images_into_the_permutations_that_it_draws() -> None:
    method = make("jigsaw", dropout=0.0, grey=0.0, drawn=3, permutations=10)
    encoder, head = copy.deepcopy(method.encoder), copy.deepcopy(method.head)
    torch.manual_seed(0)
    patches, drawn = method.scattered(batch(4).images), torch.randperm(10)[:3].tolist()
    z = encoder(patches.flatten(0, 1)).view(4, 9, 20)
    orders = distant_permutations(9, 10).tolist()
    rows = [torch.cat([each[k] for k in orders[number]]) for each in z for number in drawn]
    logits, answers = head(torch.stack(rows)), torch.tensor(drawn * 4)
    assert logits.shape == (12, 10)
    loss = -logits.log_softmax(1)[torch.arange(12), answers].mean()
    torch.manual_seed(0)
    found = method.step(batch(4), plain(method))
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    hits = (logits.argmax(1) == answers).float().mean()
    assert float(found["accuracy"]) == pytest.approx(float(hits))


def test_a_jigsaw_of_four_patches_tells_all_their_permutations_apart() -> None:
    method = make("jigsaw", grid=2)
    assert method.orders.shape == (24, 4)
    assert method.grid == Grid(side=2, cell=16, patch=13, image=37)
    assert method.head.out.out_features == 24
    assert method.extractor("encoder").eval()(batch(2).images).shape == (2, 20)
    record = find_method("jigsaw").patches(method.config, method.spec)
    assert record == {"mean_over": 4, "pixels": 13, "image": 30}
    assert method.step(batch(3), plain(method))["loss"].isfinite()


class Marked(nn.Module):
    """Says at which pixel a patch is brightest."""

    def forward(self, patches: Tensor) -> Tensor:
        pixels = patches[:, 0].flatten(1)
        return nn.functional.one_hot(pixels.argmax(1), pixels.shape[1]).float()


class Reading(nn.Module):
    """Knows the order of patches that are marked by their number, of all orders."""

    def __init__(self, orders: Tensor, pixels: int) -> None:
        super().__init__()
        self.known = nn.functional.one_hot(orders, pixels).float().flatten(1)

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self.known.T


@pytest.mark.parametrize("task", TASKS)
def test_the_pretext_accuracy_is_of_all_orders_of_held_out_images(task: str) -> None:
    method = make(task, cell=11, patch=9)
    grid = method.grid
    images = torch.full((4, 1, 38, 38), -1.0)
    for k, (above, beside) in enumerate(grid.centred()[0, :, 0].tolist()):
        images[:, 0, above, beside + k] = 1
    method.encoder, method.head = Marked(), Reading(method.orders, 81)
    held_out = Batch(images, torch.zeros(4))
    state = torch.get_rng_state()
    assert float(method.evaluate(held_out)["accuracy"]) == pytest.approx(4)
    images[2:] = images[2:].flip(3)  # the marks are in other places
    assert float(method.evaluate(held_out)["accuracy"]) < 3
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("task", TASKS)
def test_images_are_grey_with_the_probability_of_the_setting(task: str) -> None:
    small = {"network": "nin", "width": 2, "embedding": 2, "hidden": 2}
    config = configure(task, {**small, "grey": 0.66, "colour_shift": 1}, "test")
    method = find_method(task)(config, COLOUR)
    torch.manual_seed(0)
    patches = method.scattered(torch.rand(300, 3, 32, 32) * 2 - 1)
    grey = (patches == patches[:, :, :1]).flatten(1).all(1)
    assert float(grey.float().mean()) == pytest.approx(0.66, abs=0.08)
    assert patches.mean((2, 3, 4)).abs().max() < 1e-5


def test_relative_patch_location_learns_where_digits_have_ink() -> None:
    method = make("relative_patch_location", network="mlp", width=32, lr=0.3, dropout=0.0)
    digits, training = load("digits", "train[:64]").inputs(), plain(method)
    torch.manual_seed(0)
    found = [method.step(Batch(digits, batch(64).labels), training) for _ in range(12)]
    assert float(found[0]["loss"]) == pytest.approx(math.log(8), abs=0.3)
    assert sum(float(each["accuracy"]) for each in found[-3:]) / 3 > 0.22  # by chance 0.125


def test_jigsaw_learns_to_order_digits() -> None:
    settings = {"network": "mlp", "width": 32, "dropout": 0.0, "grid": 2, "permutations": 4}
    method = make("jigsaw", lr=0.3, drawn=4, **settings)
    digits, training = load("digits", "train[:64]").inputs(), plain(method)
    torch.manual_seed(0)
    found = [method.step(Batch(digits, batch(64).labels), training) for _ in range(12)]
    assert float(found[0]["loss"]) == pytest.approx(math.log(4), abs=0.3)
    assert sum(float(each["accuracy"]) for each in found[-3:]) / 3 > 0.45  # by chance 0.25


@pytest.mark.parametrize("task", TASKS)
def test_tasks_on_patches_refuse_images_and_patches_that_do_not_fit(task: str) -> None:
    oblong = ImageSpec(channels=1, classes=10, height=28, width=56, flips=False)
    with pytest.raises(UsageError, match="images are 28 x 56; .* try --image-size 28"):
        find_method(task)(configure(task, {}, "test"), oblong)
    with pytest.raises(UsageError, match="patch is 12 pixels, but cells are of 11"):
        make(task, cell=11, patch=12)


# --- runs and stores


def test_a_run_is_harvested_compared_and_probed_as_means_over_patches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ("--network", "nin", "--width", "4", "--blocks", "3", "--batch-size", "25")
    small = (*size, "--embedding", "8", "--hidden", "8", "--epochs", "1")
    parts = ("--split", "train[:50]", "--test", "test[:20]", "--name", "a")
    assert run_command("train", "relative_patch_location", *small, *parts) == 0
    layers = ("--layers", "block*,pre_logits", "--pooling", "avg")
    splits = ("--split", "train[:60]", "--split", "test[:30]")
    assert run_command("harvest", "a", *layers, *splits) == 0
    run = Run(Path("runs/a"))
    (path,) = run.path.glob("activations/*test*.h5")
    with ActivationStore(path) as store:
        assert store.layers == ("block1", "block2", "block3", "pre_logits")
        assert store.provenance()["patches"] == {"mean_over": 9, "pixels": 9, "image": 32}
        rows = torch.as_tensor(store.rows("pre_logits", 0, 30))
    network = run.load_extractor()
    with Capture(network, "pre_logits") as capture, torch.no_grad():
        network(load("digits", "test[:30]").inputs())
        assert torch.allclose(rows, capture.take()["pre_logits"], atol=1e-5)
    capsys.readouterr()
    assert run_command("cka", "a", "--split", "test[:30]") == 0
    parts = ("--split", "train[:60]", "--test-split", "test[:30]")
    assert run_command("probe", "a", *parts) == 0
    assert run_command("info", str(path)) == 0
    assert "mean over 9 of an image" in " ".join(capsys.readouterr().out.split())
    assert run_command("info", "a", "--networks", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["networks"]) == {"encoder", "head"}
