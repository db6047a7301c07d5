"""Making what a recipe asks for, and how long that will take."""

from __future__ import annotations

import csv
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from repsim._version import __version__
from repsim.data import ImageSet
from repsim.data.targets import label_target
from repsim.devices import find_device
from repsim.figures.papers.recipe import Analysis, Recipe, Task, Training
from repsim.files import table, write_atomic
from repsim.progress import Progress, silent
from repsim.training import parallel
from repsim.training.loaders import feed
from repsim.training.run import Run
from repsim.training.trainer import Trainer

#: Images a step, at most, and steps by which the speed of training is estimated.
_SAMPLE, _STEPS = 40, 2

#: How often the progress of trainings in other processes is looked at, in seconds.
_LOOK = 1.0


class Speeds:
    """How fast this machine trains and runs networks, from a few steps of each kind."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def training(self, task: Training) -> float:
        """Seconds an image in training."""
        skipped = {"seed", "epochs", "split", "test", "warmup_epochs", "shared"}
        kind = repr([(k, v) for k, v in sorted(task.settings.items()) if k not in skipped])
        if kind not in self._known:
            self._known[kind] = self._measure(task)
        return self._known[kind]

    @staticmethod
    def _measure(task: Training) -> float:
        batch = min(_SAMPLE, task.config.batch_size)
        settings = {"batch_size": batch, "epochs": 2, "devices": 1}
        config = task.config.model_copy(update=settings)
        method = task.build(config)
        if not method.optimizers():
            return 0.0
        fabric = parallel.start(config)
        n, spec = batch * _STEPS, method.spec
        pixels = torch.randint(0, 256, (n, *spec.shape), dtype=torch.uint8)
        labels = torch.arange(n) % max(1, spec.classes)
        names = tuple(map(str, range(spec.classes)))
        ids = tuple(map(str, range(n)))
        images = ImageSet("noise", "train", pixels, label_target(labels, names), ids)
        trainer = Trainer(method, fabric, n)
        source = feed(images, fabric.device, 0)
        trainer.epoch(0, source, silent)  # warms up
        started = time.perf_counter()
        trainer.epoch(1, source, silent)
        return (time.perf_counter() - started) / n

    def of(self, task: Task) -> float:
        """Seconds that are left of a task."""
        if task.done:
            return 0.0
        if isinstance(task, Training):
            epochs = task.config.epochs - task.epochs_done
            return epochs * task.images * self.training(task)
        assert isinstance(task, Analysis)
        networks = [need for need in task.needs if isinstance(need, Training)]
        # A step of training is a forward pass and about two more for the backward one.
        shown = sum(task.images * self.training(each) / 3 for each in networks)
        return task.seconds + shown


def estimate(recipe: Recipe) -> list[dict[str, Any]]:
    """What is missing: a record a task with its name, seconds and bytes."""
    speeds = Speeds()
    return [
        {
            "task": task.name,
            "kind": "run" if isinstance(task, Training) else "result",
            "seconds": speeds.of(task),
            "bytes": task.bytes,
        }
        for task in recipe.missing()
    ]


def make_missing(recipe: Recipe, *, jobs: int = 1, progress: Progress = silent) -> None:
    """Make every task that is missing: first the runs, ``jobs`` at a time, then the results.

    Progress counts seconds, as far as they were estimated before.
    """
    log = Log(recipe)
    logged = {row["task"] for row in log.rows()}
    for task in recipe.tasks:  # a worker may have finished after we were interrupted
        if isinstance(task, Training) and task.done and task.path.name not in logged:
            log.add(task, 0.0)
    missing = recipe.missing()
    if not missing:
        return
    speeds = Speeds()
    costs = {task.path: max(1, round(speeds.of(task))) for task in missing}
    total, done = sum(costs.values()), 0

    def part(task: Task) -> Progress:
        """The progress of one task within the whole."""
        before, cost = done, costs[task.path]

        def report(steps: int, of: int, note: str = "") -> None:
            progress(before + round(cost * steps / max(1, of)), total, f"{task.name} {note}")

        return report

    runs = [task for task in missing if isinstance(task, Training)]
    if jobs > 1 and len(runs) > 1:
        _train_beside(runs, jobs, costs, total, log, progress)
        done = sum(costs[task.path] for task in runs)
        missing = [task for task in missing if task not in runs]
    for task in missing:
        started = time.monotonic()
        progress(done, total, task.name)
        task.make(part(task))
        log.add(task, time.monotonic() - started)
        done += costs[task.path]


def _train_beside(
    runs: list[Training],
    jobs: int,
    costs: Mapping[Path, int],
    total: int,
    log: Log,
    progress: Progress,
) -> None:
    """Train several runs at a time, each in a process with its share of the processors."""
    threads = max(1, torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(jobs, context, _start_worker, (threads, stop)) as pool:
        waiting: dict[Future[float], Training] = {pool.submit(_train, task): task for task in runs}
        try:
            while waiting:
                finished, _ = wait(waiting, _LOOK, FIRST_COMPLETED)
                for future in finished:
                    log.add(waiting.pop(future), future.result())
                shares = [task.epochs_done / max(1, task.config.epochs) for task in runs]
                done = sum(costs[t.path] * s for t, s in zip(runs, shares, strict=True))
                names = [task.name for task in waiting.values()][:jobs]
                progress(round(done), total, ", ".join(names))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


#: In a worker: set once the one who started it wants it to stop.
_stop: Any = None


def _start_worker(threads: int, stop: Any) -> None:
    global _stop
    _stop = stop
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it is interrupted too, and says stop
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process with the one that started it, which may be killed without a word."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _train(task: Training) -> float:
    def watch(done: int, total: int, note: str = "") -> None:
        if _stop.is_set():
            raise KeyboardInterrupt

    started = time.monotonic()
    task.make(watch)
    return time.monotonic() - started


_LOGGED = ("task", "seconds", "finished", "repsim", "machine")


class Log:
    """``log.csv``: what was made, when and in how long, by what machine; a line a task.

    Args:
        recipe: whose folder has it.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._path = recipe.workspace.folder / "log.csv"
        self._machine = machine(find_device(recipe.workspace.device))

    def rows(self) -> list[dict[str, str]]:
        """The lines so far."""
        if not self._path.is_file():
            return []
        with self._path.open(newline="", encoding="utf-8", errors="replace") as stream:
            rows = list(csv.DictReader(stream))
        return [row for row in rows if set(row) == set(_LOGGED) and None not in row.values()]

    def add(self, task: Task, seconds: float) -> None:
        """Note that a task was finished; of a run that was interrupted, all of its epochs count."""
        if isinstance(task, Training):
            seconds = max(seconds, trained_seconds(task.run, task.images))
        finished = time.strftime("%Y-%m-%dT%H:%M:%S")
        values = (task.path.name, f"{seconds:.1f}", finished, __version__, self._machine)
        row = dict(zip(_LOGGED, values, strict=True))
        write_atomic(self._path, table([*self.rows(), row]))


def trained_seconds(run: Run, images: int) -> float:
    """What the epochs of a run took, in whatever sittings."""
    speeds = [row["images_per_second"] for row in run.metrics()]
    return sum(images / speed for speed in speeds if speed > 0)


def machine(device: torch.device) -> str:
    """The machine that numbers were made on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} processors, {torch.get_num_threads()} threads"
