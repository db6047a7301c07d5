"""The costs of steps on this machine: seconds, memory and disk, from a few steps of training."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repsim.data import ImageSet
from repsim.data.targets import label_target
from repsim.devices import find_device
from repsim.errors import RepsimError, UsageError
from repsim.figures.papers.engine.computation import Computation
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.figures.papers.engine.workers import threads_of_each
from repsim.networks.image_spec import ImageSpec
from repsim.progress import silent
from repsim.training import parallel
from repsim.training.config import TrainConfig
from repsim.training.loaders import feed
from repsim.training.method import Method
from repsim.training.trainer import Trainer

#: Images a step, at most, and steps by which training is measured.
_SAMPLE, _STEPS = 40, 2

#: Bytes that a process takes before it holds any image or network.
_PROCESS = 400 << 20

#: Copies of the weights in training: themselves, gradients, two moments of the optimiser.
_COPIES = 4


@dataclass(frozen=True)
class Cost:
    """The cost of the part of a step that is not made yet.

    Attributes:
        seconds: on this machine.
        memory: bytes at a time, on the device where networks run.
        disk: bytes that stay.
        device: the type of device that it needs: ``cpu``, ``cuda``, ``mps``.
        cores: processors that it keeps busy.
        unknown: the reason why nothing is known of it, with other values that are guesses; else
            empty.
    """

    seconds: float
    memory: int
    disk: int
    device: str
    cores: int = 1
    unknown: str = ""


@dataclass(frozen=True)
class _Speed:
    """The cost of an image in training: seconds, and bytes kept for the backward pass."""

    seconds: float = 0.0
    bytes: int = 0


#: Settings that the cost of an image does not depend on; of images, their facts decide.
_SKIPPED = {"data", "target", "seed", "epochs", "split", "test", "warmup_epochs", "shared"}


class Estimator:
    """Measures each kind of training once, and says what steps cost.

    Args:
        jobs: steps that are made at a time.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._threads = threads_of_each(jobs)
        self._known: dict[str, _Speed] = {}

    def of(self, step: Step) -> Cost:
        """The cost of a step; a small one where it cannot be estimated: its making will say why."""
        device = find_device(step.folder.device).type
        cores = self._threads if device == "cpu" else 1  # elsewhere one feeds the device
        try:
            if isinstance(step, Training):
                return Cost(self._seconds(step), self._memory(step), step.bytes, device, cores)
            assert isinstance(step, Computation)
            return Cost(*self._computation(step), step.bytes, device, cores)
        except RepsimError as error:
            return Cost(1.0, _PROCESS, 0, device, cores, str(error))

    def _seconds(self, step: Training) -> float:
        epochs = step.config.epochs - step.epochs_done
        return epochs * step.images * self._speed(step).seconds if epochs else 0.0

    def _memory(self, step: Training) -> int:
        batch = step.config.batch_size * self._speed(step).bytes
        return _PROCESS + _COPIES * step.bytes + batch + _in_memory(step.images, step.spec)

    def _computation(self, step: Computation) -> tuple[float, int]:
        shown = step.analysis.images_shown(step.sizes)
        networks = [source.training for source in step.sources]
        # A step of training is a forward pass and about two more for the backward one.
        seconds = sum(shown * self._speed(each).seconds / 3 for each in networks)
        images = sum(step.sizes.values())
        held = _in_memory(images, networks[0].spec) + step.bytes
        return seconds + step.analysis.seconds(step.sizes), _PROCESS + held

    def _speed(self, step: Training) -> _Speed:
        kept = [(k, v) for k, v in sorted(step.settings.items()) if k not in _SKIPPED]
        kind = repr((kept, step.spec))
        if kind not in self._known:
            self._known[kind] = _measured(step)
        return self._known[kind]


def _in_memory(images: int, spec: ImageSpec) -> int:
    return images * math.prod(spec.shape)


def _measured(step: Training) -> _Speed:
    """The cost of an image of a run in training, from a few steps on noise."""
    config, method = _short(step)
    if not method.optimizers():
        return _Speed()
    fabric = parallel.start(config)
    n = config.batch_size * _STEPS
    trainer = Trainer(method, fabric, n)
    source = feed(_noise(method, n), fabric.device, 0)
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        trainer.epoch(0, source, silent)  # warms up
    started = time.perf_counter()
    trainer.epoch(1, source, silent)
    return _Speed((time.perf_counter() - started) / n, kept // n)


def _short(step: Training) -> tuple[TrainConfig, Method]:
    """Two epochs in small batches, as large as the method takes them.

    Raises:
        UsageError: the method takes none of the configuration's size either.
    """
    for batch in range(min(_SAMPLE, step.config.batch_size), 0, -1):
        changed = {"batch_size": batch, "epochs": 2, "devices": 1}
        config = step.config.model_copy(update=changed)
        try:
            return config, step.build(config)
        except UsageError as error:  # such as a batch that critic steps do not divide
            problem = error
    step.build()
    raise problem


def _noise(method: Method, n: int) -> ImageSet:
    pixels = torch.randint(0, 256, (n, *method.spec.shape), dtype=torch.uint8)
    labels = torch.arange(n) % max(1, method.spec.classes)
    names = tuple(map(str, range(method.spec.classes)))
    ids = tuple(map(str, range(n)))
    return ImageSet("noise", "train", pixels, label_target(labels, names), ids)


def estimate(missing: Sequence[Step]) -> list[dict[str, Any]]:
    """The costs of steps: a record each, with name, kind, seconds, memory, cores and disk.

    Where a step cannot be estimated, the last four are None and ``unknown`` has the reason.

    Raises:
        DataError: the images are not there, without which nothing can be said.
    """
    for step in missing:
        if isinstance(step, Training):
            step.spec  # noqa: B018 - read here, so that what is absent is said at once
    estimator = Estimator()
    return [_record(step, estimator.of(step)) for step in missing]


def _record(step: Step, cost: Cost) -> dict[str, Any]:
    values: dict[str, float | None] = {
        "seconds": cost.seconds,
        "memory": cost.memory,
        "cores": cost.cores,
        "bytes": cost.disk,
    }
    if cost.unknown:
        values = dict.fromkeys(values)
    return {"task": step.name, "kind": step.kind, **values, "unknown": cost.unknown}
