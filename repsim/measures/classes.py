"""Layers against the classes of the examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from repsim.dense import as_dense
from repsim.errors import DegenerateError, ShapeError, UsageError
from repsim.measures.cka_map import cka_map
from repsim.names import check_rows, row_names
from repsim.results import SimilarityMap
from repsim.results.compared import networks_of
from repsim.sources import ActivationSource, ArraySource, as_source

#: Name of the one column of such a map.
CLASSES = "classes"


def class_similarity(
    source: ActivationSource | dict[str, Any],
    labels: Any = None,
    *,
    layers: str | Sequence[str] | None = None,
    **options: Any,
) -> SimilarityMap:
    """CKA of every layer with the classes of the examples, exact (Grigg et al. 2021, Figure 3).

    With the one-hot matrix (n, classes) of the labels, whose Gram matrix is 1 for two examples of a
    class and 0 for others: how far a layer has drawn the classes together and apart. It is 1 for
    a layer that shows nothing else, at equal distances. Centring takes the constant out by which
    an RBF kernel of the one-hot rows differs from that, so the kernel matters to the layers alone;
    where more than half of all pairs are of one class, RBF has no bandwidth, and the map a note.

    Args:
        source: an open store, say, or a dict of layer name to (n, ...) array, as for ``cka_map``.
        labels: (n,) integers or names; by default those that the source holds.
        layers: as ``layers_a`` of ``cka_map``.
        **options: of ``cka_map``: ``kernel``, ``stderr``, ``permutations``, ``seed``, ``device``,
            ``memory``, ``progress``.

    Returns:
        A map with one column, ``classes``.

    Raises:
        UsageError: a source without labels, where none were given.
        ShapeError: labels that are not one for each example.
        DegenerateError: all examples are of one class, or there are fewer than four.
    """
    source = as_source(source, "a")
    if labels is None:
        labels = getattr(source, "labels", None)
    check_rows({source.name: getattr(source, "row_names", None), "labels": row_names(labels)})
    names = checked_labels(labels, source.n, source.name)
    found, index = np.unique(names, return_inverse=True)
    classes = _Classes(
        {CLASSES: np.eye(len(found), dtype=np.float32)[index]},
        name=CLASSES,
        example_ids=source.example_ids,
    )
    classes.pooling = source.provenance().get("pooling", "none")
    result = cka_map(source, classes, layers_a=layers, **options)
    provenance = {**result.provenance, "comparison": "classes"}
    return replace(result, provenance=provenance, networks=networks_of(provenance))


class _Classes(ArraySource):
    """Classes have no positions: they compare with layers however those were reduced."""

    pooling = "none"

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "pooling": self.pooling}


def checked_labels(labels: Any, n: int, of: str) -> np.ndarray:
    """The labels of n examples of ``of``, (n,).

    Raises:
        UsageError: there are none.
        ShapeError: not one each.
        DegenerateError: all are the same.
    """
    if labels is None:
        raise UsageError(f"{of} has no labels; the classes take an image set or a store with them")
    given = as_dense(labels, "labels")
    names = np.asarray(given.cpu() if isinstance(given, Tensor) else given)
    if names.shape != (n,):
        raise ShapeError(f"labels have shape {names.shape}; expected ({n},), one an example")
    if n and (names == names[0]).all():
        raise DegenerateError(
            f"all {n} examples of {of} are of class {names[0]}; CKA with the classes needs two"
        )
    return names
