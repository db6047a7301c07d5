"""The share of a training step's time that is spent inside the networks.

python benchmarks/training.py [METHOD ...] [--preset small] [--steps 30] [--repeat 3]

Steps are taken by the training loop, with the batch size, network and images of a preset. Time
inside the networks is spent in their forward passes and in all backward passes. On CUDA the device
is waited for before and after each, which the loop itself does not do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from repsim.training import parallel
from repsim.training.compose import configure
from repsim.training.config import TrainConfig
from repsim.training.loaders import Feed, feed, open_images, spec_of
from repsim.training.methods import find_method
from repsim.training.presets import read_preset
from repsim.training.trainer import Trainer

METHODS = ("simclr", "supervised", "gan", "wgan", "mgan", "autoencoder")


class Clock:
    """Adds up the seconds spent in what it wraps."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self.device = device

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._wait()
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._wait()
                self.seconds += time.perf_counter() - started

        return timed

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def set_up(method: str, preset: str, steps: int, device: str) -> tuple[Trainer, Feed]:
    """A trainer whose epoch is ``steps`` steps, and its images."""
    kind = find_method(method)
    config: TrainConfig = configure(method, read_preset(method, preset), preset)
    split = f"train[:{steps * config.batch_size}]"
    config = config.model_copy(update={"device": device, "split": split, "epochs": 10_000})
    images = open_images(config.data, split, None)
    spec = spec_of(images, config.data)
    torch.manual_seed(0)
    fabric = parallel.start(config)
    source = feed(images, fabric.device, config.workers)
    return Trainer(kind(config, spec), fabric, len(source)), source


def measure(method: str, preset: str, steps: int, repeat: int, device: str) -> str:
    """A row of the table."""
    trainer, source = set_up(method, preset, steps, device)
    clock = Clock(trainer.fabric.device)
    whole = trainer.context
    timed = replace(
        whole,
        networks={name: clock.wrap(network) for name, network in whole.networks.items()},
        backward=clock.wrap(whole.backward),
    )

    def epoch(number: int) -> float:
        started = time.perf_counter()
        trainer.epoch(number, source, lambda done, total, note: None)
        return time.perf_counter() - started

    epoch(0)  # warms up
    shares, speeds = [], []
    for number in range(1, repeat + 1):
        trainer.context, clock.seconds = timed, 0.0
        seconds = epoch(number)
        shares.append(clock.seconds / seconds)
        trainer.context = whole
        speeds.append(trainer.steps_per_epoch * trainer.config.batch_size / epoch(number))
    low, high = min(shares), max(shares)
    return (
        f"{method:12} {trainer.config.batch_size:6d} {statistics.median(speeds):10,.0f} "
        f"{statistics.median(shares):8.1%} ({low:.1%} to {high:.1%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    where = f"{torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        where = torch.cuda.get_device_name()
    print(f"torch {torch.__version__}, {where}, preset {arguments.preset}")
    print(f"{'method':12} {'batch':>6} {'images/s':>10} {'inside networks':>16}")
    for method in arguments.methods:
        print(
            measure(method, arguments.preset, arguments.steps, arguments.repeat, arguments.device),
            flush=True,
        )


if __name__ == "__main__":
    main()
