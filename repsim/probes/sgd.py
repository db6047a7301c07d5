"""A linear head or a perceptron trained by minibatches, on the schedules of published probes.

A schedule stops where it stops: the accuracy depends on that point, unlike a converged solver's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from repsim.ambient import settled
from repsim.devices import default_memory
from repsim.errors import ShapeError, TrainingError, UsageError, choices
from repsim.probes.features import Features
from repsim.probes.standardisation import Standard, standardise
from repsim.progress import Progress, silent

#: Weights and, if there are any, biases of a layer, as ``torch.nn.Linear`` has them.
Layer = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Schedule:
    """The schedule by which a head is trained.

    Attributes:
        lr: learning rate of the first step, for batches of ``batch_size``.
        batch_size: rows of a step; the last step of an epoch takes those that are left.
        epochs: passes over the training rows.
        momentum: of SGD.
        drops: after how many epochs the learning rate is divided by 10.
        cosine: let it fall to 0 along half a cosine instead, step by step.
        weight_decay: λ; SGD adds λ w to the gradient, Adam takes lr λ w off w (AdamW).
        bias: whether layers have one.
        standardise: divide features by their standard deviation, after subtracting the mean.
        optimizer: ``"sgd"``, or ``"adam"`` with β = 0.9, 0.999.

    Raises:
        UsageError: a value out of its range, or both drops and a cosine.
    """

    lr: float
    batch_size: int
    epochs: int
    momentum: float = 0.9
    drops: tuple[int, ...] = ()
    cosine: bool = False
    weight_decay: float = 0.0
    bias: bool = True
    standardise: bool = True
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            near = choices(self.optimizer, OPTIMIZERS)
            raise UsageError(f"unknown optimizer {self.optimizer!r}; {near}")
        if self.cosine and self.drops:
            raise UsageError("a schedule has drops or a cosine, not both")
        ranges = {
            "lr": 0 < self.lr < math.inf,
            "batch_size": self.batch_size >= 1,
            "epochs": self.epochs >= 1,
            "momentum": 0 <= self.momentum < 1,
            "weight_decay": 0 <= self.weight_decay < math.inf,
        }
        for name, holds in ranges.items():
            if not holds:
                raise UsageError(f"{name} of a schedule is {getattr(self, name)}")

    def rate(self, epoch: int, done: float) -> float:
        """The learning rate in ``epoch``, from 0, with a share ``done`` of all steps behind."""
        if self.cosine:
            return self.lr * 0.5 * (1 + math.cos(math.pi * done))
        return self.lr * 0.1 ** sum(epoch >= drop for drop in self.drops)


# --- optimisers: a step on all parameters in one vector


def _sgd(weights: Tensor, gradient: Tensor, schedule: Schedule) -> Callable[[float], None]:
    """SGD with momentum, as ``torch.optim.SGD``."""
    velocity = torch.zeros_like(weights)

    def step(rate: float) -> None:
        if schedule.weight_decay:
            gradient.add_(weights, alpha=schedule.weight_decay)
        velocity.mul_(schedule.momentum).add_(gradient)
        weights.add_(velocity, alpha=-rate)

    return step


def _adam(weights: Tensor, gradient: Tensor, schedule: Schedule) -> Callable[[float], None]:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), as ``torch.optim.AdamW``."""
    mean, square = torch.zeros_like(weights), torch.zeros_like(weights)
    steps = 0

    def step(rate: float) -> None:
        nonlocal steps
        steps += 1
        weights.mul_(1 - rate * schedule.weight_decay)
        mean.lerp_(gradient, 1 - 0.9)
        square.mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
        root = square.sqrt().div_(math.sqrt(1 - 0.999**steps)).add_(1e-8)
        weights.addcdiv_(mean, root, value=-rate / (1 - 0.9**steps))

    return step


OPTIMIZERS = {"sgd": _sgd, "adam": _adam}

#: Published schedules of probes, by name.
SCHEDULES = {
    # Mao et al. (2022), Section 4: 128 features as they are, softmax head without bias.
    "mao2022": Schedule(2e-4, 120, 20, bias=False, standardise=False),
    # Kolesnikov et al. (2019): lr 0.1 for batches of 2048; the first drop after 30, 120 or 480
    # epochs, the second 20 later, the end 40 later. Momentum, standardised features and no weight
    # decay are ours.
    "kolesnikov2019": Schedule(0.1, 2048, 70, drops=(30, 50)),
    "kolesnikov2019-120": Schedule(0.1, 2048, 160, drops=(120, 140)),
    "kolesnikov2019-480": Schedule(0.1, 2048, 520, drops=(480, 500)),
    # Nguyen et al. (2021): constant rate. Standardised features are ours.
    "nguyen2021": Schedule(0.01, 128, 300),
    # Ours, for the perceptron with one hidden layer of Kolesnikov et al. (2019).
    "mlp": Schedule(1e-3, 256, 30, cosine=True, weight_decay=0.1, optimizer="adam"),
}


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
            return _forward(self.layers, _scaled(block, self.standard))[-1]

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
    schedule = _find(schedule) if isinstance(schedule, str) else schedule
    labels = train.paired(labels)
    if held_out is not None and held_out[0].p != train.p:
        raise ShapeError(f"held-out rows have {held_out[0].p} columns, training rows {train.p}")
    if hidden is not None and hidden < 1:
        raise UsageError(f"hidden is {hidden}; expected at least 1 unit, or None")
    if not 0 <= dropout < 1 or (dropout and hidden is None):
        raise UsageError(f"dropout is {dropout}; expected 0 to 1, with a hidden layer")
    device, memory = train.device, default_memory(train.device) if memory is None else memory
    generator = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed)
    sizes = [train.p, classes] if hidden is None else [train.p, hidden, classes]
    drawn = [layer for pair in pairwise(sizes) for layer in _linear(*pair, schedule, generator)]
    weights = torch.cat([values.flatten() for values in drawn]).to(device)
    gradient = torch.zeros_like(weights)
    layers, gradients = (_layers(vector, sizes, schedule.bias) for vector in (weights, gradient))
    step = OPTIMIZERS[schedule.optimizer](weights, gradient, schedule)

    standard = standardise(train) if schedule.standardise else None
    rows = train.map(lambda block: _scaled(block, standard), dtype=torch.float32)
    batches = _shuffled(rows, labels, schedule.batch_size, memory, generator)
    steps = math.ceil(train.n / schedule.batch_size)
    score = None if held_out is None else _scorer(*held_out, standard, memory - rows.size)
    loss, history = math.nan, []
    with torch.no_grad():
        for epoch in range(schedule.epochs):
            total = torch.zeros((), dtype=torch.float64, device=device)
            for k, (x, y) in enumerate(batches()):
                total += _backward(layers, gradients, x, y, dropout, noise)
                step(schedule.rate(epoch, (epoch + k / steps) / schedule.epochs))
            loss = float(total) / train.n
            if not math.isfinite(loss):
                raise _diverged(loss, epoch, schedule)
            if score is not None:
                history.append(score(layers))
            progress(epoch + 1, schedule.epochs, f"loss {loss:.4f}")
    return TrainedHead(standard, tuple(layers), loss, schedule.epochs, tuple(history))


def _find(name: str) -> Schedule:
    if name not in SCHEDULES:
        raise UsageError(f"unknown schedule {name!r}; {choices(name, SCHEDULES)}")
    return SCHEDULES[name]


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
            hits += (_forward(layers, block)[-1].argmax(1) == labels[part]).sum()
        return int(hits) / rows.n

    return score


def _scaled(block: Tensor, standard: Standard | None) -> Tensor:
    return (block if standard is None else standard(block)).float()


# --- layers


def _linear(inputs: int, outputs: int, schedule: Schedule, generator: torch.Generator) -> list:
    """Weights, and biases if wanted, as ``torch.nn.Linear`` draws them."""
    weight = torch.empty(outputs, inputs)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    if not schedule.bias:
        return [weight]
    bound = 1 / math.sqrt(inputs)
    return [weight, torch.empty(outputs).uniform_(-bound, bound, generator=generator)]


def _layers(vector: Tensor, sizes: list[int], bias: bool) -> list[Layer]:
    """Views of all weights in one vector, so that a step of the optimiser is a few operations."""
    layers, start = [], 0
    for inputs, outputs in pairwise(sizes):
        weight = vector[start : start + inputs * outputs].view(outputs, inputs)
        start += inputs * outputs
        layers.append((weight, vector[start : start + outputs] if bias else None))
        start += outputs * bias
    return layers


def _forward(
    layers: list[Layer] | tuple[Layer, ...],
    x: Tensor,
    dropout: float = 0.0,
    noise: torch.Generator | None = None,
) -> list[Tensor]:
    """Inputs of every layer, and the logits."""
    values = [x]
    for k, (weight, bias) in enumerate(layers):
        out = x @ weight.T if bias is None else torch.addmm(bias, x, weight.T)
        if k < len(layers) - 1:
            out.relu_()
            if dropout:
                kept = torch.empty_like(out).bernoulli_(1 - dropout, generator=noise)
                out.mul_(kept.div_(1 - dropout))
        values.append(x := out)
    return values


def _backward(
    layers: list[Layer],
    gradients: list[Layer],
    x: Float[Tensor, "batch p"],
    y: Int[Tensor, " batch"],
    dropout: float,
    noise: torch.Generator,
) -> Float[Tensor, ""]:
    """Gradients of the mean cross-entropy into ``gradients``, and its sum over the batch.

    Written out, a step of a small head takes half as long as with autograd.
    """
    *inputs, logits = _forward(layers, x, dropout, noise)
    delta = logits.log_softmax(1)
    loss = -delta.gather(1, y[:, None]).sum()
    delta.exp_().scatter_add_(1, y[:, None], delta.new_full((len(y), 1), -1.0)).div_(len(y))
    for k in reversed(range(len(layers))):
        of_weight, of_bias = gradients[k]
        torch.mm(delta.T, inputs[k], out=of_weight)
        if of_bias is not None:
            torch.sum(delta, 0, out=of_bias)
        if k:
            # Positive behind ReLU and dropout: the unit was active, and kept.
            delta = (delta @ layers[k][0]).mul_(inputs[k] > 0).div_(1 - dropout)
    return loss


# --- batches


def _shuffled(
    rows: Features, labels: Tensor, size: int, memory: int, generator: torch.Generator
) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """A function that gives the batches of an epoch: ``size`` rows each, the last one the rest."""
    device = rows.device

    def parts(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(x), generator=generator).to(device).split(size):
            yield x.index_select(0, index), y.index_select(0, index)

    if rows.size <= memory:
        whole = rows.tensor()
        return lambda: parts(whole, labels)

    lengths = [stop - start for start, stop in pairwise(rows.starts)]
    some = torch.tensor([k for k, length in enumerate(lengths) if length])
    # Twice: where blocks are put together, they are there as well.
    together = max(2, memory // (2 * 4 * rows.p * max(lengths)))

    def windows() -> Iterator[tuple[Tensor, Tensor]]:
        x, y = torch.empty(0, rows.p, device=device), labels[:0]
        order = some[torch.randperm(len(some), generator=generator)]
        for window in order.split(together):
            chosen = [slice(rows.starts[k], rows.starts[k + 1]) for k in window.tolist()]
            x = torch.cat([x, *(rows.block(k) for k in window.tolist())])
            y = torch.cat([y, *(labels[part] for part in chosen)])
            for batch in parts(x, y):
                x, y = batch
                if len(x) == size:
                    yield batch
                    x, y = x[:0], y[:0]
            # Rows that fill no batch join the next window.
        if len(x):
            yield x, y

    return windows
