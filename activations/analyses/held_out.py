"""The held-out part of a probe: examples that it does not learn from."""

from __future__ import annotations

import warnings

import numpy as np

from repsim.comparable import where
from repsim.errors import MismatchError, RepsimWarning
from repsim.repeats import BY_CHANCE
from repsim.sources import ActivationSource

#: The end of a refusal of two parts of an image set.
APART = "a probe must be scored on images it has not seen: choose another --split or --test-split"

_REMEDY = (
    "a probe must be scored on examples it has not seen: harvest or import the training and the "
    "test part apart"
)


def check_held_out(train: ActivationSource, test: ActivationSource) -> None:
    """Compare the ids and the inputs of the two parts, as far as they are known.

    Raises:
        MismatchError: examples in both, by their ids or by their inputs.

    Warns:
        RepsimWarning: a few held-out examples have the inputs of training examples.
    """
    ids, others = train.example_ids, test.example_ids
    common = () if ids is None or others is None else tuple(np.intersect1d(ids, others))
    if common:
        raise MismatchError(
            f"{where(train)} and {where(test)} share {len(common)} examples, such as "
            f"{_text(common[0])}; {_REMEDY}"
        )
    known, shown = (getattr(store, "inputs", None) for store in (train, test))
    if known is None or shown is None:
        return
    seen = np.flatnonzero(np.isin(shown, known))
    if not seen.size:
        return
    twin = np.flatnonzero(known == shown[seen[0]])[0]
    said = (
        f"{seen.size:,} of {test.n:,} examples of {where(test)} have the same inputs as examples "
        f"of {where(train)} under other ids, such as {_name(test, seen[0])} and "
        f"{_name(train, twin)}"
    )
    if seen.size > BY_CHANCE * test.n:
        raise MismatchError(f"{said}; {_REMEDY}")
    warnings.warn(f"{said}; they count as held out", RepsimWarning, stacklevel=3)


def _name(store: ActivationSource, row: int) -> str:
    return str(row) if store.example_ids is None else _text(store.example_ids[row])


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
