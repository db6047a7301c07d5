"""The figures of Song et al. (2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from repsim import signal
from repsim.figures.panels.bars import Bars, Mark
from repsim.figures.panels.diagram import Box, Diagram
from repsim.figures.panels.matrix import Matrix
from repsim.figures.papers.engine import Found, mean_over
from repsim.figures.papers.song2017.analyses import (
    CHANGES,
    GIVEN,
    INPUTS,
    PLAYERS,
    READERS,
    SOLVERS,
)
from repsim.figures.papers.song2017.heads import bits_of, of_cell, of_control, of_extractor
from repsim.figures.papers.song2017.published import ACCURACY, WITH, WITHOUT
from repsim.figures.papers.song2017.runs import EXTRACTORS, cells_of
from repsim.figures.series import Series
from repsim.results import FigureData, SimilarityMap


def figure_1(found: Found) -> FigureData:
    return found.figure(
        "Figure 1",
        "Extraction: two extractors with weights of their own learn to tell the label of the left "
        "digit, or what else the method asks for. Evaluation: both are frozen, and a new layer "
        "learns the label of the right digit from both, or from the right one alone.",
        [
            _phase("extraction", "left label", ""),
            _phase("evaluation", "right label", ", frozen"),
        ],
        part=None,
    )


def _phase(title: str, label: str, state: str) -> Diagram:
    boxes = [
        Box("left", "left digit", 0, 0),
        Box("right", "right digit", 0, 1),
        Box("f_l", f"f_l{state}", 1, 0),
        Box("f_r", f"f_r{state}", 1, 1),
        Box("top", "new layer" if state else "layer", 2, 0, 2),
        Box("label", label, 3, 0, 2),
    ]
    arrows = [("left", "f_l"), ("right", "f_r"), ("f_l", "top"), ("f_r", "top"), ("top", "label")]
    return Diagram(title, boxes, arrows)


def heatmaps(found: Found) -> FigureData:
    ours = _matrix(found, "accuracy (%), ours", lambda *cell: np.mean(of_cell(found, *cell)), 1)
    theirs = _matrix(found, "accuracy (%), published", lambda *cell: ACCURACY[cell], 0)
    bits = _matrix(found, "signal (bits)", signal, 2)
    return found.figure(
        "Heatmaps",
        "Accuracy of a new head on the right digit, of CNNs that learned the label of the left "
        "one, and the bits that the right digit adds about that label, by the probabilities that "
        f"a left digit stays readable and that its label is copied. {_seeds(found, intervals='')}",
        [ours, theirs, bits],
    )


def _matrix(found: Found, title: str, value: Callable[[float, float], Any], digits: int) -> Matrix:
    keeps, copies = cells_of(found)
    return Matrix(
        title,
        [f"{copy:g}" for copy in reversed(copies)],
        [f"{keep:g}" for keep in keeps],
        [[float(value(keep, copy)) for keep in keeps] for copy in reversed(copies)],
        xlabel="left digits kept",
        ylabel="labels copied",
        digits=digits,
    )


def extractors(found: Found) -> FigureData:
    series = [
        _series("with extraction", [of_extractor(found, name) for name in EXTRACTORS]),
        _series("without", [of_control(found, name) for name in EXTRACTORS]),
    ]
    marks = [
        Mark("published", [theirs[name] for name in EXTRACTORS], look="published", of=each.label)
        for theirs, each in zip((WITH, WITHOUT), series, strict=True)
    ]
    return found.figure(
        "Extractors",
        "Accuracy of a new head on the right digit, on the features of both halves, with what was "
        f"learned of clean, uncorrelated pairs and before training. {_seeds(found)}",
        [Bars("", "accuracy (%)", [*EXTRACTORS], series, marks, (0.0, 105.0), numbers=1)],
    )


def heads(found: Found) -> FigureData:
    panels = [
        Bars(
            shown,
            "accuracy (%)",
            [*EXTRACTORS],
            [
                _series(head, [of_extractor(found, name, shown, head) for name in EXTRACTORS])
                for head in SOLVERS
            ],
            limits=(0.0, 105.0),
            numbers=1,
        )
        for shown in INPUTS
    ]
    return found.figure(
        "Heads",
        "The same by what the new head reads, and by its solver: SGD as in the text, and L-BFGS to "
        f"convergence. {_seeds(found)}",
        panels,
    )


def halves(found: Found) -> FigureData:
    series = [
        _series(f"{side} half", [_with_untrained(found, name, side) for name in EXTRACTORS])
        for side in ("left", "right")
    ]
    return found.figure(
        "Halves",
        "Linear CKA (unbiased) of each half's features after training with those of the same half "
        "before training: 1 where training changed nothing but scale and rotation. "
        f"{_seeds(found)}",
        [Bars("", "CKA with untrained", [*EXTRACTORS], series, numbers=2)],
    )


def _with_untrained(found: Found, name: str, side: str) -> list[float]:
    """CKA of a half after training with the same half before, for each seed."""
    maps: list[SimilarityMap] = found[CHANGES[name]]
    return [float(each.select((side,), (side,)).unbiased[0, 0]) for each in maps]


def signals(found: Found) -> FigureData:
    return found.figure(
        "Signals",
        "Bits that the right half adds about whether an image is real or generated, by held-out "
        "cross-entropy: of linear probes on all features, and of the critic's own reading, which "
        "is a number for each half. What the left half leaves open is the most that another can "
        f"add to it. {_seeds(found)}",
        [_bits(found, by) for by in READERS],
    )


def _bits(found: Found, by: str) -> Bars:
    """Bits of the right half alone and given the left one, with what the left one leaves open."""
    words = {"none": "the right half alone", "left": "given the left half"}
    series = [
        _series(words[given], [bits_of(found, name, given, by) for name in PLAYERS])
        for given in GIVEN
    ]
    left_open = [float(np.mean(bits_of(found, name, "left", by, "before"))) for name in PLAYERS]
    most = Mark("open, given the left half", left_open, of=words["left"])
    return Bars(f"read by {by}", "signal (bits)", PLAYERS, series, [most], numbers=2)


def _series(label: str, values: Sequence[Sequence[float]]) -> Series:
    """Bars of means over seeds, with their intervals where there are several seeds."""
    mean, low, high = mean_over(np.transpose(values))
    if np.isnan(low).all():
        return Series(label, mean.tolist())
    return Series(label, mean.tolist(), low.tolist(), high.tolist())


def _seeds(found: Found, intervals: str = ", whiskers 95 % intervals") -> str:
    count = len(found.seeds)
    shown = "One seed" if count == 1 else f"Means of {count} seeds{intervals}"
    return f"{shown}; {found.data}, {found.splits['held_out']}."


FIGURES: tuple[Callable[[Found], FigureData], ...] = (
    figure_1,
    heatmaps,
    extractors,
    heads,
    halves,
    signals,
)
