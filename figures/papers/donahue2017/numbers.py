"""Numbers of the results: accuracies in per cent, ratios of errors, and means of discriminators."""

from __future__ import annotations

from collections.abc import Mapping

from repsim.figures.papers.donahue2017.analyses import FROZEN, INVERSIONS, LINEAR, NEAREST
from repsim.figures.papers.donahue2017.runs import FLAT
from repsim.figures.papers.engine import Found
from repsim.figures.papers.engine.declared import AnalysisOf, Run
from repsim.results import ProbeCurve


def is_flat(found: Found) -> bool:
    """True on image sets of the permutation-invariant networks."""
    return found.data in FLAT


def nearest(found: Found, name: str) -> list[float]:
    """Accuracy of the nearest neighbour by the features of a method, for each seed."""
    return [100 * curve.entries[0].accuracy for curve in found[NEAREST[name]]]


def linear(found: Found, name: str) -> list[float]:
    """Accuracy of a linear probe on the features of photographs, for each seed."""
    return [100 * curve.entries[0].accuracy for curve in found[LINEAR[name]]]


def ratios(found: Found, name: str, of: str) -> list[float]:
    """Errors of reconstruction over errors of shuffled examples, for each seed; or none."""
    return [
        row["ratio"] for table in found[INVERSIONS[name]] for row in table.rows() if row["of"] == of
    ]


def frozen_layers(found: Found) -> list[str]:
    """The last frozen layers of frozen transfer, ``none`` first."""
    curve = found[FROZEN][0]
    return [entry.layer for entry in curve.of(curve.networks()[0])]


def frozen(found: Found, *, trained: bool) -> list[list[float]]:
    """Accuracies by the last frozen layer, of the BiGAN or of it before training, by seed."""
    return [_accuracies(curve, trained=trained) for curve in found[FROZEN]]


def _accuracies(curve: ProbeCurve, *, trained: bool) -> list[float]:
    name = curve.networks()[0 if trained else 1]
    return [100 * entry.accuracy for entry in curve.of(name)]


#: What is trained on scenes, in the order of the rows of a result: the columns of Table 3.
TRAINED = ("classifier", "last layers", "all")


def on_scenes(found: Found, several: Mapping[str, AnalysisOf], name: str) -> list[list[float]]:
    """Mean average precision (%) on scenes, for each of ``TRAINED`` a value for each seed."""
    of_each = [[row["mAP"] for row in table.rows()] for table in found[several[name]]]
    return [list(values) for values in zip(*of_each, strict=True)]


def scenes_by_chance(found: Found, several: Mapping[str, AnalysisOf]) -> float:
    """Mean average precision (%) on scenes of scores that say nothing."""
    first = next(iter(several.values()))
    return float(found[first][0].rows()[0]["chance"])


def by_epoch(found: Found, run: Run, column: str) -> list[list[float]]:
    """A column of the log of training, for each seed."""
    return [[row[column] for row in step.run.metrics()] for step in found.trained(run)]
