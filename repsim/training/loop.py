"""The loop: a run from its configuration to its checkpoint, epoch by epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from repsim._version import __version__
from repsim.data import ImageSet
from repsim.data.apart import check_apart
from repsim.data.folder import ImageFiles
from repsim.data.size import size_text
from repsim.devices import find_device
from repsim.errors import DataError, StoreError, UsageError
from repsim.files import sweep
from repsim.networks.image_spec import ImageSpec
from repsim.progress import Progress, notebook_bar, silent
from repsim.space import check_size
from repsim.training import parallel
from repsim.training.compose import fits
from repsim.training.config import NO_TEST, TrainConfig
from repsim.training.kept_sides import save_sides
from repsim.training.loaders import Feed, feed, open_images, spec_of
from repsim.training.method import Method
from repsim.training.methods import find_method
from repsim.training.metrics import Diverged, Log
from repsim.training.observing import Observer
from repsim.training.run import Run, checkpoint_state, save_checkpoint, save_state
from repsim.training.run_lock import alone, check_free, is_replacing, set_aside
from repsim.training.sides import measure_sides
from repsim.training.tensor_files import state_bytes
from repsim.training.trainer import Trainer

#: Held-out images looked at together.
_TOGETHER = 500

_REMEDY = (
    "a network must be scored on images it has not learned from: train on another --split, such as "
    f"train, or score on another --test, or on {NO_TEST}"
)


def train(
    method: str,
    config: TrainConfig,
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = notebook_bar,
) -> Run:
    """Train a method into the run folder ``path``.

    Every epoch seeds its own data order and augmentation, and its end is saved whole: a run that
    was stopped continues with ``resume`` to the same weights as one that was not, bit for bit on
    the same machine and number of threads.

    With ``config.devices``, or under torchrun or SLURM, several processes run this, and the first
    of them writes. To start them, the program that calls this is run again for each device.

    Args:
        method: name of a module of ``repsim.training.methods``.
        config: of that method, as ``repsim.training.compose.configure`` makes it.
        path: the run folder.
        data_dir: where data sets lie, as for ``repsim.data.load``.
        resume: continue where the run stopped; a finished one is left as it is.
        overwrite: replace a run that exists, its activations included.
        progress: told the steps done and the losses.

    Raises:
        UsageError: the run exists, or was started with another configuration.
        MismatchError: images of ``test``, which the networks are scored on, are trained on.
        TrainingError: a loss is no longer finite; the state before that epoch stays, or with
            ``overwrite`` the run that was to be replaced.
    """
    kind = find_method(method)
    if not fits(config, method):
        raise UsageError(
            f"method {method!r} takes a configuration of its own, got {type(config).__module__}."
            f"{type(config).__name__}; make one with configure({method!r}, {{...}})"
        )
    run = Run(Path(path))
    # In each process, before any can write: all of them see the same folder.
    check_free(run, method, config, resume=resume, overwrite=overwrite)
    if resume and run.complete:
        return run
    if config.device != "auto":
        find_device(config.device)
    images = open_images(
        config.data,
        config.split,
        data_dir,
        image_size=config.image_size,
        target=config.target,
    )
    spec = spec_of(images, config.data)
    torch.manual_seed(config.seed_for("initialisation"))
    built = kind(config, spec)
    check_size(run.checkpoint, state_bytes(built.networks.values()))
    # A run that goes on has what it began with in its own state.
    goes_on = resume and run.resume_file.is_file()
    begun_with = {} if goes_on else built.begin(run.path.parent)
    # Before hours of training rather than after them.
    held_out = _open_held_out(built, data_dir)
    trains = bool(built.optimizers()) and config.epochs > 0
    if trains and held_out is not None:
        check_apart(images, held_out, _REMEDY)
    if trains and len(images) < config.batch_size:
        raise UsageError(
            f"batch_size is {config.batch_size}, but {config.data} {images.split} has "
            f"{len(images)} images; make it smaller"
        )
    fabric = parallel.start(config)
    source = feed(images, fabric.device, config.workers)
    with ExitStack() as stack:

        def enter() -> bool:
            """Lock the folder; False where another process has just finished the run."""
            stack.enter_context(alone(run))
            sweep(run.path)
            check_free(run, method, config, resume=resume, overwrite=overwrite)
            if resume and run.complete:
                return False
            stack.enter_context(set_aside(run, overwrite))
            _describe(run, method, config, spec, source, fabric.world_size, begun_with)
            return True

        if parallel.agree(fabric, enter):
            session = _Session(run, method, Trainer(built, fabric, len(source)), source)
            session.train(progress)
            parallel.agree(fabric, session.finish, held_out)
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
        self.observer = Observer(trainer, source, run.path / "samples")

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

    def finish(self, images: ImageSet | ImageFiles | None) -> None:
        """Score the networks on held-out images; write the checkpoint and statistics of sides."""
        scores = {} if images is None else _evaluate(self.trainer, images)
        self._write(self.run.checkpoint, self.config.epochs, self.trainer.kept(), scores)
        if self.run.has_sides:
            with self.trainer.at_rest():
                sides = measure_sides(self.trainer.method, self.source)
            save_sides(self.run.statistics_of(), sides, self.run.digest())
        self.run.resume_file.unlink(missing_ok=True)

    def _restore(self) -> tuple[int, list[dict[str, Any]]]:
        """Load the state after the last finished epoch, if there is one: epochs and metrics."""
        if not self.run.resume_file.is_file():
            return 0, []
        state = self.run.load_state(self.run.resume_file)
        try:
            self.trainer.load(state)
            return state["epoch"], state["metrics"]
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise StoreError(
                f"{self.run.resume_file} is not the state of this run ({line})",
                "train it anew with --overwrite",
            ) from error

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
        save_checkpoint(file, checkpoint_state(self.method, epoch, networks, held_out))


def _open_held_out(
    method: Method, data_dir: str | os.PathLike[str] | None
) -> ImageSet | ImageFiles | None:
    """The images that a method is scored on; None for a method, or a run, without scores.

    Raises:
        UsageError, DataError: there are none, or not such as the method is trained on.
    """
    config, spec = method.config, method.spec
    if type(method).evaluate is Method.evaluate or config.test == NO_TEST:
        return None
    images = open_images(
        config.data, config.test, data_dir, image_size=config.image_size, target=config.target
    )
    if not len(images):
        raise UsageError(f"{images.name} {images.split} has no images; try another --test")
    if images.channels != spec.channels:
        raise DataError(
            f"{images.name} {images.split} has images of {images.channels} channels, the training "
            f"part of {spec.channels}; expected the same"
        )
    if images.size != spec.size:
        raise DataError(
            f"{images.name} {images.split} has images of {size_text(images.size)} pixels, the "
            f"training part of {size_text(spec.size)}; expected the same: choose an --image-size"
        )
    if spec.classes and not images.has_labels:
        raise DataError(
            f"{images.name} {images.split} has no labels to score by, the training part has"
        )
    return images


def _evaluate(trainer: Trainer, images: ImageSet | ImageFiles) -> dict[str, float]:
    """The method's numbers on held-out images, as means over them."""
    method, config = trainer.method, trainer.config
    sums: dict[str, float] = {}
    with trainer.at_rest():
        for batch in feed(images, trainer.fabric.device, config.workers).in_order(_TOGETHER):
            for name, value in method.evaluate(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / len(images) for name, value in sums.items()}


def check_trained_on(run: Run, data_dir: str | os.PathLike[str] | None) -> None:
    """Compare the images that a run was trained on with the images of its set now.

    Runs of earlier versions do not record theirs.

    Raises:
        UsageError: they are others, or cannot be had.
    """
    if "trained_on" not in run.describe():
        return
    config = run.config
    size, target = config.image_size, config.target
    images = open_images(config.data, config.split, data_dir, image_size=size, target=target)
    _check_images(run, _trained_on(feed(images, torch.device("cpu"), 0)))


def _check_images(run: Run, now: Mapping[str, Any]) -> None:
    """Raise ``UsageError`` unless the record of a run's images is the one of the images now."""
    if run.describe().get("trained_on") != now:
        raise UsageError(
            f"run {run.name!r} was trained on other images than {now['data']} {now['split']} has "
            "now; put those back, or train it anew with --overwrite"
        )


def _trained_on(source: Feed) -> dict[str, Any]:
    """The record of the images of a training."""
    images = source.images
    about = {"data": images.name, "split": images.split, "n": len(images)}
    return {**about, **source.fingerprint()}


def _describe(
    run: Run,
    method: str,
    config: TrainConfig,
    spec: ImageSpec,
    source: Feed,
    processes: int,
    begun_with: Mapping[str, Any],
) -> None:
    """Write ``config.json``; of a run that goes on, only what it is resumed with if that differs.

    Raises:
        UsageError: its images are no longer those that it was trained on.
    """
    trained_on = _trained_on(source)
    made_with = {
        "repsim": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
    }
    if not run.resume_file.is_file():
        taken = {"begun_with": dict(begun_with)} if begun_with else {}
        extra = {**made_with, "trained_on": trained_on, **taken}
        run.write_description(method, config, spec, extra)
        return
    before = run.describe()
    _check_images(run, trained_on)
    latest = {**before, **(before.get("resumed") or [{}])[-1]}
    if any(latest.get(key) != value for key, value in made_with.items()):
        state = run.load_state(run.resume_file)
        resumed = [*before.get("resumed", []), {"epoch": state["epoch"], **made_with}]
        kept = (*made_with, "trained_on", "begun_with")
        extra = {key: before[key] for key in kept if key in before}
        run.write_description(method, config, spec, {**extra, "resumed": resumed})
