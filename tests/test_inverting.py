"""BiGAN and its baselines: steps as the paper has them, written again by hand."""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import train_before
from test_methods import batch, gradient_descent, plain
from test_methods import make as make_small
from torch import Tensor
from torch.nn import functional as F

from repsim.activations.analyses.inversion import made_again
from repsim.batch_statistics import kept
from repsim.data import load
from repsim.errors import UsageError
from repsim.figures.papers.engine import Folder
from repsim.figures.papers.engine.training import Training
from repsim.progress import silent
from repsim.training.compose import configure
from repsim.training.inverting import as_code, regression
from repsim.training.loop import train
from repsim.training.method import Method
from repsim.training.run_lock import is_begun

RATE = 0.5
PLAYERS = ("encoder", "generator")


def make(method: str, **settings: Any) -> Any:
    """A small method with weights large enough for gradients to be seen."""
    built = make_small(method, **settings)
    for network in built.networks.values():
        for weight in network.parameters():
            weight.data *= 5
    return built


def noise(n: int, latent: int = 50) -> Tensor:
    return torch.rand(n, latent) * 2 - 1


def after_a_step(method: Method, n: int, **rates: float) -> dict[str, Tensor]:
    """Losses of a step by gradient descent whose noise is that of seed 7."""
    chosen = {name: rates.get(name, 0.0) for name in method.optimizers()}
    torch.manual_seed(7)
    return method.step(batch(n), gradient_descent(method, **chosen))


def moved(method: Method, before: Method, name: str) -> list[Tensor]:
    pairs = zip(method.networks[name].parameters(), before.networks[name].parameters(), strict=True)
    return [(after - start).detach() for after, start in pairs]


def close(found: list[Tensor], gradients: Any) -> None:
    largest = max(float(each.abs().max()) for each in found)
    assert largest > 1e-3
    for step, gradient in zip(found, gradients, strict=True):
        assert torch.allclose(step, -RATE * gradient, atol=1e-4 * largest)


def pairs(method: Method, images: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of D for (x, E(x)) and for (G(z), z)."""
    encoder, generator, discriminator = method.networks.values()
    codes = 2 * encoder(images).sigmoid() - 1
    return discriminator(images, codes), discriminator(generator(z), z)


def bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


@pytest.mark.parametrize("alternate", [False, True])
def test_a_step_of_bigan_is_the_one_of_the_paper(alternate: bool) -> None:
    """All at once at the same weights, each on its own half, E and G with labels exchanged."""
    method = make("bigan", alternate=alternate)
    slow = copy.deepcopy(method)
    rates = dict.fromkeys(method.networks, RATE)
    losses = after_a_step(method, 20, **rates)

    torch.manual_seed(7)
    first, second = batch(20).images.chunk(2)
    on_encoded, on_generated = pairs(slow, first, noise(10))
    loss_d = bce(on_encoded, 1.0) + bce(on_generated, 0.0)
    d = list(slow.networks["discriminator"].parameters())
    gradients_d = torch.autograd.grad(loss_d, d)
    if alternate:
        with torch.no_grad():
            for weight, gradient in zip(d, gradients_d, strict=True):
                weight -= RATE * gradient
    on_encoded, on_generated = pairs(slow, second, noise(10))
    loss_g = bce(on_encoded, 0.0) + bce(on_generated, 1.0)
    own = {name: list(slow.networks[name].parameters()) for name in PLAYERS}
    gradients = torch.autograd.grad(loss_g, [*own["encoder"], *own["generator"]])

    before = make("bigan", alternate=alternate)
    close(moved(method, before, "discriminator"), gradients_d)
    close(moved(method, before, "encoder"), gradients[: len(own["encoder"])])
    close(moved(method, before, "generator"), gradients[len(own["encoder"]) :])
    assert float(losses["loss_d"]) == pytest.approx(float(loss_d.detach()), rel=1e-5)
    assert float(losses["loss_g"]) == pytest.approx(float(loss_g.detach()), rel=1e-5)


def test_a_joint_discriminator_that_knows_nothing_is_at_one_half() -> None:
    method = make("bigan")
    for parameter in method.networks["discriminator"].head.parameters():
        torch.nn.init.zeros_(parameter)
    losses = after_a_step(method, 20)
    assert float(losses["d_encoded"]) == float(losses["d_generated"]) == 0.5
    assert float(losses["loss_d"]) == pytest.approx(math.log(4))


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_joint_regressor_adds_a_share_of_its_loss_to_the_generators(weight: float) -> None:
    method = make("joint_latent_regressor", weight=weight)
    slow = copy.deepcopy(method)
    losses = after_a_step(method, 20, generator=RATE, encoder=RATE, discriminator=RATE)

    torch.manual_seed(7)
    encoder, generator, discriminator = slow.networks.values()
    real, fake = batch(20).images, generator(noise(20)).detach()
    loss_d = bce(discriminator(real), 1.0) + bce(discriminator(fake), 0.0)
    d = torch.autograd.grad(loss_d, list(discriminator.parameters()))
    z = noise(20)
    fake = generator(z)
    loss_z = F.binary_cross_entropy_with_logits(encoder(fake), (z + 1) / 2)
    loss_g = bce(discriminator(fake), 1.0) + weight * loss_z
    g = torch.autograd.grad(loss_g, list(generator.parameters()), retain_graph=True)
    before = make("joint_latent_regressor", weight=weight)
    close(moved(method, before, "discriminator"), d)
    close(moved(method, before, "generator"), g)
    if weight:
        close(moved(method, before, "encoder"), torch.autograd.grad(loss_g, encoder.parameters()))
    assert float(losses["loss_z"]) == pytest.approx(float(loss_z.detach()), rel=1e-5)


def test_a_latent_regressor_moves_its_encoder_alone() -> None:
    method = make("latent_regressor")
    slow, statistics = copy.deepcopy(method), kept(method.networks["generator"])
    loss = after_a_step(method, 20, encoder=RATE)["loss"]
    torch.manual_seed(7)
    z = noise(20)
    encoder, generator = slow.networks.values()
    expected = F.binary_cross_entropy_with_logits(encoder(generator(z).detach()), (z + 1) / 2)
    before = make("latent_regressor")
    close(moved(method, before, "encoder"), torch.autograd.grad(expected, encoder.parameters()))
    assert all(
        torch.equal(each, torch.zeros_like(each)) for each in moved(method, before, "generator")
    )
    after = kept(method.networks["generator"])
    assert all(torch.equal(value, after[name]) for name, value in statistics.items())
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("alternate", [False, True])
def test_a_gan_updates_both_networks_at_once_or_in_turns(alternate: bool) -> None:
    method = make("gan", alternate=alternate, noise="uniform", latent=50)
    slow = copy.deepcopy(method)
    after_a_step(method, 20, generator=RATE, discriminator=RATE)
    torch.manual_seed(7)
    generator, discriminator = slow.networks.values()
    fake = generator(noise(20))
    loss_d = bce(discriminator(batch(20).images), 1.0) + bce(discriminator(fake.detach()), 0.0)
    d = list(discriminator.parameters())
    gradients_d = torch.autograd.grad(loss_d, d)
    if alternate:
        with torch.no_grad():
            for weight, gradient in zip(d, gradients_d, strict=True):
                weight -= RATE * gradient
    else:
        fake = generator(noise(20))
    g = torch.autograd.grad(bce(discriminator(fake), 1.0), list(generator.parameters()))
    before = make("gan", alternate=alternate, noise="uniform", latent=50)
    close(moved(method, before, "discriminator"), gradients_d)
    close(moved(method, before, "generator"), g)


# --- losses and optimisers


def test_codes_are_of_the_kind_of_the_noise() -> None:
    uniform, normal = (configure("bigan", {"noise": kind}) for kind in ("uniform", "normal"))
    logits = torch.linspace(-9, 9, 7)[:, None]
    assert torch.allclose(as_code(uniform, logits), 2 * logits.sigmoid() - 1, atol=1e-6)
    assert torch.equal(as_code(normal, logits), logits)
    z = torch.tensor([[-1.0], [0.0], [1.0]])
    certain = regression(uniform, torch.tensor([[-40.0], [0.0], [40.0]]), z)
    assert float(certain) == pytest.approx(math.log(2) / 3)  # of the number in the middle
    assert float(regression(normal, z + 2, z)) == pytest.approx(2.0)


def test_weight_decay_is_on_weights_alone() -> None:
    method = make("bigan", weight_decay=0.1)
    assert set(method.optimizers()) == {"encoder", "generator", "discriminator"}
    for name, optimizer in method.optimizers().items():
        weights, others = optimizer.param_groups
        assert weights["weight_decay"] == 0.1
        assert others["weight_decay"] == 0.0
        assert {p.ndim for p in weights["params"]} == {2}
        assert {p.ndim for p in others["params"]} == {1}
        count = len(weights["params"]) + len(others["params"])
        assert count == len(list(method.networks[name].parameters()))
    assert make("bigan").lr_factor(100, 100, 10) == pytest.approx(0.01)
    assert make("gan").lr_factor(100, 100, 10) == 1.0


@pytest.mark.parametrize("method", ["bigan", "joint_latent_regressor"])
def test_images_of_both_kinds_may_pass_together(method: str) -> None:
    built = make(method, passes="together")
    sizes: list[int] = []
    built.networks["discriminator"].register_forward_pre_hook(
        lambda module, inputs: sizes.append(len(inputs[0]))
    )
    assert all(value.isfinite() for value in built.step(batch(20), plain(built)).values())
    assert sizes == ([20, 20] if method == "bigan" else [40, 40])


# --- the generalised BiGAN


def test_the_encoder_of_a_generalised_bigan_reads_the_larger_images() -> None:
    """One step by hand: D sees real images brought to the size of generated ones."""
    built = make("bigan", generated_size="4x6")
    images = batch(20)
    assert built.made_spec.size == (4, 6)
    seen: dict[str, list[tuple[int, ...]]] = {name: [] for name in built.networks}
    for name, network in built.networks.items():
        network.register_forward_pre_hook(
            lambda module, given, name=name: seen[name].append(tuple(given[0].shape))
        )
    built.step(images, plain(built))
    channels, height, width = images.images.shape[1:]
    assert set(seen["encoder"]) == {(10, channels, height, width)}
    assert {shape[1:] for shape in seen["discriminator"]} == {(channels, 4, 6)}
    small = F.interpolate(images.images[:10], (4, 6), mode="bilinear", antialias=True)
    (shown, _), (made, _) = built._pairs(images.images[:10], plain(built))
    torch.testing.assert_close(shown, small)
    assert made.shape == (10, channels, 4, 6)
    for whole in (built.samples(3), built.reconstructions(images.images[:3])):
        assert whole.shape == (3, channels, height, width)
    z = noise(2)
    own = F.interpolate(built.networks["generator"](z), (height, width), mode="bilinear")
    torch.testing.assert_close(built.made_of(z), own)


def test_the_size_of_generated_images_has_one_spelling_and_no_key_of_its_own_before() -> None:
    same = [configure("bigan", {"generated_size": size}, "test") for size in ("8", "8x8", 8)]
    assert {each.generated_size for each in same} == {"8x8"}
    assert "generated_size" not in configure("bigan", {}, "test").identity()
    for wrong, message in (("own", "expected a size such as 16"), ("0", "from 1 to 4096 pixels")):
        with pytest.raises(UsageError, match=message):
            configure("bigan", {"generated_size": wrong}, "test")
    with pytest.raises(UsageError, match=r"generated_size is 8x99, images are .*no larger ones"):
        make("bigan", generated_size="8x99")


def test_a_generalised_bigan_is_trained_inverted_and_not_inverted_again(tmp_path: Path) -> None:
    small = {"width": 16, "split": "train[:100]", "test": "test[:20]", "batch_size": 50}
    values = {**small, "epochs": 1, "image_size": "16", "generated_size": "8"}
    run = train("bigan", configure("bigan", values, "test"), tmp_path / "gan")
    again = made_again(run.extractor(), load("digits", "test[:6]", image_size=16))
    assert again.generated is not None
    assert again.again.shape == again.generated.shape == again.images.shape == (6, 1, 16, 16)
    with pytest.raises(UsageError, match="has image_size = '8x8', this run has '16x16'"):
        train("latent_regressor", regressor(image_size="16"), tmp_path / "lr")


# --- the run that a latent regressor begins from


def regressor(**settings: Any) -> Any:
    values = {"width": 16, "split": "train[:100]", "test": "test[:20]", "batch_size": 50}
    values |= {"epochs": 1, "sheet": 0, "statistics_batches": 3}
    return configure("latent_regressor", {**values, **settings}, "test")


def test_a_latent_regressor_has_the_generator_of_its_gan(tmp_path: Path) -> None:
    train_before("latent_regressor", regressor(), tmp_path, epochs=1)
    run = train("latent_regressor", regressor(), tmp_path / "lr")
    states = [
        found.load_method().networks["generator"].state_dict()
        for found in (run, type(run)(tmp_path / "gan"))
    ]
    same = {key: torch.equal(value, states[1][key]) for key, value in states[0].items()}
    assert {key for key, equal in same.items() if not equal} <= {
        key for key in same if key.endswith("num_batches_tracked")
    }
    begun = json.loads((run.path / "config.json").read_text())["begun_with"]
    assert begun == {"gan": "gan", "checkpoint_sha256": type(run)(tmp_path / "gan").digest()}


def test_a_latent_regressor_is_outdated_once_its_gan_is_trained_again(tmp_path: Path) -> None:
    train_before("latent_regressor", regressor(), tmp_path)
    run = train("latent_regressor", regressor(), tmp_path / "lr")
    gan = type(run)(tmp_path / "gan")
    assert run.outdated_by is None
    assert is_begun(run, "latent_regressor", regressor())
    other = gan.config.model_copy(update={"seed": 1})
    train("gan", other, gan.path, overwrite=True)
    assert run.outdated_by == gan
    assert not is_begun(run, "latent_regressor", regressor())
    with pytest.raises(UsageError, match="'lr' began from run 'gan', which has been trained again"):
        train("latent_regressor", regressor(), run.path, resume=True)
    train("latent_regressor", regressor(), run.path, overwrite=True)
    assert run.outdated_by is None
    shutil.rmtree(gan.path)
    assert run.outdated_by is None  # nothing contradicts what was taken


def test_a_reproduction_trains_a_latent_regressor_again_with_its_gan(tmp_path: Path) -> None:
    folder = Folder(tmp_path, device="cpu")
    small = {"network": "mlp", "width": 16, "split": "train[:100]", "test": "test[:20]"}
    settings = {**small, "noise": "uniform", "latent": 5, "batch_size": 50, "sheet": 0, "epochs": 0}
    gan, another = (
        Training(folder, "gan", "gan", {**settings, "coverage": 0, "seed": seed}) for seed in (0, 1)
    )
    gan.make(silent)
    step = Training(folder, "lr", "latent_regressor", {**settings, "gan": gan.path.name})
    step.make(silent)
    assert step.done
    train("gan", another.config, gan.path, overwrite=True)
    assert not step.done
    step.make(silent)
    assert step.done
    assert step.run.describe()["begun_with"]["checkpoint_sha256"] == gan.run.digest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gan": "none"}, "gan is 'none', but there is no run .*none; train a GAN of that name"),
        ({"width": 8}, "generator of run 'gan' has width = 16, this run has 8; train both with"),
        ({"latent": 9}, "generator of run 'gan' has latent = 50, this run has 9"),
        ({"network": "dcgan", "width": 4}, "'gan' has network = 'mlp', this run has 'dcgan'"),
        ({"image_size": "own"}, "'gan' has image_size = '32x32', this run has '8x8'"),
        ({"gan": "ae"}, "run 'ae' is of the method autoencoder, which has no single generator"),
        ({"gan": "mgan"}, "run 'mgan' is of the method mgan, which has no single generator"),
    ],
)
def test_a_gan_that_does_not_fit_is_refused_before_anything_is_made(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    train_before("latent_regressor", regressor(), tmp_path)
    small = {"split": "train[:100]", "test": "test[:20]", "epochs": 0, "width": 4}
    train("autoencoder", configure("autoencoder", small), tmp_path / "ae")
    train(
        "mgan",
        configure("mgan", {**small, "statistics_batches": 1, "batch_size": 50}),
        tmp_path / "mgan",
    )
    with pytest.raises(UsageError, match=message) as one:
        train("latent_regressor", regressor(**settings), tmp_path / "lr")
    assert "\n" not in str(one.value)
    assert not (tmp_path / "lr").exists()


@pytest.mark.parametrize("method", ["bigan", "joint_latent_regressor"])
def test_encoders_have_statistics_of_real_and_of_generated_images(
    method: str, tmp_path: Path
) -> None:
    settings = {"width": 16, "split": "train[:100]", "test": "test[:20]", "batch_size": 50}
    more = {"epochs": 1, "sheet": 0, "coverage": 0, "statistics_batches": 3}
    run = train(method, configure(method, {**settings, **more}), tmp_path / method)
    sides = run.sides()
    assert list(sides) == ["encoder"]
    real, made = (
        sides["encoder"][side]["hidden2.1.running_mean"] for side in ("real", "generated")
    )
    assert not torch.allclose(real, made, rtol=0.05)
    assert run.judge == (None if method == "bigan" else "discriminator")
