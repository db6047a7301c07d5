"""The loop: a run from its configuration to its checkpoint, epoch by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from repsim._version import __version__
from repsim.data.augment import flips
from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.progress import Progress, silent
from repsim.training import parallel
from repsim.training.claims import alone, check_free, is_replacing, set_aside
from repsim.training.config import TrainConfig
from repsim.training.feeding import SIZE, Feed, feed, open_images
from repsim.training.method import DataFacts, Method
from repsim.training.methods import find_method
from repsim.training.metrics import Diverged, Log
from repsim.training.observing import Observer
from repsim.training.run import Run, checkpoint_state, save_state
from repsim.training.trainer import Trainer

#: Held-out images looked at together.
_TOGETHER = 500


def train(
    method: str,
    config: TrainConfig,
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Run:
    """Train a method into the run folder ``path``.

    Every epoch seeds its own data order and augmentation, and its end is saved whole: a run that
    was stopped continues with ``resume`` to the same weights as one that was not, bit for bit on
    the same machine and number of threads.

    With ``config.devices``, or under torchrun or SLURM, several processes run this, and the first
    of them writes. To start them, the program that calls this is run again for each device.

    Args:
        method: name of a module of ``repsim.training.methods``.
        config: an instance of that method's ``config_class``.
        path: the run folder.
        data_dir: where data sets lie, as for ``repsim.data.load``.
        resume: continue where the run stopped; a finished one is left as it is.
        overwrite: replace a run that exists, its activations included.
        progress: told the images seen and the losses.

    Raises:
        UsageError: the run exists, or was started with another configuration.
        TrainingError: a loss is no longer finite; the state before that epoch stays, or with
            ``overwrite`` the run that was to be replaced.
    """
    run = Run(Path(path))
    # In each process, before any can write: all of them see the same folder.
    check_free(run, method, config, resume=resume, overwrite=overwrite)
    if resume and run.complete:
        return run
    if config.device != "auto":
        find_device(config.device)
    images = open_images(config.data, config.split, data_dir)
    facts = DataFacts(
        channels=images.channels,
        classes=len(images.classes),
        size=SIZE,
        flips=flips(config.data),
    )
    torch.manual_seed(config.seed_for("initialisation"))
    built = find_method(method)(config, facts)
    trains = bool(built.optimizers()) and config.epochs > 0
    if trains and len(images) < config.batch_size:
        raise UsageError(
            f"batch_size is {config.batch_size}, but {config.data} {images.split} has "
            f"{len(images)} images; make it smaller"
        )
    fabric = parallel.start(config)
    source = feed(images, fabric.device, config.workers)
    with ExitStack() as stack:

        def claim() -> bool:
            """Take hold of the folder; whether there is something to do in it."""
            stack.enter_context(alone(run))
            # What may have changed since: another process may just have ended.
            check_free(run, method, config, resume=resume, overwrite=overwrite)
            if resume and run.complete:
                return False
            stack.enter_context(set_aside(run, overwrite))
            run.write_description(method, config, facts, _provenance(source, fabric.world_size))
            return True

        if parallel.agree(fabric, claim):
            session = _Session(run, method, Trainer(built, fabric, len(source)), source)
            session.train(progress)
            parallel.agree(fabric, session.finish, data_dir)
    return run


class _Session:
    """One process's part in training one run. Files are written by the first process alone."""

    def __init__(self, run: Run, method: str, trainer: Trainer, source: Feed) -> None:
        self.run = run
        self.method = method
        self.trainer = trainer
        self.fabric = trainer.fabric
        self.config: TrainConfig = trainer.config
        self.source = source
        self.observer = Observer(trainer, source, len(source.images.classes), run.path / "samples")

    def train(self, progress: Progress) -> None:
        """Train from the last finished epoch on."""
        done, rows = self._restore()
        if not done:
            parallel.agree(self.fabric, self._keep, 0)
        if done == self.config.epochs or not self.trainer.optimizers:
            return
        parallel.agree(self.fabric, self._open_log, rows)
        for epoch in range(done, self.config.epochs):
            try:
                means = self.trainer.epoch(
                    epoch, self.source, progress if self.fabric.is_global_zero else silent
                )
            except Diverged as error:
                # In all processes at once, since they look at their losses together.
                parallel.agree(self.fabric, self._stop, error, epoch)
            parallel.agree(self.fabric, self._close_epoch, epoch + 1, means)

    def finish(self, data_dir: str | os.PathLike[str] | None) -> None:
        """Score the networks on held-out images and write the checkpoint."""
        held_out = _evaluate(self.trainer, data_dir)
        self._write(self.run.checkpoint, self.config.epochs, self.trainer.kept(), held_out)
        self.run.resume_file.unlink(missing_ok=True)

    def _restore(self) -> tuple[int, list[dict[str, Any]]]:
        """Load the state after the last finished epoch, if there is one: epochs and metrics."""
        if not self.run.resume_file.is_file():
            return 0, []
        state = self.run.load_state(self.run.resume_file)
        self.trainer.load(state)
        return state["epoch"], state["metrics"]

    def _open_log(self, rows: list[dict[str, Any]]) -> None:
        self.log = Log(self.run.path, rows)

    def _close_epoch(self, epoch: int, means: dict[str, float]) -> None:
        """Write down where training stands after ``epoch`` epochs: first the state to resume from,
        in one file, then what people read."""
        speed = {"images_per_second": means.pop("images_per_second")}
        self.log.add({"epoch": epoch, **means, **self.observer.look(epoch), **speed})
        self._keep(epoch)
        state = {"epoch": epoch, **self.trainer.state(), "metrics": self.log.rows}
        save_state(self.run.resume_file, state)
        self.log.write()

    def _keep(self, epoch: int) -> None:
        """Add the networks to the series, if they belong to it."""
        if self.config.is_kept(epoch):
            self._write(self.run.checkpoint_of(epoch), epoch, self.trainer.kept())

    def _stop(self, error: Diverged, epoch: int) -> None:
        """Keep the networks of the last epoch that ended well, and say so."""
        if not epoch or is_replacing(self.run):
            raise error
        state = self.run.load_state(self.run.resume_file)
        file = self.run.checkpoint_of(epoch)
        self._write(file, epoch, state["average"] or state["networks"])
        raise Diverged(f"{error}; the networks after epoch {epoch} are kept in {file}")

    def _write(
        self,
        file: Path,
        epoch: int,
        networks: Mapping[str, Mapping[str, torch.Tensor]],
        held_out: Mapping[str, float] | None = None,
    ) -> None:
        save_state(file, checkpoint_state(self.method, epoch, networks, held_out))


def _evaluate(trainer: Trainer, data_dir: str | os.PathLike[str] | None) -> dict[str, float]:
    """The method's numbers on the held-out part, as means over its images."""
    method, config = trainer.method, trainer.config
    if type(method).evaluate is Method.evaluate:
        return {}
    held = open_images(config.data, config.test, data_dir)
    sums: dict[str, float] = {}
    with trainer.at_rest():
        for batch in feed(held, trainer.fabric.device, config.workers).in_order(_TOGETHER):
            for name, value in method.evaluate(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / len(held) for name, value in sums.items()}


def _provenance(source: Feed, processes: int) -> dict[str, Any]:
    images = source.images
    return {
        "repsim": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "trained_on": {
            "data": images.name,
            "split": images.split,
            "n": len(images),
            **source.fingerprint(),
        },
    }
