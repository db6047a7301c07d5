"""Numbers of the results: accuracies of new heads, in per cent, and bits of signals."""

from __future__ import annotations

from itertools import product

import numpy as np

from repsim.figures.papers.engine import Found
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.song2017.analyses import (
    CONTROLS,
    GRID,
    HEADS,
    INPUTS,
    SIGNALS,
    SOLVERS,
)
from repsim.figures.papers.song2017.runs import cells_of
from repsim.results import ProbeCurve, ProbeEntry

#: The text's head: on both halves, by SGD.
TEXT = "both halves", "SGD"


def entry_of(curve: ProbeCurve, shown: str = TEXT[0], head: str = TEXT[1]) -> ProbeEntry:
    """The entry of a head that reads one of ``INPUTS``."""
    wanted = INPUTS[shown], SOLVERS[head]
    return next(each for each in curve.entries if (each.layer, each.solver) == wanted)


def _of(found: Found, analysis: AnalysisOf, shown: str, head: str) -> list[float]:
    return [100 * entry_of(curve, shown, head).accuracy for curve in found[analysis]]


def of_cell(
    found: Found, keep: float, copy: float, shown: str = TEXT[0], head: str = TEXT[1]
) -> list[float]:
    """Accuracies on the right digit of the CNNs of a cell, a value for each seed."""
    return _of(found, GRID[keep, copy], shown, head)


def of_extractor(found: Found, name: str, shown: str = TEXT[0], head: str = TEXT[1]) -> list[float]:
    """The same of an extractor of clean pairs."""
    return _of(found, HEADS[name], shown, head)


def of_control(found: Found, name: str, shown: str = TEXT[0], head: str = TEXT[1]) -> list[float]:
    """The same before training."""
    return _of(found, CONTROLS[name], shown, head)


def changes(found: Found, name: str, shown: str = TEXT[0], head: str = TEXT[1]) -> list[float]:
    """Points by which training moved the accuracy of an extractor, for each seed."""
    return list(
        np.subtract(of_extractor(found, name, shown, head), of_control(found, name, shown, head))
    )


def bits_of(found: Found, name: str, given: str, by: str, number: str = "value") -> list[float]:
    """Bits that the right half adds about real and generated images, for each seed.

    Or another number of that result, such as the bits that were open ``before``.
    """
    return [table.rows()[0][number] for table in found[SIGNALS[name, given, by]]]


def cells(found: Found) -> list[tuple[float, float]]:
    """The cells of the grid, on the image set at hand."""
    return list(product(*cells_of(found)))
