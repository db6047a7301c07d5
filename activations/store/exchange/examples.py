"""Examples of imported rows: their ids, labels and other targets."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsim.activations.store.exchange.incoming import Found
from repsim.activations.store.format import ExampleRows, ExampleSpec, TargetSpec
from repsim.data.targets import LABEL
from repsim.dense import NUMBERED, as_numbers, check_numbered
from repsim.errors import ShapeError, UsageError
from repsim.npy import open_npy


def examples_of(found: Found, n: int) -> ExampleRows:
    """Ids, targets and the rest of ``n`` examples, as a store has them.

    Raises:
        ShapeError: another number of any of them.
        UsageError: an id that comes twice, or targets that are no classes and no zeros and ones.
    """
    targets = {name: _target(name, value, n) for name, value in found.targets.items()}
    for name, numbers in (("inputs", found.inputs), ("order", found.order)):
        if numbers is not None and numbers.shape != (n,):
            raise ShapeError(f"{name} have shape {numbers.shape}; expected ({n},)")
    return ExampleRows(_ids(found.ids, n), targets, found.inputs, found.order)


def specification_of(found: Found, examples: ExampleRows) -> ExampleSpec:
    """Targets and other columns that a store holds beside the ids."""
    return ExampleSpec(
        tuple(
            TargetSpec(name, v.shape[1] if v.ndim == 2 else None, found.classes.get(name, ()))
            for name, v in examples.targets.items()
        ),
        found.labels if found.labels in examples.targets else "",
        examples.inputs is not None,
        examples.order is not None,
    )


def _ids(given: Any, n: int) -> list[str]:
    """An id for every row, each of its own."""
    if given is None:
        return list(map(str, range(n)))
    if isinstance(given, (str, bytes, Mapping, Set)):
        raise UsageError(f"ids are a {type(given).__name__}; expected a list of {n} names in order")
    try:
        values = given.tolist() if hasattr(given, "tolist") else list(given)
    except SystemError as error:  # of NumPy, on numbers that are no characters
        raise UsageError(f"ids are no texts ({error})") from None
    ids = [_id_text(each) for each in values] if isinstance(values, list) else []
    ids[:1] = [each.removeprefix("\ufeff") for each in ids[:1]]  # a byte order mark
    if len(ids) != n:
        raise ShapeError(f"{len(ids)} ids came with {n} rows; expected one each")
    seen: set[str] = set()
    for each in ids:
        if not each or each in seen:
            raise UsageError(
                f"example id {each!r} comes twice or is empty; expected one of its own"
            )
        seen.add(each)
    return ids


def _id_text(value: Any) -> str:
    if value is None or isinstance(value, (list, tuple, Mapping)):
        raise UsageError(f"example id {value!r} is no name; expected a text or a number each")
    try:
        return value.decode() if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError as error:
        raise UsageError(f"example id {value!r} is no UTF-8 ({error})") from None


def _target(name: str, given: Any, n: int) -> np.ndarray:
    """(n,) int64 classes from 0, or (n, k) uint8 zeros and ones."""
    called = "labels" if name == LABEL else f"target {name!r}"
    values = _integers(given, called)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2 and len(values) == n and values.dtype.kind in "iu":
        if not np.isin(values, (0, 1)).all():
            raise UsageError(f"{called} of shape {values.shape}: expected zeros and ones")
        return values.astype(np.uint8)
    if values.shape != (n,):
        raise ShapeError(f"{called} have shape {values.shape}; expected ({n},)")
    if values.min() < 0 or values.max() > np.iinfo(np.int64).max:
        raise UsageError(
            f"{called} run from {values.min()} to {values.max()}; expected integers from 0, "
            "below 2^63"
        )
    return values.astype(np.int64)


def _integers(given: Any, called: str) -> np.ndarray:
    """Values as an array of integers or truth values."""
    check_numbered(given, called)
    values = as_numbers(given, called)
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        if not values.is_floating_point():
            values = values.numpy()
    if isinstance(values, torch.Tensor) or values.dtype.kind not in "iub":
        raise UsageError(f"{called} are {values.dtype}; expected integers from 0: {NUMBERED}")
    return values


def labels_in(path: Path) -> np.ndarray:
    """The labels in a ``.npy`` or text file that the caller named."""
    try:
        if path.suffix == ".npy":
            return open_npy(path)
        return np.array(lines_of(path), np.int64)
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"{path} holds no labels ({error}); expected integers from 0: {NUMBERED}"
        ) from error


def lines_of(path: Path) -> list[str]:
    """The lines of a text file."""
    try:
        # utf-8-sig: a byte order mark is no part of the first line
        return path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as text, one a line ({error})") from error
