"""Tables of similarity maps, as commands print them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from repsim.activations.analyses.base import TextTable
from repsim.results import SimilarityMap
from repsim.results.images import told


def map_title(result: SimilarityMap, estimator: str = "unbiased") -> str:
    """The title of a map's table."""
    return (
        f"{result.kernel} CKA ({estimator}) of {result.name_a} against {result.name_b}, "
        f"{told(result.provenance, result.n)}{result.pooled}{result.augmented}"
    )


def map_column(
    result: SimilarityMap, name: str, places: Sequence[int], estimator: str = "unbiased"
) -> TextTable:
    """Each layer with the value in its place: its invariance, or CKA with the classes."""
    values = result.values(estimator)
    further, cells = certainty(result, estimator, places)
    rows = [
        (layer, float(values[i, j]), *cells[i])
        for i, (layer, j) in enumerate(zip(result.layers_a, places, strict=True))
    ]
    return TextTable(map_title(result, estimator), ["layer", name, *further], rows)


def certainty(
    result: SimilarityMap, estimator: str, places: Sequence[int | None]
) -> tuple[list[str], list[list[Any]]]:
    """Columns that tell how certain the value of each row in its place is: names and cells."""
    names: list[str] = []
    cells: list[list[Any]] = [[] for _ in places]
    if result.stderr is not None and estimator == "unbiased":
        names.append("95 % interval")
        low, high = result.interval()
        for i, j in enumerate(places):
            known = j is not None and not math.isnan(low[i, j])
            cells[i].append(f"{low[i, j]:.3f} to {high[i, j]:.3f}" if known else "-")
    if result.p_value_max is not None:
        names.append("p, all pairs")
        for i, j in enumerate(places):
            cells[i].append(None if j is None else float(result.p_value_max[i, j]))
    return names, cells


def map_notes(result: SimilarityMap, estimator: str = "unbiased") -> Iterator[str]:
    """The remarks of a map; that on biased values only where they are shown."""
    for layer, note in result.notes.items():
        if layer != "biased" or estimator == "biased":
            yield f"{layer}: {note}"
