"""A method on its device: its networks, optimisers and average, trained an epoch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.errors import UsageError
from repsim.training import parallel
from repsim.training.batchnorm import synchronise
from repsim.training.ema import MovingAverage
from repsim.training.loaders import Feed, rows_of_epoch
from repsim.training.method import Method, StepContext
from repsim.training.metrics import Diverged, Means, check_weights
from repsim.training.optimizers import Stepper

if TYPE_CHECKING:
    from lightning_fabric import Fabric

#: Steps between looks at the losses: to look is to wait for the device.
LOOK_EVERY = 20


class Trainer:
    """Trains ``method`` in place.

    Args:
        method: with networks as they were initialised.
        fabric: of this process.
        images: in the training part.
    """

    def __init__(self, method: Method, fabric: Fabric, images: int) -> None:
        self.method = method
        self.config = config = method.config
        self.fabric = fabric
        self.rank, self.world = fabric.global_rank, fabric.world_size
        self.steps_per_epoch = images // config.batch_size  # whole batches only
        self.scaler = getattr(fabric.strategy.precision, "scaler", None)
        self.optimizers = method.optimizers()
        if self.world > 1:
            for network in method.networks.values():
                synchronise(network, fabric.device)
        networks = {name: fabric.setup_module(net) for name, net in method.networks.items()}
        self.steppers = {
            name: Stepper(
                optimizer,
                parts=config.accumulate,
                processes=self.world,
                scaler=self.scaler,
                lr_scale=config.lr_scale,
            )
            for name, optimizer in self.optimizers.items()
        }
        self.average = MovingAverage(method.networks, config.ema) if config.ema else None
        self.random = parallel.CommonRandom(fabric.device, self.rank)
        together: dict[str, Any] = {}
        if self.world > 1:
            together = {"gather": parallel.gather, "augment": self.random.augment}
        if self.scaler is not None and config.accumulate == 1:
            together["settle"] = self.scaler.update  # otherwise at the end of a batch
        self.context = StepContext(
            networks, self.steppers, fabric.backward, rank=self.rank, world=self.world, **together
        )

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def epoch(
        self, epoch: int, feed: Feed, report: Callable[[int, int, str], None]
    ) -> dict[str, float]:
        """Train epoch ``epoch``, from 0; returns means of the losses, and images per second.

        Raises:
            Diverged: a loss or a weight is no longer finite.
        """
        config = self.config
        # Seeded by the epoch alone, so that a resumed run sees what an uninterrupted one would.
        torch.manual_seed(config.seed_for("epoch", epoch))
        order = torch.randperm(len(feed))
        if self.world > 1:
            self.random.split(config.seed_for("epoch", epoch, "process", self.rank))
        for network in self.method.networks.values():
            network.train()
        rows = rows_of_epoch(order, config.batch_size, config.accumulate, self.world, self.rank)
        means = Means(self.fabric.device, self.world)
        note = f"epoch {epoch + 1}/{config.epochs}"
        shown = ""
        started = time.perf_counter()
        parts = iter(feed.batches(rows))
        for index in range(self.steps_per_epoch):
            step = epoch * self.steps_per_epoch + index
            self._step(step, parts, means)
            if index % LOOK_EVERY == 0:
                self._look(means, epoch)
                shown = means.brief()
            report(step + 1, self.steps, f"{note} {shown}")
        self._look(means, epoch, weights=True)
        overall = means.overall()
        seen = self.steps_per_epoch * config.batch_size
        speed = seen / (time.perf_counter() - started)
        return {**overall, "images_per_second": round(speed, 1)}

    def _step(self, step: int, parts: Iterator[Any], means: Means) -> None:
        """One batch, part by part."""
        factor = self.method.lr_factor(step, self.steps, self.steps_per_epoch)
        for stepper in self.steppers.values():
            stepper.set_lr(factor)
        before = {name: stepper.seen for name, stepper in self.steppers.items()}
        for _ in range(self.config.accumulate):
            means.add(step, self.method.step(next(parts), self.context))
        if self.config.accumulate > 1:
            self._check_parts(before)
            if self.scaler is not None:
                self.scaler.update()
        if self.average is not None:
            self.average.update()

    def _check_parts(self, before: Mapping[str, int]) -> None:
        for name, stepper in self.steppers.items():
            times = stepper.seen - before[name]
            if times != self.config.accumulate:
                raise UsageError(
                    f"accumulate is {self.config.accumulate}, but optimiser {name!r} steps "
                    f"{times // self.config.accumulate} times a batch, which then cannot be taken "
                    "in parts; train with --accumulate 1"
                )

    def _look(self, means: Means, epoch: int, *, weights: bool = False) -> None:
        """Stop at losses, and at the end of an epoch weights, that are not finite."""
        try:
            means.check()
            if weights:
                check_weights(self.method.networks)
        except Diverged as error:
            raise Diverged(f"{error}, in epoch {epoch + 1}; a lower lr may help") from None

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """The networks as they will be kept: averaged if so configured, in evaluation mode."""
        for network in self.method.networks.values():
            network.eval()
        averaged = nullcontext() if self.average is None else self.average.in_place()
        with averaged, torch.inference_mode():
            yield

    def kept(self) -> dict[str, dict[str, Tensor]]:
        """The networks' states as they will be kept."""
        if self.average is not None:
            return self.average.state
        return {name: network.state_dict() for name, network in self.method.networks.items()}

    def state(self) -> dict[str, Any]:
        """Everything that another process needs to go on from the end of an epoch.

        Random states are not part of it: an epoch begins from its own seed.
        """
        return {
            "networks": {name: net.state_dict() for name, net in self.method.networks.items()},
            "optimizers": {name: each.state_dict() for name, each in self.optimizers.items()},
            "average": self.average.state if self.average is not None else {},
            "scaler": self.scaler.state_dict() if self.scaler is not None else {},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        for name, network in self.method.networks.items():
            network.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.average is not None:
            self.average.load(state["average"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
