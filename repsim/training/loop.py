"""The loop: epochs, learning rates, precision, checkpoints, resuming, metrics, progress."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from repsim._version import __version__
from repsim.data import ImageSet, load, to_input
from repsim.data.augment import flips
from repsim.devices import find_device
from repsim.errors import RepsimError, TrainingError, UsageError
from repsim.files import exclusive, sha256, table, write_atomic
from repsim.progress import Progress, silent
from repsim.training.config import TrainConfig
from repsim.training.method import Batch, DataFacts, Method, Training
from repsim.training.methods import find_method
from repsim.training.run import Run, save_state

#: Held-out images looked at together.
_EVALUATION_BATCH = 500


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
    _check_free(run, method, config, resume=resume, overwrite=overwrite)
    if resume and run.complete:
        return run
    if config.device != "auto":
        find_device(config.device)
    images = load(config.data, config.split, data_dir=data_dir)
    facts = DataFacts(
        channels=images.channels,
        classes=len(images.classes),
        size=images.images.shape[-1],
        flips=flips(config.data),
    )
    torch.manual_seed(config.seed_for("initialisation"))
    built = find_method(method)(config, facts)
    if built.optimizers() and len(images) < config.batch_size:
        raise UsageError(
            f"batch_size is {config.batch_size}, but {config.data} {images.split} has "
            f"{len(images)} images; make it smaller"
        )
    busy = f"run {run.name!r} is being trained by another process; wait for it or stop it"
    with exclusive(run.path.parent / f".{run.name}.lock", busy):
        # What may have changed since: another process may just have ended.
        _check_free(run, method, config, resume=resume, overwrite=overwrite)
        if resume and run.complete:
            return run
        with _set_aside(run, overwrite):
            run.write_description(method, config, facts, _provenance(images))
            _fit(run, built, images, progress)
            _finish(run, method, built, data_dir)
    return run


@contextmanager
def _set_aside(run: Run, overwrite: bool) -> Iterator[None]:
    """With ``overwrite``, keep the run that was there until the new one is finished.

    It comes back if training fails; after an interruption the new run is the one to resume.
    """
    aside = run.path.with_name(f".{run.name}.replaced")
    if overwrite and run.exists:
        if aside.exists():  # an earlier replacement never finished; what it was to replace stays
            _discard(run.path, heir=aside)
        else:
            run.path.rename(aside)
    try:
        yield
    except RepsimError:
        if aside.exists():
            if run.path.exists():
                _discard(run.path, heir=aside)
            aside.rename(run.path)
        raise
    if aside.exists():
        _discard(aside, heir=run.path)


def _discard(folder: Path, heir: Path) -> None:
    """Remove a run's folder; what is not the run's own, such as notes, moves to ``heir``."""
    for name in ("config.json", "checkpoint.pt", "resume.pt", "metrics.csv", "activations"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in folder.iterdir():
        path.rename(heir / path.name)
    folder.rmdir()


def _finish(run: Run, method: str, built: Method, data_dir: str | os.PathLike[str] | None) -> None:
    """Score the networks on held-out images and write the checkpoint."""
    config = built.config
    state: dict[str, Any] = {
        "format": "repsim-checkpoint",
        "format_version": 1,
        "method": method,
        "epoch": config.epochs,
        "networks": {name: net.state_dict() for name, net in built.networks.items()},
        "held_out": _evaluate(built, config, data_dir),
    }
    save_state(run.checkpoint, state)
    run.resume_file.unlink(missing_ok=True)


def _check_free(
    run: Run, method: str, config: TrainConfig, *, resume: bool, overwrite: bool
) -> None:
    """Raise ``UsageError`` unless training may write into the run folder."""
    if not run.exists:
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            raise UsageError(f"{run.path} exists and is not a run; choose another name")
        return
    if overwrite:
        return
    if not resume:
        state = "is finished" if run.complete else "was started and is not finished"
        way = "--overwrite" if run.complete else "--resume or --overwrite"
        raise UsageError(f"run {run.name!r} exists and {state}; pass {way}, or another name")
    before, now = run.describe(), {"method": method, **config.model_dump()}
    was = {"method": before["method"], **before["config"]}
    changed = [key for key in was.keys() | now.keys() if was.get(key) != now.get(key)]
    if changed:
        key = "method" if "method" in changed else sorted(changed)[0]
        raise UsageError(
            f"run {run.name!r} was started with {key} = {was.get(key)!r}, now it is "
            f"{now.get(key)!r}; resume with the settings of {run.path / 'config.json'}"
        )


def _fit(run: Run, method: Method, images: ImageSet, progress: Progress) -> None:
    """Train ``method`` in place, from the last finished epoch on."""
    from lightning_fabric import Fabric

    config = method.config
    plain = method.optimizers()
    if not plain or not config.epochs:
        return
    steps_per_epoch = len(images) // config.batch_size  # whole batches only
    fabric = Fabric(accelerator=config.device, devices=1, precision=config.precision)
    training = Training(
        networks={name: fabric.setup_module(net) for name, net in method.networks.items()},
        optimizers={name: _set_up(fabric, each) for name, each in plain.items()},
        backward=fabric.backward,
    )
    base = {name: each.param_groups[0]["lr"] for name, each in plain.items()}
    epochs_done, metrics = _restore(run, method, plain)
    pixels, labels = images.images.to(fabric.device), _labels(images).to(fabric.device)
    steps = config.epochs * steps_per_epoch
    for epoch in range(epochs_done, config.epochs):
        # Seeded by the epoch alone, so that a resumed run sees what an uninterrupted one would.
        torch.manual_seed(config.seed_for("epoch", epoch))
        for network in method.networks.values():
            network.train()
        order = torch.randperm(len(images)).to(fabric.device)
        sums: dict[str, Tensor] = {}
        started = time.perf_counter()
        for index in range(steps_per_epoch):
            step = epoch * steps_per_epoch + index
            factor = method.lr_factor(step, steps, steps_per_epoch)
            for name, each in plain.items():
                for group in each.param_groups:
                    group["lr"] = base[name] * factor
            chosen = order[index * config.batch_size : (index + 1) * config.batch_size]
            losses = method.step(Batch(to_input(pixels[chosen]), labels[chosen]), training)
            sums = {name: sums.get(name, 0.0) + value.double() for name, value in losses.items()}
            note = f"epoch {epoch + 1}/{config.epochs}"
            progress(step + 1, steps, f"{note} {_brief(sums, index + 1)}")
        means = {name: float(value) / steps_per_epoch for name, value in sums.items()}
        _check_finite(means, epoch)
        seen = steps_per_epoch * config.batch_size
        speed = seen / (time.perf_counter() - started)
        metrics.append({"epoch": epoch + 1, **means, "images_per_second": round(speed, 1)})
        _save(run, method, plain, epoch + 1, metrics)


def _set_up(fabric: Any, optimizer: Optimizer) -> Optimizer:
    return fabric.setup_optimizers(optimizer)


def _restore(
    run: Run, method: Method, optimizers: Mapping[str, Optimizer]
) -> tuple[int, list[dict[str, Any]]]:
    """Load the state after the last finished epoch, if there is one."""
    if not run.resume_file.is_file():
        return 0, []
    state = run.load_state(run.resume_file)
    for name, network in method.networks.items():
        network.load_state_dict(state["networks"][name])
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    return state["epoch"], state["metrics"]


def _save(
    run: Run,
    method: Method,
    optimizers: Mapping[str, Optimizer],
    epoch: int,
    metrics: list[dict[str, Any]],
) -> None:
    """Save the state after an epoch in one file, then the metrics that a person reads."""
    state = {
        "epoch": epoch,
        "networks": {name: net.state_dict() for name, net in method.networks.items()},
        "optimizers": {name: each.state_dict() for name, each in optimizers.items()},
        "metrics": metrics,
    }
    save_state(run.resume_file, state)
    write_atomic(run.path / "metrics.csv", table(metrics))


def _evaluate(
    method: Method, config: TrainConfig, data_dir: str | os.PathLike[str] | None
) -> dict[str, float]:
    """The method's numbers on the held-out part, as means over its images."""
    if type(method).evaluate is Method.evaluate:
        return {}
    held = load(config.data, config.test, data_dir=data_dir)
    labels = _labels(held)
    device = next(next(iter(method.networks.values())).parameters()).device
    for network in method.networks.values():
        network.eval()
    sums: dict[str, float] = {}
    with torch.inference_mode():
        for indices in torch.arange(len(held)).split(_EVALUATION_BATCH):
            batch = Batch(held.inputs(indices).to(device), labels[indices].to(device))
            for name, value in method.evaluate(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value / len(held) for name, value in sums.items()}


def _labels(images: ImageSet) -> Tensor:
    if images.labels is None:
        raise UsageError(f"{images.name} has no labels; training needs a labelled set")
    return images.labels


def _check_finite(means: Mapping[str, float], epoch: int) -> None:
    for name, value in means.items():
        if not math.isfinite(value):
            raise TrainingError(f"{name} is {value} in epoch {epoch + 1}; try a lower lr")


def _brief(sums: Mapping[str, Tensor], steps: int) -> str:
    return " ".join(f"{name} {float(value) / steps:.3f}" for name, value in sums.items())


def _provenance(images: ImageSet) -> dict[str, Any]:
    return {
        "repsim": __version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "trained_on": {
            "data": images.name,
            "split": images.split,
            "n": len(images),
            "sha256": sha256(images.images.numpy().tobytes()),
        },
    }
