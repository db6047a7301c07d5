"""Accuracies of new heads, in per cent."""

from __future__ import annotations

import numpy as np

from repsim.figures.papers.engine import Found, mean_of
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.mao2022.analyses import CONTROLS, HEADS, SOLVERS
from repsim.figures.papers.mao2022.runs import NAMES, removed_in
from repsim.results import ProbeCurve, ProbeEntry

#: The solvers by the names of their heads.
SOLVER_OF = {head: solver for solver, head in SOLVERS.items()}

#: The heads that decide, and the paper's own beside them.
CONVERGED, PAPERS = "L-BFGS", "SGD"


def of_heads(found: Found, extractor: str, removed: int, head: str) -> list[float]:
    """Accuracies of new heads on an extractor, a value for each seed."""
    return _accuracies(found, HEADS[extractor, removed], head)


def of_controls(found: Found, head: str) -> list[float]:
    """Accuracies of new heads on untrained discriminators, a value for each seed."""
    return _accuracies(found, CONTROLS, head)


def _accuracies(found: Found, analysis: AnalysisOf, head: str) -> list[float]:
    return [100 * entry_of(curve, SOLVER_OF[head]).accuracy for curve in found[analysis]]


def gap(found: Found, removed: int, head: str) -> list[float]:
    """C - D in points, a value for each seed."""
    ahead, behind = (
        of_heads(found, name, removed, head) for name in ("classifier", "discriminator")
    )
    return [c - d for c, d in zip(ahead, behind, strict=True)]


def gaps(found: Found, head: str) -> list[list[float]]:
    """C - D in points, by number removed and seed."""
    return [gap(found, removed, head) for removed in removed_in(found)]


def made(found: Found) -> list[int]:
    """The numbers removed whose heads are there, where a reproduction is under way; or all."""
    every = removed_in(found)
    return [
        removed for removed in every if all(HEADS[name, removed] in found for name in NAMES)
    ] or list(every)


def by_removed(found: Found, extractor: str, head: str) -> np.ndarray:
    """Accuracies of new heads on an extractor, (numbers removed, seeds)."""
    return np.array([of_heads(found, extractor, removed, head) for removed in removed_in(found)])


def quality(found: Found) -> str:
    """The accuracy of converged heads on each kind of extractor, for captions."""
    removed = made(found)
    read = [
        f"{np.mean(of_heads(found, name, each, CONVERGED)):.1f} % ({label}, {each} removed)"
        for each in sorted({removed[0], removed[-1]})
        for name, label in NAMES.items()
    ]
    read.append(f"{np.mean(of_controls(found, CONVERGED)):.1f} % (untrained)")
    return (
        f"How good the networks are: new heads by {CONVERGED} read {', '.join(read)} on "
        f"{found.data} {found.splits['held_out']}, {mean_of(len(found.seeds), 'seed')}."
    )


def entry_of(curve: ProbeCurve, solver: str) -> ProbeEntry:
    """The entry of a solver, of a curve of one layer."""
    return next(entry for entry in curve.entries if entry.solver == solver)
