"""Examples of two sources with equal ids: are they the same examples?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim.errors import MismatchError, RepsimWarning

if TYPE_CHECKING:
    from repsim.data.targets import Target
    from repsim.sources import ActivationSource

#: Provenance of the way from an example to what a network reads.
PREPROCESSING = ("image_size", "normalise", "channels", "tokenizer", "max_length")

#: Ids that a message lists of a source.
_LISTED = 3


def check_same_labels(a: ActivationSource, b: ActivationSource) -> None:
    """Raise ``MismatchError`` where two sources with equal ids give an example other labels.

    Classes are compared by name where both name them.
    """
    ours, theirs = _targets(a), _targets(b)
    for name in ours.keys() & theirs.keys():
        x, y = _named(ours[name], theirs[name])
        if x.shape != y.shape:
            continue
        differ = np.flatnonzero((x != y).reshape(len(x), -1).any(1))
        if differ.size:
            i = int(differ[0])
            raise MismatchError(
                f"{where(a)} and {where(b)} have equal example ids, but another {name!r} for "
                f"{differ.size} of {len(x)}, first {x[i]} against {y[i]} at row {i}: the rows are "
                "of other examples; harvest both in one order, with ids, or without labels"
            )


def check_same_inputs(a: ActivationSource, b: ActivationSource) -> None:
    """Compare the inputs of two sources with equal ids, as far as they are known.

    Raises:
        MismatchError: they are of other examples, of other files, or in another order.

    Warns:
        RepsimWarning: all inputs differ, which another preprocessing may have done.
    """
    if is_numbered(a) and is_numbered(b) and _differ(_of(a, "order"), _of(b, "order")):
        raise MismatchError(
            f"{where(a)} and {where(b)} number their rows alike, but take them from other places "
            "of their data sets; give the examples ids"
        )
    x, y = _of(a, "inputs"), _of(b, "inputs")
    if x is None or y is None or np.array_equal(x, y):
        return
    ours, theirs = a.provenance(), b.provenance()
    changed = [key for key in PREPROCESSING if ours.get(key) != theirs.get(key)]
    if problem := _problem(x, y) or ("" if changed else _other_files(ours, theirs)):
        raise MismatchError(
            f"{where(a)} and {where(b)} have equal example ids, but {problem}; harvest both from "
            "the same examples in one order, with ids"
        )
    listed = ", ".join(f"{key} {ours.get(key)} and {theirs.get(key)}" for key in changed)
    warnings.warn(
        f"{where(a)} and {where(b)} were given other inputs for the same example ids"
        f"{f' ({listed})' if listed else ''}: that is right if only the preprocessing differs, "
        "as size, padding or tokens may, and wrong if they are other examples",
        RepsimWarning,
        stacklevel=3,
    )


def shared_places(a: ActivationSource, b: ActivationSource) -> tuple[np.ndarray, np.ndarray]:
    """The places in two sources of the examples whose ids both have, in the order of the first.

    Raises:
        MismatchError: no ids, none in common, one that comes twice, or ids that are numbers of rows
            in both with nothing to tell that these are the same examples.
    """
    names_a, names_b = (_names(each) for each in (a, b))
    shared, of_a, of_b = np.intersect1d(names_a, names_b, assume_unique=True, return_indices=True)
    if not len(shared):
        raise MismatchError(
            f"{where(a)} and {where(b)} have no example id in common: the one has "
            f"{_some(names_a)}, the other {_some(names_b)}; if these are the same examples, give "
            "them the same ids, by batches (inputs, labels, ids) in a harvest or by repsim import "
            "--ids FILE"
        )
    order = np.argsort(of_a)
    of_a, of_b = of_a[order], of_b[order]
    if a.n != b.n and is_numbered(a) and is_numbered(b) and not _told(a, b, of_a, of_b):
        raise MismatchError(
            f"the ids of {where(a)} and {where(b)} are numbers of their rows, {a.n} and {b.n}, and "
            "neither digests nor their order say that these are the same examples; give them ids"
        )
    return of_a, of_b


def _told(a: ActivationSource, b: ActivationSource, of_a: np.ndarray, of_b: np.ndarray) -> bool:
    """True if digests of the inputs, or places in the data set, say that examples are the same."""
    pairs = ((_of(a, name), _of(b, name)) for name in ("inputs", "order"))
    return any(
        x is not None and y is not None and np.array_equal(x[of_a], y[of_b]) for x, y in pairs
    )


def _names(source: ActivationSource) -> np.ndarray:
    """The ids of the examples as texts, (n,).

    Raises:
        MismatchError: there are none, or one comes twice.
    """
    if source.example_ids is None:
        raise MismatchError(
            f"{where(source)} has no example ids, by which it could be compared; make a store of "
            "it with ids (repsim import)"
        )
    ids = np.asarray(source.example_ids)
    names = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids.astype(str)
    each, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        k = int(counts.argmax())
        raise MismatchError(
            f"{where(source)} has the example id {str(each[k])!r} {counts[k]} times; "
            "expected an id of its own each"
        )
    return names


def _some(names: np.ndarray) -> str:
    """The first ids, and how many more there are."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(repr(str(each)) for each in names[:_LISTED]) + more


def _problem(x: np.ndarray, y: np.ndarray) -> str:
    """The reason why other inputs cannot come from another preprocessing; empty if they can."""
    equal = int((x == y).sum())
    if np.array_equal(np.sort(x), np.sort(y)):
        return f"the inputs of {len(x) - equal} of {len(x)} come in another order"
    if 2 * equal >= len(x):
        return f"{len(x) - equal} of {len(x)} have other inputs"
    return ""


def _other_files(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """The difference of the files that both records name; empty if there is none."""
    ours, theirs = a.get("files"), b.get("files")
    if not isinstance(ours, dict) or not isinstance(theirs, dict) or ours == theirs:
        return ""
    sizes = [f"{each.get('count')} files of {each.get('bytes')} bytes" for each in (ours, theirs)]
    return f"were read from other files, {sizes[0]} against {sizes[1]}"


def _targets(source: ActivationSource) -> Mapping[str, Target]:
    return {each.name: each for each in getattr(source, "targets", ())}


def _named(a: Target, b: Target) -> tuple[np.ndarray, np.ndarray]:
    """The values of a target in two sources, as names where both name their classes otherwise."""
    x, y = (np.asarray(each.values) for each in (a, b))
    known = all(each.is_class and len(each.classes) > v.max() for each, v in ((a, x), (b, y)))
    if not known or a.classes == b.classes:
        return x, y
    return np.array(a.classes)[x], np.array(b.classes)[y]


def _of(source: ActivationSource, name: str) -> np.ndarray | None:
    return getattr(source, name, None)


def _differ(x: np.ndarray | None, y: np.ndarray | None) -> bool:
    return x is not None and y is not None and not np.array_equal(x, y)


def is_numbered(source: ActivationSource) -> bool:
    """True where the ids are the numbers of the rows."""
    if (known := getattr(source, "numbered", None)) is not None:
        return bool(known)
    ids = source.example_ids
    ends = () if ids is None else (ids[0], ids[-1])
    texts = [each.decode() if isinstance(each, bytes) else str(each) for each in ends]
    return texts == ["0", str(source.n - 1)]


def where(source: ActivationSource) -> str:
    """The whole path of a store, or the name of another source."""
    path = getattr(source, "path", None)
    return str(path.absolute()) if path is not None else source.name
