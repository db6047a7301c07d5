"""The analyses of Kolesnikov et al. (2019): which networks, on which images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from repsim.figures.papers.engine import SCALES, analysis
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS, Evaluation
from repsim.figures.papers.kolesnikov2019.inverse import Inverse
from repsim.figures.papers.kolesnikov2019.runs import CELLS, LAID_OUT, TASKS, UNTRAINED, Cell
from repsim.figures.papers.kolesnikov2019.schedules import Schedules

Evaluate, Invert, Schedule = map(analysis, (Evaluation, Inverse, Schedules))
Similarity = analysis("similarity")

_ON = {"train": "probed", "test": "held_out"}
_TINY: dict[str, Any] = {"features": 500, "hidden": 50}

#: Probes of every cell, and of networks before training.
PROBES = {cell: Evaluate(run, on=_ON, tiny=_TINY) for cell, run in CELLS.items()}
CONTROLS = {cell: Evaluate(run, on=_ON, tiny=_TINY) for cell, run in UNTRAINED.items()}

#: The inverse of the reversible networks of rotation.
INVERSES = {
    cell: Invert(run, on={"inverted": "compared"}, name="inverse")
    for cell, run in CELLS.items()
    if cell.task == "rotation" and cell.network == "RevNet" and not cell.size
}

#: Probes by SGD of the narrowest RevNet of rotation.
SCHEDULES = {
    cell: Schedule(CELLS[cell], on=_ON, name="schedules")
    for cell in (Cell("rotation", "RevNet", width) for width in (1, 4))
}

#: Networks whose taps are compared with each other, at the smallest width of a scale.
COMPARED = ("RevNet", "ResNet v2", "VGG")

#: The smallest widths of the scales that compare networks.
_WIDTHS = (1, 4)

_LAYERS = ",".join(TAPS)


def _beside(a: Cell, b: Cell, scales: Sequence[str]) -> AnalysisOf:
    return Similarity(
        CELLS[a],
        CELLS[b],
        on={"compared": "compared"},
        scales=scales,
        layers=_LAYERS,
        augmentation="none",
        name="cka",
    )


def _is_compared(a: Cell, b: Cell, scale: str) -> bool:
    """True of cells that a scale has both of; ``tiny`` compares one network and one task."""
    both = a in LAID_OUT[scale] and b in LAID_OUT[scale]
    return both and (
        scale != "tiny" or "RevNet" == a.network == b.network or a.task == b.task == "rotation"
    )


def _pairs(cells: Iterable[Cell]) -> dict[tuple[Cell, Cell], AnalysisOf]:
    """Each cell beside each later one, at the scales that compare them."""
    found = {}
    for a, b in combinations(cells, 2):
        if scales := [scale for scale in SCALES if _is_compared(a, b, scale)]:
            found[a, b] = _beside(a, b, scales)
    return found


#: CKA of the taps of two tasks at one network, and of two networks at one task.
OF_TASKS = {
    network: {
        pair: each
        for width in _WIDTHS
        for pair, each in _pairs(Cell(task, network, width) for task in TASKS).items()
    }
    for network in COMPARED
}
OF_NETWORKS = {
    task: {
        pair: each
        for width in _WIDTHS
        for pair, each in _pairs(Cell(task, network, width) for network in COMPARED).items()
    }
    for task in TASKS
}
_BESIDE = [
    each for kinds in (OF_TASKS, OF_NETWORKS) for of in kinds.values() for each in of.values()
]

ANALYSES = (*INVERSES.values(), *SCHEDULES.values(), *CONTROLS.values(), *PROBES.values(), *_BESIDE)
