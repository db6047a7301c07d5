"""Probes trained by minibatches: against torch's own layers and optimisers, in the same order."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repsim.errors import ShapeError, TrainingError, UsageError
from repsim.probes.batches import shuffled
from repsim.probes.features import Features
from repsim.probes.perceptron import backward
from repsim.probes.schedules import SCHEDULES, Schedule
from repsim.probes.sgd import TrainedHead, fit_sgd
from repsim.probes.standardisation import standardise

PLAIN = Schedule(0.1, 16, 3, standardise=False)


def blobs(rng: np.random.Generator, n: int = 150, spread: float = 3.0) -> tuple[Tensor, Tensor]:
    """Three classes in six features of different sizes."""
    labels = rng.integers(0, 3, n)
    centres = spread * np.random.default_rng(5).normal(size=(3, 6))
    x = rng.normal(size=(n, 6)) + centres[labels]
    return torch.tensor(x * np.geomspace(0.1, 10, 6) + 5), torch.tensor(labels)


def network(p: int, classes: int, schedule: Schedule, hidden: int | None, seed: int) -> Any:
    """torch's layers of the same seed; its global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hidden is None:
            return nn.Linear(p, classes, bias=schedule.bias)
        first = nn.Linear(p, hidden, bias=schedule.bias)
        return nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, classes, bias=schedule.bias))


def by_torch(
    x: Tensor, y: Tensor, schedule: Schedule, hidden: int | None = None, seed: int = 0
) -> tuple[Any, float]:
    """A network trained by autograd and torch.optim on the same batches, and its last loss."""
    net = network(x.shape[1], int(y.max()) + 1, schedule, hidden, seed)
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():  # what initial weights take of the generator
        if isinstance(layer, nn.Linear):
            for values in layer.parameters():
                torch.empty_like(values).uniform_(generator=generator)
    kind: Any = torch.optim.SGD if schedule.optimizer == "sgd" else torch.optim.AdamW
    extra = {"momentum": schedule.momentum} if schedule.optimizer == "sgd" else {}
    decay = schedule.weight_decay
    optimizer = kind(net.parameters(), lr=schedule.lr, weight_decay=decay, **extra)
    loss, steps = math.nan, math.ceil(len(x) / schedule.batch_size)
    for epoch in range(schedule.epochs):
        total = 0.0
        order = torch.randperm(len(x), generator=generator)
        for k, index in enumerate(order.split(schedule.batch_size)):
            rate = schedule.rate(epoch, (epoch + k / steps) / schedule.epochs)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(net(x[index].float()), y[index])
            value.backward()
            optimizer.step()
            total += float(value.detach()) * len(index)
        loss = total / len(x)
    return net, loss


# --- steps


def test_one_step_is_that_computed_by_hand() -> None:
    x, y = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([0, 1])
    schedule = Schedule(0.5, 2, 1, standardise=False)
    start = network(2, 2, schedule, None, 0)
    weight, bias = (values.detach().double().numpy() for values in start.parameters())
    logits = x.numpy() @ weight.T + bias
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = (share - np.eye(2)) / 2
    found = fit_sgd(Features.of(x), y, 2, schedule)
    (after, after_bias), *rest = found.layers
    assert not rest
    assert after_bias is not None
    assert after.numpy() == pytest.approx(weight - 0.5 * delta.T @ x.numpy(), abs=1e-6)
    assert after_bias.numpy() == pytest.approx(bias - 0.5 * delta.sum(0), abs=1e-6)
    assert found.loss == pytest.approx(-np.log(share.diagonal()).mean(), abs=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [
        PLAIN,
        replace(PLAIN, bias=False, momentum=0.0),
        replace(PLAIN, weight_decay=0.1, drops=(1, 2)),
        replace(PLAIN, cosine=True),
        replace(PLAIN, lr=0.01, optimizer="adam", weight_decay=0.3),
        replace(PLAIN, lr=0.01, optimizer="adam", bias=False, cosine=True),
    ],
)
@pytest.mark.parametrize("hidden", [None, 8])
def test_training_is_that_of_torch(
    schedule: Schedule, hidden: int | None, rng: np.random.Generator
) -> None:
    x, y = blobs(rng, 100)  # the last batch has 4 rows
    x = (x - x.mean(0)) / x.std(0)
    net, loss = by_torch(x, y, schedule, hidden, seed=3)
    found = fit_sgd(Features.of(x), y, 3, schedule, hidden=hidden, seed=3)
    ours = [values for layer in found.layers for values in layer if values is not None]
    for value, expected in zip(ours, net.parameters(), strict=True):
        torch.testing.assert_close(value, expected.detach(), rtol=1e-3, atol=2e-5)
    assert found.loss == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(found.logits(x), net(x.float()).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_autograd(dropout: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 5, generator=generator), torch.arange(20) % 3
    layers = [
        tuple(torch.randn(shape, generator=generator) for shape in ((7, 5), (7,))),
        tuple(torch.randn(shape, generator=generator) for shape in ((3, 7), (3,))),
    ]
    gradients = [tuple(torch.zeros_like(values) for values in layer) for layer in layers]
    loss = backward(layers, gradients, x, y, dropout, torch.Generator().manual_seed(9))

    kept = torch.ones(20, 7)
    if dropout:
        kept.bernoulli_(1 - dropout, generator=torch.Generator().manual_seed(9))
    leaves = [values.requires_grad_() for layer in layers for values in layer]
    a, b, c, d = leaves
    logits = ((x @ a.T + b).relu() * kept / (1 - dropout)) @ c.T + d
    expected = nn.functional.cross_entropy(logits, y)
    torch.testing.assert_close(loss, 20 * expected.detach(), rtol=1e-5, atol=0.0)
    for value, wanted in zip(
        (values for layer in gradients for values in layer),
        torch.autograd.grad(expected, leaves),
        strict=True,
    ):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-6)


def test_dropout_is_for_training_only(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    dropped = fit_sgd(Features.of(x), y, 3, "mlp", hidden=32, dropout=0.5)
    plain = fit_sgd(Features.of(x), y, 3, "mlp", hidden=32)
    assert not torch.equal(dropped.layers[0][0], plain.layers[0][0])
    assert torch.equal(dropped.logits(x), dropped.logits(x))


def test_the_learning_rate_drops_and_falls() -> None:
    drops = Schedule(1.0, 1, 40, drops=(30, 35))
    assert [drops.rate(e, 0.0) for e in (0, 29, 30, 34, 35)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )
    cosine = Schedule(2.0, 1, 40, cosine=True)
    assert [cosine.rate(0, done) for done in (0, 0.5, 1)] == pytest.approx([2, 1, 0])


def test_published_schedules_are_theirs() -> None:
    mao = SCHEDULES["mao2022"]
    assert (mao.lr, mao.momentum, mao.batch_size, mao.epochs) == (2e-4, 0.9, 120, 20)
    assert not mao.bias
    assert not mao.standardise
    for name, first in (("", 30), ("-120", 120), ("-480", 480)):
        schedule = SCHEDULES[f"kolesnikov2019{name}"]
        assert (schedule.lr, schedule.batch_size) == (0.1, 2048)
        assert (schedule.drops, schedule.epochs) == ((first, first + 20), first + 40)
    nguyen = SCHEDULES["nguyen2021"]
    assert (nguyen.lr, nguyen.momentum, nguyen.batch_size, nguyen.epochs) == (0.01, 0.9, 128, 300)
    assert not nguyen.drops
    assert not nguyen.cosine


# --- learning


@pytest.mark.parametrize(
    ("schedule", "hidden"), [("mao2022", None), ("kolesnikov2019", None), ("mlp", 256)]
)
def test_classes_that_lie_apart_are_learned(
    schedule: str, hidden: int | None, rng: np.random.Generator
) -> None:
    (x, y), (held, truth) = blobs(rng, 1000), blobs(rng, 300)
    notes: list[tuple[int, int]] = []
    found = fit_sgd(
        Features.of(x),
        y,
        3,
        schedule,
        hidden=hidden,
        progress=lambda done, total, note: notes.append((done, total)),
    )
    assert float((found.predict(held) == truth).double().mean()) > 0.95
    epochs = SCHEDULES[schedule].epochs
    assert found.epochs == epochs
    assert notes == [(epoch + 1, epochs) for epoch in range(epochs)]
    assert 0 < found.loss < 0.3


def test_a_hidden_layer_learns_what_a_linear_head_cannot(rng: np.random.Generator) -> None:
    x = torch.tensor(rng.normal(size=(800, 2)))
    y = (x[:, 0] * x[:, 1] > 0).long()
    schedule = replace(SCHEDULES["mlp"], lr=0.01, batch_size=64)
    linear, deep = (fit_sgd(Features.of(x), y, 2, schedule, hidden=h) for h in (None, 32))
    assert float((linear.predict(x) == y).double().mean()) < 0.7
    assert float((deep.predict(x) == y).double().mean()) > 0.95


def test_features_are_standardised_if_wanted(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    schedule = replace(PLAIN, standardise=True)
    standard = standardise(Features.of(x))
    found = fit_sgd(Features.of(x), y, 3, schedule)
    by_hand = fit_sgd(Features.of(standard(x)), y, 3, PLAIN)
    assert torch.equal(found.layers[0][0], by_hand.layers[0][0])
    assert torch.equal(found.logits(x), by_hand.logits(standard(x)))
    assert by_hand.standard is None


def test_a_seed_decides_everything(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    before = torch.random.get_rng_state()

    def weights(seed: int) -> Tensor:
        fitted = fit_sgd(Features.of(x), y, 3, "mlp", hidden=8, dropout=0.2, seed=seed)
        return torch.cat([weight.flatten() for weight, _ in fitted.layers])

    first, again, other = (weights(seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


# --- held-out rows


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("sizes", [{}, {"hidden": 8, "dropout": 0.2}])
def test_scoring_held_out_rows_changes_nothing(
    sizes: dict[str, Any], memory: int | None, rng: np.random.Generator
) -> None:
    (x, y), (held, truth) = blobs(rng), blobs(rng, 40)
    schedule = replace(PLAIN, standardise=True)
    plain = fit_sgd(Features.of(x), y, 3, schedule, memory=memory, **sizes)
    scored = fit_sgd(
        Features.of(x),
        y,
        3,
        schedule,
        held_out=(Features.of(held), truth),
        memory=memory,
        **sizes,
    )
    for layer, expected in zip(scored.layers, plain.layers, strict=True):
        assert all(torch.equal(*pair) for pair in zip(layer, expected, strict=True))
    assert scored.loss == plain.loss
    assert plain.history == ()


def test_held_out_rows_are_scored_after_each_epoch(rng: np.random.Generator) -> None:
    """At a constant rate, epoch k of a schedule is the last of one with k epochs."""
    (x, y), (held, truth) = blobs(rng, spread=0.5), blobs(rng, 97, spread=0.5)
    schedule = replace(PLAIN, lr=0.003, epochs=4)
    starts = [0, 40, 40, 97]
    found = fit_sgd(Features.of(x), y, 3, schedule, held_out=(ragged(held, starts), truth))
    expected = [
        fit_sgd(Features.of(x), y, 3, replace(schedule, epochs=epochs)).predict(held) == truth
        for epochs in (1, 2, 3, 4)
    ]
    assert found.history == pytest.approx([float(each.double().mean()) for each in expected])
    assert len(set(found.history)) > 1


# --- rows that do not fit in memory


def ragged(x: Tensor, starts: list[int]) -> Features:
    return Features(
        lambda k: x[starts[k] : starts[k + 1]], starts, x.shape[1], x.dtype, torch.device("cpu")
    )


@pytest.mark.parametrize("memory", [1 << 30, 0, 2 * 4 * 2 * 3 * 30])
@pytest.mark.parametrize("size", [1, 7, 25, 100, 1000])
def test_every_row_is_seen_once_in_an_epoch(size: int, memory: int) -> None:
    x = torch.arange(200.0).view(100, 2)
    labels = torch.arange(100)
    rows = ragged(x, [0, 10, 10, 40, 41, 70, 100])
    epoch = shuffled(rows, labels, size, memory, torch.Generator().manual_seed(0))
    orders = []
    for _ in range(2):
        batches = list(epoch())
        assert [len(y) for _, y in batches[:-1]] == [size] * ((100 - 1) // size)
        assert all(torch.equal(part, x[y]) for part, y in batches)
        orders.append(torch.cat([y for _, y in batches]))
        assert torch.equal(orders[-1].sort().values, labels)
        assert not torch.equal(orders[-1], labels)
    assert not torch.equal(*orders)


def test_blocks_meet_in_windows() -> None:
    """Room for two blocks: rows of no more than two come between those of one."""
    starts = list(range(0, 601, 100))
    labels = torch.arange(600)
    rows = ragged(labels[:, None].float(), starts)
    epoch = shuffled(rows, labels, 50, 0, torch.Generator().manual_seed(0))
    seen = torch.cat([y for _, y in epoch()]) // 100
    assert seen[:200].unique().tolist() != [0, 1] or seen[200:400].unique().tolist() != [2, 3]
    for first, last in pairwise(range(0, 601, 200)):
        assert len(seen[first:last].unique()) == 2
        assert int((seen[first:last].diff() != 0).sum()) > 50


def test_rows_in_windows_are_learned_as_well(rng: np.random.Generator) -> None:
    (x, y), (held, truth) = blobs(rng, 1000), blobs(rng, 300)
    rows = ragged(x, [*range(0, 1000, 90), 1000])
    schedule = replace(SCHEDULES["kolesnikov2019"], batch_size=64, drops=(5, 8), epochs=10)
    whole, windows = (fit_sgd(rows, y, 3, schedule, memory=memory) for memory in (None, 10_000))
    assert not torch.equal(whole.layers[0][0], windows.layers[0][0])
    assert windows.loss == pytest.approx(whole.loss, abs=0.01)
    agree = (whole.predict(held) == windows.predict(held)).double().mean()
    assert float(agree) > 0.98
    assert float((windows.predict(held) == truth).double().mean()) > 0.95


# --- errors


def test_a_loss_that_is_not_finite_says_what_to_try(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    with pytest.raises(TrainingError, match="epoch 1 is .*; the learning rate is 1e\\+30, try a"):
        fit_sgd(Features.of(1e30 * x), y, 3, replace(PLAIN, lr=1e30))
    with pytest.raises(TrainingError, match="try a lower one, or standardised features$"):
        fit_sgd(Features.of(1e30 * x), y, 3, "mao2022")
    with pytest.raises(TrainingError, match="try a lower one$"):
        fit_sgd(Features.of(x), y, 3, replace(PLAIN, lr=1e38, standardise=True))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.0}, "lr of a schedule is 0.0"),
        ({"lr": math.nan}, "lr of a schedule is nan"),
        ({"batch_size": 0}, "batch_size of a schedule is 0"),
        ({"epochs": 0}, "epochs of a schedule is 0"),
        ({"momentum": 1.0}, "momentum of a schedule is 1.0"),
        ({"weight_decay": -1.0}, "weight_decay of a schedule is -1.0"),
        ({"optimizer": "adma"}, "unknown optimizer 'adma'; did you mean 'adam'"),
        ({"drops": (1,), "cosine": True}, "drops or a cosine, not both"),
    ],
)
def test_a_schedule_names_what_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(PLAIN, **values)


def test_errors_name_the_argument(rng: np.random.Generator) -> None:
    x, y = blobs(rng)
    rows = Features.of(x)
    with pytest.raises(ShapeError, match="9 labels came with 150 training rows"):
        fit_sgd(rows, y[:9], 3, PLAIN)
    with pytest.raises(ShapeError, match="9 labels came with 150 held-out rows"):
        fit_sgd(rows, y, 3, PLAIN, held_out=(rows, y[:9]))
    with pytest.raises(ShapeError, match="held-out rows have 5 columns, training rows 6"):
        fit_sgd(rows, y, 3, PLAIN, held_out=(Features.of(x[:, :5]), y))
    with pytest.raises(UsageError, match="unknown schedule 'mao2021'; did you mean 'mao2022'"):
        fit_sgd(rows, y, 3, "mao2021")
    with pytest.raises(UsageError, match="hidden is 0"):
        fit_sgd(rows, y, 3, PLAIN, hidden=0)
    for dropout, hidden in ((0.5, None), (1.0, 8), (-0.1, 8)):
        with pytest.raises(UsageError, match=f"dropout is {dropout}"):
            fit_sgd(rows, y, 3, PLAIN, hidden=hidden, dropout=dropout)


def test_a_head_is_a_result_that_stays() -> None:
    found = fit_sgd(Features.of(torch.eye(4)), torch.arange(4), 4, PLAIN)
    assert isinstance(found, TrainedHead)
    with pytest.raises(AttributeError):
        found.loss = 0.0  # type: ignore[misc]
