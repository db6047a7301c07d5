"""Methods: that a step does what its paper says, and what a method offers beside its step."""

from __future__ import annotations

import copy
import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from repsim.data import load
from repsim.errors import UsageError
from repsim.networks.families.dcgan import LATENT
from repsim.networks.image_spec import ImageSpec
from repsim.training import methods
from repsim.training.compose import configure
from repsim.training.lars import LARS
from repsim.training.loop import train
from repsim.training.losses import fake_logits, real_logits
from repsim.training.method import Batch, Method, StepContext
from repsim.training.methods import find_method, method_names, method_summary
from repsim.training.methods.rotation import turned
from repsim.training.triplets import Triplets

SPEC = ImageSpec(channels=1, classes=10, height=32, width=32, flips=False)
SMALL: dict[str, dict[str, Any]] = {
    "bigan": {"width": 16, "batch_size": 40},
    "joint_latent_regressor": {"width": 16},
    "latent_regressor": {"width": 16},
    "supervised": {"depth": 10, "width": 4, "representation": 6},
    "simclr": {"depth": 10, "width": 4},
    "gan": {"width": 4},
    "wgan": {"width": 4},
    "mgan": {"width": 4},
    "autoencoder": {"width": 4},
    "rotation": {"width": 4},
    "exemplar": {"network": "nin", "width": 6, "views": 3, "embedding": 20},
    "relative_patch_location": {"network": "nin", "width": 6, "embedding": 20, "hidden": 20},
    "jigsaw": {"network": "nin", "width": 6, "embedding": 20, "hidden": 20},
}


def make(method: str, seed: int = 0, **settings: Any) -> Any:
    """A small method of a seed; ``settings`` go before those of ``SMALL``."""
    config = configure(method, {**SMALL.get(method, {}), **settings}, "test")
    torch.manual_seed(seed)
    return find_method(method)(config, SPEC)


def batch(n: int) -> Batch:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(n, 1, 32, 32, generator=generator) * 2 - 1
    return Batch(images, torch.arange(n) % 10)


def plain(method: Method, optimizers: dict[str, Optimizer] | None = None) -> StepContext:
    """A method's parts as they are, on the CPU."""
    chosen = method.optimizers() if optimizers is None else optimizers
    return StepContext(method.networks, chosen, torch.Tensor.backward)


def gradient_descent(method: Method, **rates: float) -> StepContext:
    """The method's optimisers replaced by SGD, so that a step shows the gradient."""
    return plain(
        method,
        {
            name: SGD([p for group in each.param_groups for p in group["params"]], rates[name])
            for name, each in method.optimizers().items()
        },
    )


def test_every_method_is_tested_here() -> None:
    assert sorted(SMALL) == method_names()


# --- SimCLR and supervised


def test_simclr_by_lars_leaves_biases_and_norms_to_plain_momentum() -> None:
    method = make("simclr", optimizer="lars", batch_size=512, lr=1.0, weight_decay=1e-6)
    (optimizer,) = method.optimizers().values()
    assert isinstance(optimizer, LARS)
    assert [g["lr"] for g in optimizer.param_groups] == [
        1.0,
        1.0,
    ]  # the loop scales them
    assert [g["weight_decay"] for g in optimizer.param_groups] == [1e-6, 0.0]
    assert all(p.ndim == 1 for p in optimizer.param_groups[1]["params"])
    assert type(make("simclr").optimizers()["encoder"]) is SGD


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_a_few_steps_of_simclr_lower_its_loss(optimizer: str) -> None:
    lr = {"sgd": 0.5, "lars": 30.0}[optimizer]
    settings = {"lr": lr, "projection_layers": 3, "representation": 12, "min_area": 0.9}
    method = make("simclr", optimizer=optimizer, batch_size=64, **settings)
    assert method.encoder.head.hidden2.in_features == 12
    digits = load("digits", "train[:64]").inputs()
    training, losses = plain(method), []
    for _ in range(25):
        losses.append(float(method.step(Batch(digits, batch(64).labels), training)["loss"]))
    assert losses[0] == pytest.approx(math.log(127), abs=0.5)
    assert sum(losses[-5:]) / 5 < losses[0] - 0.3, losses


def test_supervised_rates_fall_by_a_cosine_or_by_steps() -> None:
    factors = {
        schedule: [
            make("supervised", schedule=schedule, warmup_epochs=5).lr_factor(step, 900, 10)
            for step in (0, 50, 299, 300, 600, 800)
        ]
        for schedule in ("cosine", "steps")
    }
    assert factors["steps"] == pytest.approx([0.02, 1, 1, 0.1, 0.01, 0.001])
    assert factors["cosine"][:2] == pytest.approx([0.02, 1])
    assert factors["cosine"][2] < 1


# --- rotation


def by_hand(images: Tensor) -> list[Tensor]:
    """Images by 0 to 3 quarter turns against the clock, by rows and columns."""
    across = images.transpose(2, 3)
    return [images, across.flip(2), images.flip(2, 3), across.flip(3)]


def test_images_are_turned_by_quarters_against_the_clock() -> None:
    images = torch.arange(32.0).view(2, 1, 4, 4)
    copies, turns = turned(images)
    assert torch.equal(copies, torch.cat(by_hand(images)))
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # The right column becomes the first row.
    assert copies[2, 0, 0].tolist() == images[0, 0, :, 3].tolist()


def test_a_step_of_rotation_is_the_step_that_is_written_by_hand() -> None:
    """All four copies pass together, so that they share their batch statistics."""
    method = make("rotation", network="nin", width=6, lr=0.1, weight_decay=0.01)
    method.augment = nn.Identity()
    twin = copy.deepcopy(method.encoder)
    images = batch(3).images
    logits = twin(torch.cat(by_hand(images)))
    right = logits.log_softmax(1)[torch.arange(12), torch.arange(12) // 3]
    loss = -right.mean()
    loss.backward()
    found = method.step(batch(3), plain(method))
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    hits = (logits.argmax(1) == torch.arange(12) // 3).float().mean()
    assert float(found["accuracy"]) == pytest.approx(float(hits))
    for before, after in zip(twin.parameters(), method.encoder.parameters(), strict=True):
        expected = before - 0.1 * (before.grad + 0.01 * before)
        assert torch.allclose(after, expected, rtol=1e-4, atol=1e-6)
    assert {name for name, _ in method.encoder.named_parameters()} >= {"head.weight", "head.bias"}


def test_all_copies_of_an_image_are_of_one_crop() -> None:
    method, seen = make("rotation"), []
    method.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    method.step(batch(5), plain(method))
    torch.manual_seed(0)
    assert torch.equal(seen[0], torch.cat(by_hand(method.augment(batch(5).images))))
    assert not torch.equal(seen[0][:5], batch(5).images)


def test_the_pretext_accuracy_is_of_held_out_images_in_all_four_copies() -> None:
    class Corner(nn.Module):
        """Finds the corner in which a pixel is bright."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, 0, i, j] for i, j in ((0, 0), (-1, 0), (-1, -1), (0, -1))], 1)

    method = make("rotation")
    images = torch.full((6, 1, 32, 32), -1.0)
    images[:, :, 0, 0] = 1
    method.encoder = Corner()
    assert float(method.evaluate(Batch(images, torch.zeros(6)))["accuracy"]) == 6
    images[3:] = images[3:].rot90(1, (2, 3))  # taken for images that were turned once more
    assert float(method.evaluate(Batch(images, torch.zeros(6)))["accuracy"]) == 3


def test_rotation_learns_to_tell_digits_upright() -> None:
    method = make("rotation", network="nin", width=12, lr=0.4)
    digits = load("digits", "train[:64]").inputs()
    training = plain(method)
    found = [method.step(Batch(digits, batch(64).labels), training) for _ in range(20)]
    assert float(found[0]["loss"]) == pytest.approx(math.log(4), abs=0.5)
    assert sum(float(each["accuracy"]) for each in found[-3:]) / 3 > 0.45  # by chance 0.25


def test_rotation_refuses_images_that_are_not_square() -> None:
    spec = ImageSpec(channels=1, classes=10, height=28, width=56, flips=False)
    with pytest.raises(UsageError, match="images are 28 x 56; .* try --image-size 28"):
        find_method("rotation")(configure("rotation", {}), spec)


def test_rates_of_pretext_tasks_keep_the_papers_shapes_by_proportion() -> None:
    method = make("rotation")
    steps = (0, 49, 50, 149, 150, 249, 250)  # of 35 epochs of 10
    factors = [method.lr_factor(step, 350, 10) for step in steps]
    assert factors == pytest.approx([0.02, 1, 1, 1, 0.1, 0.1, 0.01])
    # A fifth as long, and the same shape.
    assert [method.lr_factor(step, 70, 10) for step in (0, 9, 29, 30, 50)] == pytest.approx(
        [0.1, 1, 1, 0.1, 0.01]
    )
    method = make("rotation", schedule="gidaris2018")
    steps = (0, 599, 600, 1199, 1200, 1600)  # of 200 epochs of 10
    factors = [method.lr_factor(step, 2000, 10) for step in steps]
    assert factors == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.008])


# --- exemplar


def triplets_by_hand(z: Tensor, margin: float) -> tuple[float, float]:
    """The semi-hard loss of embeddings (n, v, d), and the share of triplets in the right order."""
    losses, right = [], []
    for i, image in enumerate(z):
        others = torch.cat([z[:i], z[i + 1 :]]).flatten(0, 1)
        for a, anchor in enumerate(image):
            to_others = (others - anchor).square().sum(1)
            for p, positive in enumerate(image):
                if a == p:
                    continue
                within = (positive - anchor).square().sum()
                further = to_others[to_others > within]
                negative = further.min() if len(further) else to_others.max()
                losses.append(max(0.0, float(margin + within - negative)))
                right += (to_others > within).tolist()
    return sum(losses) / len(losses), sum(right) / len(right)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_triplets_are_those_of_the_definition(spread: float) -> None:
    """From images that lie apart to images that are mixed up."""
    generator = torch.Generator().manual_seed(0)
    centres, views = (torch.randn(4, k, 5, generator=generator) for k in (1, 3))
    z = centres + spread * views
    found = Triplets.of(z)
    loss, right = triplets_by_hand(z, 2.0)
    assert float(found.semi_hard_loss(2.0)) == pytest.approx(loss, rel=1e-5)
    assert float(found.share_right()) == pytest.approx(right)


def test_a_pair_that_is_further_than_all_else_has_the_furthest_negative() -> None:
    """Views 0 and 1 of an image, 1.5 and 9 of another.

    The losses of the four pairs are 2 + 1 - 1.5², 2 + 1 - 8² < 0, 2 + 7.5² - 1.5² with the furthest
    negative, and 2 + 7.5² - 8² < 0.
    """
    z = torch.tensor([[[0.0], [1.0]], [[1.5], [9.0]]], requires_grad=True)
    triplets = Triplets.of(z)
    loss = triplets.semi_hard_loss(2.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((0.75 + 56) / 4)
    assert float(triplets.share_right()) == pytest.approx((2 + 1 + 0 + 2) / 8)
    assert z.grad is not None
    expected = torch.tensor([1.0 + 3, 2, -3 - 18, 15]) / 4
    assert torch.allclose(z.grad.flatten(), expected)


def test_triplets_of_embeddings_that_are_nearly_alike_keep_their_distances() -> None:
    """As those of an untrained network, whose differences are small beside their lengths."""
    generator = torch.Generator().manual_seed(0)
    z = 100 + 0.1 * torch.randn(4, 3, 5, generator=generator)
    # Rounding to float32 is all the difference: squares of 1e4 would lose 1e-3 each.
    assert torch.allclose(Triplets.of(z).between.double(), Triplets.of(z.double()).between, 1e-3)


@pytest.mark.parametrize("axis", ["features", "batch"])
def test_a_step_of_exemplar_compares_embeddings_of_length_one(axis: str) -> None:
    """Along the features of each view, or along the batch as the authors' code does."""
    method = make("exemplar", norm_axis=axis, margin=0.3)
    twin = copy.deepcopy(method.encoder)
    torch.manual_seed(0)
    found = method.step(batch(5), plain(method))
    torch.manual_seed(0)
    images = batch(5).images.repeat_interleave(3, 0)
    z = twin(method.augment(images)).detach()
    lengths = z.norm(dim=1, keepdim=True) if axis == "features" else z.norm(dim=0)
    loss, right = triplets_by_hand((z / lengths).view(5, 3, 20), 0.3)
    assert float(found["loss"]) == pytest.approx(loss, rel=1e-4)
    assert float(found["accuracy"]) == pytest.approx(right)
    assert not torch.equal(twin.head.weight, method.encoder.head.weight)


def test_views_are_in_the_order_of_their_images() -> None:
    method = make("exemplar", views=2)
    images = torch.linspace(-1, 1, 6).view(6, 1, 1, 1).expand(6, 1, 32, 32)
    method.augment = nn.Identity()
    views = method.views(images)
    assert views.shape == (6, 2, 1, 32, 32)
    assert torch.equal(views[:, 0], images)
    assert torch.equal(views[:, 1], images)


def test_held_out_exemplars_are_scored_on_the_same_views_every_time() -> None:
    class Brightness(nn.Module):
        """Tells bright images from dark ones, as a place on the circle."""

        def forward(self, x: Tensor) -> Tensor:
            angle = x.mean((1, 2, 3)) * math.pi / 2
            return torch.stack([angle.cos(), angle.sin()], 1)

    method = make("exemplar")
    images = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 32, 32)
    held_out = Batch(images, torch.zeros(2))
    method.encoder = Brightness()
    assert float(method.evaluate(held_out)["accuracy"]) == 2
    method = make("exemplar")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = method.evaluate(batch(6))["accuracy"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(method.evaluate(batch(6))["accuracy"], first)


def test_exemplar_learns_to_tell_images_apart_by_views_that_stay() -> None:
    method, right = make("exemplar", lr=0.03, min_area=0.5), []
    digits, training = load("digits", "train[:12]").inputs(), plain(method)
    for _ in range(8):
        torch.manual_seed(0)
        found = method.step(Batch(digits, batch(12).labels), training)
        right.append(float(found["accuracy"]))
    assert right[-1] > right[0] + 0.08, right


def test_exemplar_refuses_parts_of_one_image() -> None:
    with pytest.raises(UsageError, match="accumulate is 4 for a batch_size of 4; .* 2 images"):
        make("exemplar", batch_size=4, accumulate=4)


# --- GANs


def zero_heads(method: Method) -> None:
    """Logits of 0: D = 1/2, C = 1/K, f = 0."""
    for name in method.extractors:
        nn.init.zeros_(method.networks[name].head.weight)


def test_a_step_leaves_no_gradient_in_what_the_loss_passes_through() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 1)
    first.bias.requires_grad_(False)
    before = [p.detach().clone() for p in first.parameters()]
    training = StepContext({}, {"first": SGD(first.parameters(), 0.1)}, torch.Tensor.backward)
    for _ in range(2):  # of which the second forgets the first's gradient
        loss = second(first(torch.ones(2, 3))).mean()
        training.descend(loss, "first")
    assert all(p.grad is None for p in second.parameters())
    step = 0.1 * second.weight.detach().T.expand(3, 3)
    assert torch.allclose(first.weight, before[0] - 2 * step)
    assert torch.equal(first.bias, before[1])


def test_a_gan_that_knows_nothing_is_at_the_values_of_the_paper() -> None:
    method = make("gan")
    zero_heads(method)
    losses = method.step(batch(20), gradient_descent(method, discriminator=0.0, generator=0.0))
    assert float(losses["loss_d"]) == pytest.approx(math.log(4))
    assert float(losses["loss_g"]) == pytest.approx(math.log(2))
    assert float(losses["d_real"]) == float(losses["d_fake"]) == 0.5


@pytest.mark.parametrize("generators", [2, 5])
def test_mgans_generators_have_the_classifiers_term_times_beta(generators: int) -> None:
    method = make("mgan", generators=generators, beta=0.3)
    zero_heads(method)
    rates = {"generator": 0.0, "discriminator": 0.0, "classifier": 0.0}
    losses = method.step(batch(20), gradient_descent(method, **rates))
    assert float(losses["loss_c"]) == pytest.approx(math.log(generators))
    expected = math.log(2) + 0.3 * math.log(generators)
    assert float(losses["loss_g"]) == pytest.approx(expected)


def parameters(optimizer: Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("sharing", ["sum", "weighted", "turns"])
@pytest.mark.parametrize("shared", range(5))
def test_generators_discriminator_and_classifier_have_an_optimiser_each(
    shared: int, sharing: str
) -> None:
    method = make("mgan", shared=shared, sharing=sharing)
    own = {name: parameters(each) for name, each in method.optimizers().items()}
    all_of = {name: {id(p) for p in net.parameters()} for name, net in method.networks.items()}
    assert own["generator"] == all_of["generator"]
    assert own["discriminator"] == all_of["discriminator"]
    common = all_of["discriminator"] & all_of["classifier"]
    #: a convolution alone, one without BN, two with BN, one without again
    assert len(common) == (0, 1, 4, 7, 8)[shared]
    both = own["discriminator"] & own["classifier"]
    assert both == (common if sharing == "turns" else set())
    assert own["discriminator"] | own["classifier"] == (
        all_of["discriminator"] | all_of["classifier"]
    )


def losses_by_hand(method: Method, real: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """L_D and L_C of Mao et al., section 4, with two generators."""
    generator, discriminator, classifier = method.networks.values()
    fake = generator(z).detach()
    loss_d = real_logits(discriminator(real)) + fake_logits(discriminator(fake))
    source = torch.arange(2).repeat_interleave(len(z) // 2)
    return loss_d, F.cross_entropy(classifier(fake), source)


@pytest.mark.parametrize("sharing", ["sum", "weighted", "turns"])
def test_shared_convolutions_move_as_the_option_says(sharing: str) -> None:
    rate, beta, data = 0.5, 0.3, batch(20)
    method = make("mgan", generators=2, shared=2, sharing=sharing, beta=beta)
    slow = copy.deepcopy(method)
    before = method.networks["discriminator"].conv2[0].weight.detach().clone()
    torch.manual_seed(7)
    rates = {"generator": 0.0, "discriminator": rate, "classifier": rate}
    method.step(data, gradient_descent(method, **rates))
    moved = method.networks["discriminator"].conv2[0].weight.detach() - before

    torch.manual_seed(7)
    z = torch.randn(20, LATENT)
    weight = slow.networks["discriminator"].conv2[0].weight
    loss_d, loss_c = losses_by_hand(slow, data.images, z)
    if sharing == "turns":
        own = list(slow.networks["discriminator"].parameters())
        gradients = torch.autograd.grad(loss_d, own)
        with torch.no_grad():
            for p, g in zip(own, gradients, strict=True):
                p -= rate * g
        _, loss_c = losses_by_hand(slow, data.images, z)  # by weights that have moved
        (second,) = torch.autograd.grad(loss_c, weight)
        expected = -rate * (
            next(g for p, g in zip(own, gradients, strict=True) if p is weight) + second
        )
    else:
        share = beta if sharing == "weighted" else 1.0
        (gradient,) = torch.autograd.grad(loss_d + share * loss_c, weight)
        expected = -rate * gradient
    assert float(expected.abs().max()) > 1e-4
    assert torch.allclose(moved, expected, atol=1e-6)


class Counting(SGD):
    """Counts its steps."""

    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        return super().step(closure)


@pytest.mark.parametrize("constraint", ["clipping", "penalty"])
def test_a_wgans_critic_takes_its_steps_before_each_of_the_generator(constraint: str) -> None:
    method = make("wgan", constraint=constraint, critic_steps=3, batch_size=12)
    seen: list[Tensor] = []
    critic = method.networks["critic"]

    def watched(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return critic(x)

    optimizers = {name: Counting(net.parameters(), 0.1) for name, net in method.networks.items()}
    networks = {**method.networks, "critic": watched}
    losses = method.step(batch(12), StepContext(networks, optimizers, torch.Tensor.backward))
    assert {name: each.steps for name, each in optimizers.items()} == {"critic": 3, "generator": 1}
    assert torch.equal(torch.cat(seen[:-1:2]), batch(12).images)  # real, generated, in turns
    assert all(len(x) == 4 for x in seen)
    expected = {"gap", "loss_g"} | ({"penalty"} if constraint == "penalty" else set())
    assert set(losses) == expected


def test_clipping_bounds_every_weight_of_the_critic_and_no_other() -> None:
    method = make("wgan", clip=0.005, lr=0.1)
    method.step(batch(20), plain(method))
    critic, generator = method.networks["critic"], method.networks["generator"]
    assert max(float(p.detach().abs().max()) for p in critic.parameters()) == pytest.approx(0.005)
    assert max(float(p.detach().abs().max()) for p in generator.parameters()) > 0.01
    assert any(isinstance(m, nn.BatchNorm2d) for m in critic.modules())


def test_the_penalty_alone_brings_slopes_towards_one() -> None:
    method = make("wgan", constraint="penalty", penalty=1e4, lr=1e-3, critic_steps=1)
    training = plain(method)
    found = [float(method.step(batch(20), training)["penalty"]) for _ in range(40)]
    assert found[-1] < found[0] / 2
    assert not any(isinstance(m, nn.BatchNorm2d) for m in method.networks["critic"].modules())
    assert max(float(p.detach().abs().max()) for p in method.networks["critic"].parameters()) > 0.01


def test_the_penalty_is_taken_at_full_precision_in_mixed_training(tmp_path: Path) -> None:
    settings = {"constraint": "penalty", "precision": "bf16-mixed", "batch_size": 100, "width": 4}
    settings["statistics_batches"] = 3
    where = {"split": "train[:200]", "test": "test[:20]", "epochs": 1}
    config = configure("wgan", {**settings, **where}, "test")
    run = train("wgan", config, tmp_path / "run")
    assert math.isfinite(run.last_metrics()["penalty"])


def test_critic_steps_share_a_batch() -> None:
    with pytest.raises(UsageError, match="batch_size is 32; expected a multiple of the 5 critic_s"):
        make("wgan", batch_size=32)


# --- the autoencoder


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_an_autoencoder_takes_the_error_it_is_told_to(loss: str) -> None:
    method, data = make("autoencoder", loss=loss, code=20, lr=0.01), batch(16)
    with torch.no_grad():
        found = method.networks["decoder"](method.networks["encoder"](data.images))
    difference = (data.images - found).double()
    expected = difference.abs().mean() if loss == "l1" else difference.square().mean()
    training = plain(method)
    losses = [float(method.step(data, training)["loss"]) for _ in range(10)]
    assert losses[0] == pytest.approx(float(expected), rel=1e-5)
    assert losses[-1] < losses[0]
    with torch.no_grad():
        scores = method.evaluate(data)
    with torch.no_grad():
        again = (data.images - method.reconstructions(data.images)).square().mean()
    assert float(scores["l2"]) / 16 == pytest.approx(float(again), rel=1e-5)
    assert method.networks["encoder"](data.images).shape == (16, 20)


# --- pictures

#: What a method has to show: pictures by each generator, or what it makes of images.
SHOWN = {
    "bigan": 1,
    "gan": 1,
    "joint_latent_regressor": 1,
    "latent_regressor": 1,
    "mgan": 10,
    "wgan": 1,
}
#: Those that make images of images.
RECONSTRUCTING = {"autoencoder", "bigan", "joint_latent_regressor", "latent_regressor"}


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("n", [1, 13])
def test_generators_make_as_many_pictures_as_asked_for(method: str, n: int) -> None:
    built = make(method)
    for network in built.networks.values():
        network.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        found = built.samples(n)
        assert (built.reconstructions(batch(n).images) is None) == (method not in RECONSTRUCTING)
    if method not in SHOWN:
        assert found is None
        return
    parts = list(found.values()) if isinstance(found, dict) else [found]
    assert len(parts) == SHOWN[method]
    for part in parts:
        assert part.shape == (n, 1, 32, 32)
        assert float(part.abs().max()) <= 1
    assert len({float(part.sum()) for part in parts}) == len(parts)


def test_mgans_pictures_are_named_by_their_generators() -> None:
    method = make("mgan", generators=3, batch_size=12)

    def numbered(z: Tensor) -> Tensor:
        which = torch.arange(3.0).repeat_interleave(len(z) // 3)
        return which[:, None, None, None].expand(-1, 1, 32, 32)

    method.generator.forward = numbered
    found = method.samples(7)
    assert {name: images.unique().tolist() for name, images in found.items()} == {
        f"generator{i}": [i] for i in range(3)
    }


# --- the example of CONTRIBUTING.md


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example as a module of its own, in no other way known to repsim."""
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (code,) = [each for each in blocks if "METHOD = " in each]
    assert len(code.splitlines()) <= 45
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mirroring.py").write_text(code)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path / "methods")])
    importlib.invalidate_caches()
    yield "mirroring"
    sys.modules.pop("repsim.training.methods.mirroring", None)
    vars(methods).pop("mirroring", None)


def test_the_example_is_a_method_by_being_there(added: str, tmp_path: Path) -> None:
    from repsim.cli.train import train as command

    assert added in method_names()
    assert method_summary(added).startswith("Mirroring")
    size = ["--depth", "10", "--width", "4", "--split", "train[:200]", "--test", "test[:20]"]
    runs = ["--runs", str(tmp_path / "runs")]
    more = ["--epochs", "3", "--batch-size", "40", "--lr", "0.05"]
    command.main([added, *size, *runs, *more], standalone_mode=False)
    run = methods_run(tmp_path / "runs" / added)
    assert run.load_extractor().layer_names()[-1] == "head"
    assert 0 < run.last_metrics()["loss"] < math.log(2)
    command.main([added, *size, *runs, "--epochs", "0", "--name", "u"], standalone_mode=False)
    control = methods_run(tmp_path / "runs" / "u").load_extractor()
    assert control.head.weight.shape == (2, 32)


def methods_run(path: Path) -> Any:
    from repsim.training.run import Run

    return Run(path)
