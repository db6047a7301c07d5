"""The share of a training step's time that is spent in the networks and their optimisers.

python benchmarks/training.py [METHOD ...] [--preset small] [--steps 30] [--repeat 3]
python benchmarks/training.py --paper song2017 [--data-dir data]

Steps are taken by the training loop, with the batch size, network and images of a preset, or of the
first run of each method that a paper trains at scale small. Bare time is that of the networks' own
forward passes, of all backward passes, those of a gradient penalty among them, and of the
optimisers' steps. On CUDA the device is waited for before and after each, which the loop itself
does not do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from repsim.figures.papers import find_paper
from repsim.figures.papers.engine import Folder, Reproduction
from repsim.training import parallel
from repsim.training.compose import configure
from repsim.training.config import TrainConfig
from repsim.training.loaders import Feed, feed, open_images, spec_of
from repsim.training.methods import find_method
from repsim.training.presets import read_preset
from repsim.training.trainer import Trainer

METHODS = (
    *("simclr", "supervised", "rotation", "exemplar", "relative_patch_location", "jigsaw"),
    *("gan", "wgan", "mgan", "autoencoder"),
    *("bigan", "latent_regressor", "joint_latent_regressor"),
)


class Clock:
    """Adds up the seconds spent in functions; those that one spends in another count once."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self.device = device
        self.within = False

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self.within:  # as the gradients that a reversible network takes in its backward pass
                return function(*arguments, **named)
            self._wait()
            self.within, started = True, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._wait()
                self.within = False
                self.seconds += time.perf_counter() - started

        return timed

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def watching(self, trainer: Trainer) -> Iterator[None]:
        """Time what a trainer's networks and optimisers do, in a context."""
        whole = trainer.context
        watched: list[tuple[Any, str]] = [
            *((network, "forward") for network in trainer.method.networks.values()),
            *((stepper.optimizer, "step") for stepper in trainer.steppers.values()),
            (torch.autograd, "grad"),  # of gradient penalties; their forward pass is a network's
        ]
        with ExitStack() as stack:
            for owner, name in watched:
                stack.enter_context(patch.object(owner, name, self.wrap(getattr(owner, name))))
            trainer.context = replace(whole, backward=self.wrap(whole.backward))
            stack.callback(setattr, trainer, "context", whole)
            yield


def settings(methods: Sequence[str], preset: str, paper: str | None) -> dict[str, TrainConfig]:
    """The configuration of each method: of its preset, or of a paper's first run of it."""
    if paper is None:
        return {name: configure(name, read_preset(name, preset), preset) for name in methods}
    runs = Reproduction(find_paper(paper), Folder(Path("unused")), "small").trainings.values()
    return {steps[0].method: steps[0].config for steps in reversed(list(runs))}


def set_up(
    method: str, config: TrainConfig, steps: int, device: str, data_dir: Path | None
) -> tuple[Trainer, Feed]:
    """A trainer whose epoch is ``steps`` steps, and its images."""
    kind = find_method(method)
    split = f"train[:{steps * config.batch_size}]"
    config = config.model_copy(update={"device": device, "split": split, "epochs": 10_000})
    shown = {"image_size": config.image_size, "target": config.target}
    images = open_images(config.data, split, data_dir, **shown)
    spec = spec_of(images, config.data)
    torch.manual_seed(0)
    fabric = parallel.start(config)
    source = feed(images, fabric.device, config.workers)
    return Trainer(kind(config, spec), fabric, len(source)), source


def measure(trainer: Trainer, source: Feed, method: str, repeat: int) -> str:
    """A row of the table."""
    clock = Clock(trainer.fabric.device)

    def epoch(number: int) -> float:
        started = time.perf_counter()
        trainer.epoch(number, source, lambda done, total, note: None)
        return time.perf_counter() - started

    epoch(0)  # warms up
    shares, speeds = [], []
    for number in range(1, repeat + 1):
        clock.seconds = 0.0
        with clock.watching(trainer):
            seconds = epoch(number)
        shares.append(clock.seconds / seconds)
        speeds.append(trainer.steps_per_epoch * trainer.config.batch_size / epoch(number))
    low, high = min(shares), max(shares)
    return (
        f"{method:23} {trainer.config.batch_size:6d} {statistics.median(speeds):10,.0f} "
        f"{statistics.median(shares):8.1%} ({low:.1%} to {high:.1%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--paper")
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    where = f"{torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    of = arguments.paper or f"preset {arguments.preset}"
    print(f"torch {torch.__version__}, {where}, {of}")
    print(f"{'method':23} {'batch':>6} {'images/s':>10} {'bare':>8}")
    configs = settings(arguments.methods, arguments.preset, arguments.paper)
    for method, config in configs.items():
        size = (arguments.steps, arguments.device, arguments.data_dir)
        trainer, source = set_up(method, config, *size)
        print(measure(trainer, source, method, arguments.repeat), flush=True)


if __name__ == "__main__":
    main()
