"""From a run and images to the features of its linear head, before and after training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.activations import ImageLoader, harvest_run
from repsim.activations.analyses.layer_nullspace import layer_null_spaces
from repsim.activations.harvesting.features import layer_features
from repsim.activations.harvesting.heads import generated_images, head_features, linear_head
from repsim.activations.harvesting.loaders import NoisyLoader
from repsim.data import ImageSet, load
from repsim.data.noise import Noise
from repsim.errors import CaptureError, NonFiniteError, RepsimWarning, StoreError, UsageError
from repsim.networks.families.dcgan import LATENT
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Extractor, Run

SETTINGS: dict[str, dict[str, Any]] = {
    "mgan": {"width": 4, "generators": 3, "batch_size": 60, "statistics_batches": 10},
    "gan": {"width": 4, "batch_size": 60, "statistics_batches": 10},
    "supervised": {"depth": 10, "width": 4, "representation": 6, "batch_size": 60},
    "simclr": {"depth": 10, "width": 4, "batch_size": 60},
    "autoencoder": {"width": 4, "batch_size": 60},
}
FEW = {"split": "train[:120]", "test": "test[:20]", "seed": 5}


def trained(method: str, path: Path, **settings: Any) -> Run:
    values = {**SETTINGS.get(method, {}), **FEW, "epochs": 1, "save_every": (0, 1), "sheet": 0}
    values |= {"coverage": 0, **settings}
    return train(method, configure(method, values, "test"), path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {method: trained(method, folder / method) for method in SETTINGS}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load("digits", "test[:30]")


# --- networks as training began


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("method", SETTINGS)
def test_the_initial_network_is_epoch_0_and_the_control_bit_for_bit(
    method: str, runs: dict[str, Run], tmp_path: Path
) -> None:
    run = runs[method]
    control = trained(method, tmp_path / "control", epochs=0, save_every=0)
    for name in run.extractors:
        initial = run.initial_extractor(name)
        assert not any(module.training for module in initial.modules())
        assert same(initial, run.load_extractor(name, epoch=0))
        assert same(initial, Extractor(run, name, epoch=1).untrained())
        assert not same(initial, run.load_extractor(name))
        assert same(initial, control.load_extractor(name))
        assert same(initial, control.initial_extractor(name))


def test_building_and_loading_leave_random_numbers_as_they_were(runs: dict[str, Run]) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    runs["gan"].initial_extractor()
    runs["gan"].load_extractor()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_is_not_over_has_an_initial_network(runs: dict[str, Run]) -> None:
    with pytest.raises(UsageError, match="'mgan' has 2 extractors; say mgan:discriminator or"):
        runs["mgan"].initial_extractor()
    with pytest.raises(UsageError, match="no extractor 'generator'"):
        runs["gan"].initial_extractor("generator")


# --- features


@pytest.mark.parametrize("method", ["mgan", "gan", "supervised"])
def test_the_head_makes_the_outputs_of_its_features(
    method: str, runs: dict[str, Run], images: ImageSet
) -> None:
    for name in runs[method].extractors:
        network = runs[method].load_extractor(name)
        seen: list[tuple[int, int]] = []
        found = head_features(
            network,
            ImageLoader(images, 7),
            progress=lambda done, total, note="", seen=seen: seen.append((done, total)),
        )
        weight, bias, source = linear_head(network)
        assert found.dtype == torch.float32
        assert not found.requires_grad
        assert found.shape == (30, weight.shape[1])
        assert source == network.head_input
        with torch.no_grad():
            outputs = network(images.inputs())
        linear = found @ weight.T + (0 if bias is None else bias)
        assert torch.allclose(linear, outputs, atol=1e-5)
        assert seen[-1] == (30, 30)
        assert len(seen) == 5


def test_they_are_those_that_a_harvest_stores(
    runs: dict[str, Run], images: ImageSet, tmp_path: Path
) -> None:
    run = runs["mgan"]
    path = tmp_path / "a.h5"
    with harvest_run(run, images, extractor="classifier", path=path, batch_size=30) as store:
        head = store.heads["head"]
        expected = torch.from_numpy(store.rows(head["input"], 0, 30))
    found = head_features(run.load_extractor("classifier"), ImageLoader(images, 30))
    assert torch.equal(found, expected)


def test_tensors_batches_and_modes_make_no_difference(
    runs: dict[str, Run], images: ImageSet
) -> None:
    network = runs["supervised"].load_extractor().train()
    modes = [module.training for module in network.modules()]
    expected = head_features(network, ImageLoader(images, 30))
    assert [module.training for module in network.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    for found in (
        head_features(network, images.inputs(), batch_size=4),
        head_features(network, [(images.inputs(),)]),
        head_features(network, iter(images.inputs().split(11))),
        head_features(network, images.inputs(), device="cpu"),
    ):
        assert torch.allclose(found, expected, atol=1e-5)


def test_features_of_noisy_images(runs: dict[str, Run], images: ImageSet) -> None:
    network, noise = runs["gan"].load_extractor(), Noise("gaussian", 0.3)
    found = head_features(network, ImageLoader(images, 8), noise=noise, seed=3)
    noisy = torch.cat([batch[0] for batch in NoisyLoader(ImageLoader(images, 30), noise, 3)])
    assert torch.allclose(found, head_features(network, noisy), atol=1e-5)
    clean = head_features(network, ImageLoader(images, 8))
    assert float((found - clean).norm()) > 0.01 * float(clean.norm())
    silence = head_features(network, ImageLoader(images, 8), noise=Noise("gaussian", 0))
    assert torch.equal(silence, clean)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("simclr", "ResNet has a head of type ProjectionHead; .* gan, wgan, mgan and supervised"),
        ("autoencoder", "Encoder has no head; the features of a linear head need one"),
    ],
)
def test_networks_without_a_linear_head(method: str, message: str, runs: dict[str, Run]) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        head_features(runs[method].load_extractor(), torch.zeros(2, 1, 32, 32))
    assert "\n" not in str(caught.value)


class Odd(nn.Module):
    """A network whose head does not get a row an image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.reshape(-1, 4))


def test_heads_that_fit_no_image() -> None:
    with pytest.raises(
        CaptureError, match="no row for each of 2 examples in 'head@input' \\(4, 4\\)"
    ):
        head_features(Odd(), torch.zeros(2, 8))
    assert head_features(Odd(), torch.zeros(2, 4)).shape == (2, 4)
    with pytest.raises(NonFiniteError, match="the features of Odd have NaN or infinity"):
        head_features(Odd(), torch.full((2, 4), torch.inf))
    for nothing in ([], torch.zeros(0, 4)):
        with pytest.raises(UsageError, match="the loader gave no images"):
            head_features(Odd(), nothing)
    with pytest.raises(CaptureError, match=r"Odd does not run on the first.*inputs \(3, 5\)"):
        head_features(Odd(), torch.zeros(3, 5))
    assert linear_head(Odd()).input == "head@input"


# --- generated images


def test_each_generator_gives_its_images(runs: dict[str, Run]) -> None:
    torch.manual_seed(9)
    before = torch.get_rng_state()
    found = generated_images(runs["mgan"], 70, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert found is not None
    assert found.images.shape == (210, 1, 32, 32)
    assert found.images.dtype == torch.float32
    assert float(found.images.abs().max()) <= 1
    assert found.generator.tolist() == [0] * 70 + [1] * 70 + [2] * 70

    fewer = generated_images(runs["mgan"], 5, seed=4)
    again = torch.cat([found.images[found.generator == k][:5] for k in range(3)])
    assert torch.equal(fewer.images, again)
    assert not torch.equal(generated_images(runs["mgan"], 5, seed=3).images, again)
    assert head_features(runs["mgan"].load_extractor("classifier"), fewer.images).shape == (15, 128)


def test_they_come_from_the_weights_of_the_checkpoint(runs: dict[str, Run]) -> None:
    run = runs["gan"]
    found = generated_images(run, 3, seed=2)
    assert found.generator.tolist() == [0, 0, 0]
    generator = run.build().networks["generator"].eval()
    state = torch.load(run.checkpoint, weights_only=True)["networks"]["generator"]
    generator.load_state_dict(state)
    z = torch.randn(64, LATENT, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(found.images, generator(z)[:3])
    assert not torch.equal(found.images, generated_images(run, 3, seed=2, epoch=0).images)
    method = run.load_method()
    assert not any(m.training for net in method.networks.values() for m in net.modules())


@pytest.mark.parametrize("method", ["supervised", "simclr", "autoencoder"])
def test_methods_without_a_generator(method: str, runs: dict[str, Run]) -> None:
    assert generated_images(runs[method], 2) is None


def test_images_that_cannot_be_had(runs: dict[str, Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="per_generator is 0; expected at least 1"):
        generated_images(runs["gan"], 0)
    with pytest.raises(UsageError, match="seed is -1; expected 0 or more"):
        generated_images(runs["gan"], 1, seed=-1)
    with pytest.raises(UsageError, match="no checkpoint of epoch 7"):
        generated_images(runs["gan"], 1, epoch=7)
    with pytest.raises(StoreError, match="is not a run"):
        generated_images(Run(tmp_path), 1)


class SequenceFirst(nn.Module):
    """A network that takes (positions, n, d)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(0))


class Turned(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1))


def test_as_many_positions_as_examples_are_no_rows() -> None:
    sequences = torch.randn(8, 8, 6)
    want = Turned().encoder(sequences.transpose(0, 1)).mean(0).detach()
    torch.testing.assert_close(head_features(Turned(), sequences), want)
    turned = sequences.transpose(0, 1)
    torch.testing.assert_close(head_features(SequenceFirst(), turned), want)
    torch.testing.assert_close(head_features(SequenceFirst(), turned, batch_axis=1), want)
    for ask in (
        lambda **said: head_features(SequenceFirst(), sequences, **said),
        lambda **said: layer_features(SequenceFirst(), sequences, ["head"], **said),
        lambda **said: layer_null_spaces(SequenceFirst(), sequences, layers="head", **said),
    ):
        with pytest.raises(CaptureError, match="no row for each of 8 examples in 'head"):
            ask(batch_axis=0)


class Centred(nn.Module):
    """A network whose features depend on the batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x - x.mean(0))


class Plain(Centred):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


RUNS: list[Callable[..., Any]] = [
    head_features,
    partial(layer_features, layers=["head@input"]),
    partial(layer_null_spaces, layers="head"),
]


@pytest.mark.parametrize("run", RUNS)
def test_refusals_propose_what_is_taken(run: Callable[..., Any]) -> None:
    with pytest.raises(CaptureError, match="depends on the other.*allow_batch=True"):
        run(Centred(), torch.randn(8, 6))
    run(Centred(), torch.randn(8, 6), allow_batch=True)


@pytest.mark.parametrize(
    "run",
    [*RUNS, lambda network, batches: layer_null_spaces(network, batches, generated=batches)],
)
def test_entries_that_are_not_taken_are_said_once_in_whichever_batch(
    run: Callable[..., Any],
) -> None:
    rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    batches = [{"x": rows, "path": ["a"] * 4}, {"x": rows + 1}, {"x": rows, "note": 1, "path": ""}]
    with pytest.warns(RepsimWarning) as said:
        run(Plain(), batches)
    assert [str(each.message).partition(":")[0] for each in said] == [
        "Plain does not take 'path'",
        "Plain does not take 'note'",
    ]
