"""Values at the layers that the paper compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from repsim.layers import select_layers
from repsim.measures.identification import identified
from repsim.results import ProbeCurve, SimilarityMap, Table


def part(whole: SimilarityMap, kind: str) -> SimilarityMap:
    """The layers of a kind, ``even``, ``odd`` or ``all``, on both sides."""
    sides = (whole.layers_a, whole.layers_b)
    return whole.select(*(tuple(select_layers(layers, kind)) for layers in sides))


def same(whole: SimilarityMap) -> np.ndarray:
    """CKA of the same layers on both sides."""
    found = whole.diagonal()
    assert found is not None  # both are of one architecture
    return found


def with_head(layers: Sequence[str]) -> list[str]:
    """The even layers of a network, and its head where there is one."""
    return [*select_layers(layers, "even"), *(["head"] if "head" in layers else [])]


def along_depth(found: SimilarityMap) -> np.ndarray:
    """The value of each even layer and the head: of the diagonal, or of the only column."""
    rows = [found.layers_a.index(layer) for layer in with_head(found.layers_a)]
    single = len(found.layers_b) == 1
    return np.array([found.unbiased[row, 0 if single else row] for row in rows])


def last_block(layers: Sequence[str]) -> str:
    """The last even layer, which the head comes after."""
    return select_layers(layers, "even")[-1]


def middle(layers: Sequence[str]) -> list[int]:
    """The places of the layers of groups 2 and 3."""
    return [k for k, layer in enumerate(layers) if layer.startswith(("bg2.", "bg3."))]


def before_last(layers: Sequence[str]) -> int:
    """The place of the layer that the last group of blocks begins from."""
    group = layers[-1].partition(".")[0]
    return max(k for k, layer in enumerate(layers) if layer.partition(".")[0] != group)


def share_of_fall(curve: np.ndarray, layers: Sequence[str]) -> float:
    """The part of the fall from the first layer to the last that lies within the last group.

    NaN where there is no fall.
    """
    whole = curve[0] - curve[-1]
    return float((curve[before_last(layers)] - curve[-1]) / whole) if whole > 0 else math.nan


def rise(curve: np.ndarray, layers: Sequence[str]) -> float:
    """The change from the first layer to the last before the last group."""
    return float(curve[before_last(layers)] - curve[0])


def probed(curve: ProbeCurve) -> list[str]:
    """The layers of a curve, in order of depth."""
    return [entry.layer for entry in curve.of(curve.networks()[0])]


def accuracies(curve: ProbeCurve, layers: Sequence[str]) -> list[float]:
    """Accuracies of the probes of some layers, as fractions."""
    found = {entry.layer: entry.accuracy for entry in curve.entries}
    return [found[layer] for layer in layers]


def share_identified(values: np.ndarray) -> float:
    """The share of layers that are most similar to their counterpart."""
    names = [str(k) for k in range(len(values))]
    return float(identified(values, names, names).mean())


def shares(table: Table, measures: Iterable[str]) -> list[float]:
    """Layers that some measures identified, in per cent."""
    found = dict(zip(table.column("measure"), table.column("layers identified"), strict=True))
    return [found[measure] for measure in measures]
