"""Figures of CKA between tasks and between networks, which the paper does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from repsim.figures.panels.matrix import Matrix
from repsim.figures.panels.scatter import Points, Scatter
from repsim.figures.papers.engine import Found, rank_correlation
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.kolesnikov2019.analyses import COMPARED, OF_NETWORKS, OF_TASKS
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS
from repsim.figures.papers.kolesnikov2019.numbers import accuracy, base
from repsim.figures.papers.kolesnikov2019.runs import TASKS, Cell
from repsim.results import FigureData

Pairs = Mapping[tuple[Cell, Cell], AnalysisOf]


def of_tasks(found: Found, network: str) -> FigureData:
    """Each task beside each other one, at one network."""
    return found.figure(
        f"Tasks of {network}",
        f"Linear CKA (unbiased) of the taps of two pretext tasks, {network} at the smallest width; "
        "mean over seeds, not in the paper. Both of a seed start from the same weights, where what "
        f"they see has the same size. {_compared(found)}",
        [
            _matrix(found, a.task, b.task, each)
            for (a, b), each in _there(found, OF_TASKS[network]).items()
        ],
        part="compared",
    )


def of_networks(found: Found, task: str) -> FigureData:
    """Each network beside each other one, at one task."""
    return found.figure(
        f"Networks of {task}",
        f"Linear CKA (unbiased) of the taps of two networks, by {task} at the smallest width; mean "
        f"over seeds, not in the paper. {_compared(found)}",
        [
            _matrix(found, a.network, b.network, each)
            for (a, b), each in _there(found, OF_NETWORKS[task]).items()
        ],
        part="compared",
    )


def _compared(found: Found) -> str:
    return f"{found.data}, {found.splits['compared']}."


def _there(found: Found, pairs: Pairs) -> dict[tuple[Cell, Cell], AnalysisOf]:
    """The pairs at the smallest width whose results are there; the first of all where none is."""
    width = base(found)
    asked = {pair: each for pair, each in pairs.items() if pair[0].width == width}
    known = {pair: each for pair, each in asked.items() if each in found}
    return known or dict(list((asked or pairs).items())[:1])


def diagonal(found: Found, asked: AnalysisOf) -> np.ndarray:
    """CKA (seeds, taps) of the same taps of two networks."""
    return np.array([np.diag(_unbiased(each)) for each in found[asked]])


def _unbiased(result: Any) -> np.ndarray:
    return np.array(result.select(TAPS, TAPS).unbiased)


def _matrix(found: Found, a: str, b: str, asked: AnalysisOf) -> Matrix:
    values = np.mean([_unbiased(each) for each in found[asked]], axis=0)
    return Matrix(f"{a}, {b}", TAPS, TAPS, values.tolist(), xlabel=b, ylabel=a, limits=(0.0, 1.0))


def sharing(found: Found) -> FigureData:
    """CKA of two tasks at a tap, against what both know there."""
    groups, texts = [], []
    for network in COMPARED:
        pairs = _there(found, OF_TASKS[network])
        if not any(each in found for each in pairs.values()):
            continue
        x, y, names = _shared(found, pairs)
        groups.append(Points(network, y, x=x, names=names))
        texts.append(f"{network} {rank_correlation(x, y):.2f}")
    if not groups:
        found[next(iter(OF_TASKS[COMPARED[0]].values()))]  # says what is missing
    return found.figure(
        "Sharing",
        "What tasks share, and what transfers: linear CKA (unbiased) of two pretext tasks at a "
        "tap, and the accuracy of logistic regression there, mean of both; a point for each pair "
        "of tasks and tap, at the smallest width. Means over seeds. Spearman correlation: "
        f"{', '.join(texts)}. {_compared(found)}",
        [Scatter("", "CKA of two tasks", "accuracy, mean of both (%)", groups)],
    )


def _shared(found: Found, pairs: Pairs) -> tuple[list[float], list[float], list[str]]:
    """CKA and accuracy of each pair and tap, and their names."""
    x: list[float] = []
    y: list[float] = []
    names: list[str] = []
    for (a, b), asked in pairs.items():
        for tap, value in zip(TAPS, diagonal(found, asked).mean(0), strict=True):
            both = [np.mean(accuracy(found, cell, tap)) for cell in (a, b)]
            x.append(float(value))
            y.append(float(np.mean(both)))
            names.append(f"{a.task}, {b.task}, {tap}")
    return x, y, names


MAPS: tuple[Callable[[Any], FigureData], ...] = (
    *(partial(of_tasks, network=network) for network in COMPARED),
    *(partial(of_networks, task=task) for task in TASKS),
    sharing,
)
