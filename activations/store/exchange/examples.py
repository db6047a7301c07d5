"""Examples of imported rows: their ids, labels and other targets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from repsim.activations.store.exchange.incoming import Found
from repsim.activations.store.format import ExampleRows, ExampleSpec, TargetSpec
from repsim.data.targets import LABEL
from repsim.errors import ShapeError, UsageError


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
    if isinstance(given, (str, os.PathLike)):
        given = _lines_of(Path(given))
    values = given.tolist() if hasattr(given, "tolist") else list(given)
    ids = [each.decode() if isinstance(each, bytes) else str(each) for each in values]
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


def _target(name: str, given: Any, n: int) -> np.ndarray:
    """(n,) int64 classes from 0, or (n, k) uint8 zeros and ones."""
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        try:
            given = np.load(path) if path.suffix == ".npy" else np.array(_lines_of(path), np.int64)
        except (OSError, ValueError, OverflowError) as error:
            raise UsageError(f"{path} holds no labels ({error}); expected integers") from error
    called = "labels" if name == LABEL else f"target {name!r}"
    values = np.asarray(given)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.ndim == 2 and len(values) == n and values.dtype.kind in "iu":
        if not np.isin(values, (0, 1)).all():
            raise UsageError(f"{called} of shape {values.shape}: expected zeros and ones")
        return values.astype(np.uint8)
    if values.shape != (n,):
        raise ShapeError(f"{called} have shape {values.shape}; expected ({n},)")
    if values.dtype.kind not in "iu" or values.min() < 0:
        raise UsageError(f"{called} are {values.dtype}; expected integers from 0")
    return values.astype(np.int64)


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as text, one a line ({error})") from error
