"""Numbers of the results, in per cent, a value for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repsim.figures.papers.engine import Found
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.kolesnikov2019.analyses import CONTROLS, INVERSES, PROBES, SCHEDULES
from repsim.figures.papers.kolesnikov2019.evaluation import LAST, SOLVERS
from repsim.figures.papers.kolesnikov2019.runs import CELLS, SIX, TASKS, Cell
from repsim.results import ProbeCurve, ProbeEntry

LINEAR, PERCEPTRON = SOLVERS


def laid_out(found: Found) -> list[Cell]:
    """The cells of the grid at the scale, without those of another size of representation."""
    return [
        cell for cell, run in CELLS.items() if run in found.reproduction.trainings and not cell.size
    ]


def there(found: Found) -> list[Cell]:
    """The same cells, those whose results are there; all of them where none is."""
    asked = laid_out(found)
    return [cell for cell in asked if PROBES[cell] in found] or asked


def base(found: Found) -> int:
    """The smallest width at the scale, which networks are compared at."""
    return min(cell.width for cell in laid_out(found) if cell.network in SIX)


def widths(found: Found, task: str, network: str) -> list[int]:
    """The widths of a network by a task whose results are there, rising."""
    return sorted(c.width for c in there(found) if (c.task, c.network) == (task, network))


def tasks(found: Found) -> list[str]:
    """The tasks of the scale, in their usual order."""
    known = {cell.task for cell in laid_out(found)}
    return [task for task in TASKS if task in known]


def accuracy(
    found: Found, cell: Cell, tap: str = LAST, solver: str = LINEAR, share: float = 1.0
) -> list[float]:
    """Accuracy of a probe of a cell."""
    return _of(found, PROBES[cell], tap, solver, share)


def untrained(found: Found, cell: Cell, tap: str = LAST) -> list[float]:
    """Accuracy of a linear probe of the network of a cell before it learned rotation."""
    return _of(found, CONTROLS[cell], tap, LINEAR, 1.0)


def _of(found: Found, asked: AnalysisOf, tap: str, solver: str, share: float) -> list[float]:
    return [100 * entry_of(curve, tap, solver, share) for curve in found[asked]]


def entry_of(curve: ProbeCurve, tap: str, solver: str = LINEAR, share: float = 1.0) -> float:
    """The accuracy of a probe, as a fraction."""
    wanted = tap, solver, share
    return next(
        each.accuracy
        for each in curve.entries
        if (each.layer, each.solver, each.label_fraction) == wanted
    )


def pretext(found: Found, cell: Cell) -> list[float]:
    """Accuracy of the pretext task on held-out images."""
    return [100 * step.run.scores()["accuracy"] for step in found.trained(CELLS[cell])]


def mean_of(found: Found, cell: Cell, tap: str = LAST) -> float:
    """Mean accuracy of a cell over seeds; NaN where the cell is not there."""
    known = cell in PROBES and PROBES[cell] in found
    return float(np.mean(accuracy(found, cell, tap))) if known else float("nan")


def by_seed(found: Found, cells: Sequence[Cell]) -> np.ndarray:
    """Accuracies (seeds, cells)."""
    return np.transpose([accuracy(found, cell) for cell in cells])


def shared(found: Found) -> list[str]:
    """The networks that every task of the scale has at the smallest width."""
    known = set(there(found))
    width = base(found)
    return [name for name in SIX if all(Cell(task, name, width) in known for task in tasks(found))]


def by_solver(found: Found, solver: str) -> list[float]:
    """Accuracy of a linear probe of the narrowest RevNet of rotation by a solver."""
    return [100 * _by(curve, solver).accuracy for curve in found[_schedules(found)]]


def by_epoch(found: Found, solver: str) -> list[list[float]]:
    """The same after each epoch of SGD."""
    return [[100 * x for x in _by(curve, solver).history] for curve in found[_schedules(found)]]


def _schedules(found: Found) -> AnalysisOf:
    return SCHEDULES[Cell("rotation", "RevNet", base(found))]


def _by(curve: ProbeCurve, solver: str) -> ProbeEntry:
    return next(each for each in curve.entries if each.solver == solver)


def inverse_errors(found: Found) -> list[float]:
    """The relative errors of the inverses of all reversible groups, of all networks."""
    known = [each for each in INVERSES.values() if each in found]
    asked = known or list(INVERSES.values())[:1]
    return [row["error"] for each in asked for table in found[each] for row in table.rows()]
