"""A linear head or a perceptron trained by minibatches, on the schedules of published probes.

A schedule stops where it stops: the accuracy depends on that point, unlike a converged solver's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.devices import default_memory
from repsim.errors import ShapeError, TrainingError, UsageError
from repsim.moved import moved_names
from repsim.probes.batches import shuffled
from repsim.probes.features import Features
from repsim.probes.perceptron import Layer, backward, forward, initial_weights, layers_of
from repsim.probes.schedules import OPTIMIZERS, Schedule, schedule_named
from repsim.probes.standardisation import Standard, standardise
from repsim.progress import Progress, silent

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class TrainedHead:
    """A head after its last epoch.

    Attributes:
        standard: mean and scale of the training features; None where they are taken as they are.
        layers: weights (outputs, inputs) and biases (outputs,) or None, float32, first layer first.
        loss: mean cross-entropy over the last epoch, each batch before its step.
        epochs: that it was trained for.
        history: share of the held-out rows classified correctly after each epoch, 0 to 1; empty
            without held-out rows.
    """

    standard: Standard | None
    layers: tuple[Layer, ...]
    loss: float
    epochs: int
    history: tuple[float, ...] = ()

    def logits(self, block: Float[Tensor, "n p"]) -> Float[Tensor, "n classes"]:
        """Outputs of the last layer, float32, without dropout."""
        with settled(), torch.no_grad():
            return forward(self.layers, _scaled(block, self.standard))[-1]

    def predict(self, block: Float[Tensor, "n p"]) -> Int[Tensor, " n"]:
        """The most likely class of each row."""
        return self.logits(block).argmax(1)


@settled()
def fit_sgd(
    train: Features,
    labels: Int[Tensor, " n"],
    classes: int,
    schedule: Schedule | str,
    *,
    held_out: tuple[Features, Int[Tensor, " m"]] | None = None,
    hidden: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    memory: int | None = None,
    progress: Progress = silent,
) -> TrainedHead:
    """Minimise mean cross-entropy over batches, in float32 on the device of the rows.

    Rows that fit in ``memory`` are shuffled as a whole before every epoch. Of others, the blocks
    are shuffled, as many read together as fit, and their rows shuffled among each other: rows that
    lie close together in the source meet in a batch more often. Every row is seen once an epoch
    either way.

    Weights start as those of ``torch.nn.Linear``, drawn on the CPU, and so does the order of the
    rows: both are the same on every device. Dropout is drawn on the device itself.

    Args:
        train: training rows (n, p).
        labels: (n,) their classes, 0 to classes - 1.
        classes: number of classes.
        schedule: of ``SCHEDULES``, or one's own.
        held_out: rows (m, p) and their classes (m,), scored after each epoch in one pass; what is
            trained stays the same.
        hidden: None for a linear head; else units of a hidden layer with ReLU. Kolesnikov et al.
            (2019) take 1000.
        dropout: probability that a hidden unit is left out of a step.
        seed: of initial weights, shuffling and dropout.
        memory: bytes that the rows may take, in float32; ``default_memory`` if None.
        progress: called after each epoch with its loss.

    Raises:
        ShapeError: labels that do not fit their rows, or held-out rows of another width.
        UsageError: an unknown schedule, no hidden unit, or dropout that is not in [0, 1) or without
            a hidden layer.
        TrainingError: a loss that is no longer finite.
    """
    schedule = schedule_named(schedule) if isinstance(schedule, str) else schedule
    labels = train.paired(labels)
    if held_out is not None and held_out[0].p != train.p:
        raise ShapeError(f"held-out rows have {held_out[0].p} columns, training rows {train.p}")
    if hidden is not None and hidden < 1:
        raise UsageError(f"hidden is {hidden}; expected at least 1 unit, or None")
    if not 0 <= dropout < 1 or (dropout and hidden is None):
        raise UsageError(f"dropout is {dropout}; expected 0 to 1, with a hidden layer")
    device, memory = train.device, default_memory(train.device) if memory is None else memory
    generator = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed) if dropout else None
    sizes = [train.p, classes] if hidden is None else [train.p, hidden, classes]
    drawn = [
        layer
        for pair in pairwise(sizes)
        for layer in initial_weights(*pair, schedule.bias, generator)
    ]
    weights = torch.cat([values.flatten() for values in drawn]).to(device)
    gradient = torch.zeros_like(weights)
    layers, gradients = (layers_of(vector, sizes, schedule.bias) for vector in (weights, gradient))
    step = OPTIMIZERS[schedule.optimizer](weights, gradient, schedule)

    standard = standardise(train) if schedule.standardise else None
    rows = train.map(lambda block: _scaled(block, standard), dtype=torch.float32)
    batches = shuffled(rows, labels, schedule.batch_size, memory, generator)
    steps = math.ceil(train.n / schedule.batch_size)
    score = None if held_out is None else _scorer(*held_out, standard, memory - rows.size)
    loss, history = math.nan, []
    with torch.no_grad():
        for epoch in range(schedule.epochs):
            total = torch.zeros((), dtype=torch.float64, device=device)
            for k, (x, y) in enumerate(batches()):
                total += backward(layers, gradients, x, y, dropout, noise)
                step(schedule.rate(epoch, (epoch + k / steps) / schedule.epochs))
            loss = float(total) / train.n
            if not math.isfinite(loss):
                raise _diverged(loss, epoch, schedule)
            if score is not None:
                history.append(score(layers))
            progress(epoch + 1, schedule.epochs, f"loss {loss:.4f}")
    return TrainedHead(standard, tuple(layers), loss, schedule.epochs, tuple(history))


def _diverged(loss: float, epoch: int, schedule: Schedule) -> TrainingError:
    advice = "a lower one" if schedule.standardise else "a lower one, or standardised features"
    rate = f"the learning rate is {schedule.lr:g}"
    return TrainingError(f"the loss of epoch {epoch + 1} is {loss}; {rate}, try {advice}")


def _scorer(
    test: Features, labels: Tensor, standard: Standard | None, memory: int
) -> Callable[[list[Layer]], float]:
    """A function that gives the share of rows that layers classify correctly.

    Rows are standardised once and kept where they take at most ``memory`` bytes.
    """
    labels = test.paired(labels, "held-out")
    rows = test.map(lambda block: _scaled(block, standard), dtype=torch.float32).held(memory)

    def score(layers: list[Layer]) -> float:
        hits = torch.zeros((), dtype=torch.int64, device=rows.device)
        for part, block in rows.blocks():
            hits += (forward(layers, block)[-1].argmax(1) == labels[part]).sum()
        return int(hits) / rows.n

    return score


def _scaled(block: Tensor, standard: Standard | None) -> Tensor:
    return (block if standard is None else standard(block)).float()


__getattr__ = moved_names(__name__)
