"""Statistics of the sides of a run's networks: their file, and how those that lack are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from repsim.errors import RepsimError, StoreError
from repsim.training.loaders import Feed, feed, open_images
from repsim.training.method import Method
from repsim.training.sides import Sides, measure_sides
from repsim.training.tensor_files import load_tensors, save_tensors

FORMAT = "repsim-statistics"

#: The remedy for a file that is damaged.
_ANEW = "remove it: it is made again when it is needed"

#: Statistics that were made in this process, by their networks and images.
_IN_MEMORY: dict[tuple[str, ...], Sides] = {}


def save_sides(path: Path, sides: Sides, checkpoint: str) -> None:
    """Write statistics beside a checkpoint.

    Args:
        path: of the file.
        sides: by network and side.
        checkpoint: digest of the checkpoint of their networks.
    """
    content = {
        "checkpoint_sha256": checkpoint,
        "networks": {
            name: {side: dict(each) for side, each in found.items()}
            for name, found in sides.items()
        },
    }
    save_tensors(path, FORMAT, content)


def read_sides(path: Path, checkpoint: str) -> Sides | None:
    """Statistics of the networks of a checkpoint; None where there are none, or of others.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        content = load_tensors(path, (FORMAT,), _ANEW)
        found: Sides = content["networks"]
        return found if content["checkpoint_sha256"] == checkpoint else None
    except FileNotFoundError:
        return None
    except KeyError as error:
        raise StoreError(f"{path} holds no statistics", _ANEW) from error


def kept_or_made(path: Path, checkpoint: str, make: Callable[[], Sides]) -> Sides:
    """Statistics from their file, else made and kept there, if it can be written.

    Args:
        path: of the file.
        checkpoint: digest of the checkpoint of their networks.
        make: gives them.
    """
    found = read_sides(path, checkpoint)
    if found is None:
        found = make()
        with suppress(OSError):  # of a folder that cannot be written to
            save_sides(path, found, checkpoint)
    return found


def made_once(key: tuple[str, ...], make: Callable[[], Sides]) -> Sides:
    """Statistics that are made once in a process.

    Args:
        key: tells their networks, the images and the settings from others.
        make: gives them.
    """
    if key not in _IN_MEMORY:
        _IN_MEMORY[key] = make()
    return _IN_MEMORY[key]


def measure_again(
    name: str,
    method: Method,
    trained_on: Mapping[str, Any],
    data_dir: str | os.PathLike[str] | None,
) -> Sides:
    """Statistics of a method's extractors on the images that its run was trained on.

    Args:
        name: of the run.
        method: with its networks.
        trained_on: the record of the images.
        data_dir: where the image sets lie.

    Raises:
        StoreError: these images are not there any more.
    """
    config = method.config
    try:
        source = _source(config, data_dir)
        same = _is_recorded(source, trained_on)
    except RepsimError as error:
        raise _without(name, str(error)) from error
    if not same:
        raise _without(name, f"{config.data} {config.split} has other images now")
    return measure_sides(method, source)


def _source(config: Any, data_dir: str | os.PathLike[str] | None) -> Feed:
    size, target = config.image_size, config.target
    images = open_images(config.data, config.split, data_dir, image_size=size, target=target)
    return feed(images, torch.device("cpu"), config.workers)


def _is_recorded(source: Feed, recorded: Mapping[str, Any]) -> bool:
    """True if images are, as far as is recorded, those that the run was trained on."""
    return all(recorded.get(key, value) == value for key, value in source.fingerprint().items())


def _without(name: str, why: str) -> StoreError:
    return StoreError(
        f"run {name!r} has no statistics of real and of generated images yet, which need the "
        f"images that it was trained on ({why})",
        "put these back, pass their --data-dir (data_dir=), or take --statistics mixed "
        "(statistics='mixed')",
    )
