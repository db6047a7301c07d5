"""The figures of Kolesnikov et al. (2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from repsim.figures.panels.lines import Line, Lines
from repsim.figures.panels.matrix import Matrix
from repsim.figures.panels.scatter import Points, Scatter
from repsim.figures.papers.engine import BANDS, Found, mean_line, mean_over
from repsim.figures.papers.kolesnikov2019.analyses import CONTROLS
from repsim.figures.papers.kolesnikov2019.claims import rankings
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS
from repsim.figures.papers.kolesnikov2019.maps import MAPS
from repsim.figures.papers.kolesnikov2019.numbers import (
    PERCEPTRON,
    accuracy,
    base,
    by_epoch,
    by_solver,
    laid_out,
    mean_of,
    pretext,
    shared,
    tasks,
    there,
    untrained,
    widths,
)
from repsim.figures.papers.kolesnikov2019.published import NIN
from repsim.figures.papers.kolesnikov2019.ranks import ranks, taus
from repsim.figures.papers.kolesnikov2019.runs import NETWORKS, SIX, SIZES, Cell
from repsim.figures.papers.kolesnikov2019.schedules import CONVERGED, SGD
from repsim.results import FigureData


def table_3(found: Found) -> FigureData:
    asked = dict.fromkeys((cell.network, cell.width) for cell in laid_out(found))
    rows = sorted(asked, key=lambda row: (list(NETWORKS).index(row[0]), row[1]))
    known = tasks(found)
    values = np.array([[*_row(found, known, row), _before(found, row)] for row in rows])
    return found.figure(
        "Table 3",
        "Accuracy of logistic regression on the representation of frozen networks, by network, "
        "widening factor k and pretext task, with its rank among the networks of the same width. "
        "Last column: networks that see whole images, before training. "
        f"{_seeds(found)} A dash: not laid out at this scale, or not there yet.",
        [
            Matrix(
                "accuracy (%)",
                [f"{network}, k = {width}" for network, width in rows],
                [*known, "untrained"],
                values.tolist(),
                xlabel="pretext task",
                digits=1,
                remarks=_remarks(rows, values),
            )
        ],
    )


def _row(found: Found, known: list[str], row: tuple[str, int]) -> list[float]:
    """Mean accuracies of a network by each task."""
    return [mean_of(found, Cell(task, *row)) for task in known]


def _before(found: Found, row: tuple[str, int]) -> float:
    """Mean accuracy of a network before training; NaN where it is not there."""
    cell = Cell("rotation", *row)
    known = cell in CONTROLS and CONTROLS[cell] in found
    return float(np.mean(untrained(found, cell))) if known else float("nan")


def _remarks(rows: list[tuple[str, int]], values: np.ndarray) -> list[list[str]]:
    """Ranks of the six networks among those of their width, as text below the accuracies."""
    texts = [[""] * values.shape[1] for _ in rows]
    for width in {width for _, width in rows}:
        mine = [k for k, row in enumerate(rows) if row[1] == width and row[0] in SIX]
        for task, column in enumerate(values.T):
            for k, rank in zip(mine, ranks(column[mine].tolist()), strict=True):
                texts[k][task] = f"rank {rank}" if rank and len(mine) > 1 else ""
    return texts


def rankings_figure(found: Found) -> FigureData:
    rows = rankings(found)
    names, networks = tasks(found), shared(found)
    return found.figure(
        "Rankings",
        "Kendall's rank correlation of pretext tasks by how they rank networks, and of networks by "
        f"how they rank tasks, at the smallest width. {_seeds(found)} Small: from the rankings by "
        "means over seeds.",
        [
            _agreement("tasks, over networks", names, rows),
            _agreement("networks, over tasks", networks, rows.transpose(0, 2, 1)),
        ],
    )


def _agreement(title: str, names: list[str], rows: np.ndarray) -> Matrix:
    """Mean tau of each pair of rows over seeds.

    Args:
        title: of the panel.
        names: of the rows.
        rows: (seeds, rows, columns) accuracies.
    """
    each = [_square(names, dict(zip(names, seed, strict=True))) for seed in rows]
    overall = _square(names, dict(zip(names, rows.mean(0), strict=True)))
    return Matrix(
        title,
        names,
        names,
        np.mean(each, axis=0).tolist(),
        centre=0.0,
        limits=(-1.0, 1.0),
        remarks=[[f"{value:.2f}" for value in row] for row in overall],
    )


def _square(names: list[str], rows: dict[str, Any]) -> np.ndarray:
    """Kendall's tau of all pairs of rows, 1 on the diagonal."""
    found = np.eye(len(names))
    for (a, b), value in taus(rows).items():
        i, j = names.index(a), names.index(b)
        found[i, j] = found[j, i] = value
    return found


def depth(found: Found) -> FigureData:
    panels = [_by_depth(found, task) for task in tasks(found)]
    return found.figure(
        "Depth",
        "Accuracy of logistic regression at every tap, by maxima over cells that leave at most "
        f"9,000 features, at the smallest width. {BANDS} VGG's blocks are counted as in the paper, "
        "each the input of a pool.",
        panels,
    )


def _by_depth(found: Found, task: str) -> Lines:
    known = there(found)
    cells = [cell for cell in (Cell(task, name, base(found)) for name in NETWORKS) if cell in known]
    lines = [
        mean_line(cell.network, np.transpose([accuracy(found, cell, tap) for tap in TAPS]))
        for cell in cells
    ]
    return Lines(task, "tap", "accuracy (%)", TAPS, lines)


def nin(found: Found) -> FigureData:
    cell, blocks = Cell("rotation", "NIN"), TAPS[:4]
    ours = [
        mean_line("rotation", np.transpose([accuracy(found, cell, tap) for tap in blocks])),
        mean_line(
            "untrained",
            np.transpose([untrained(found, cell, tap) for tap in blocks]),
            look="control",
        ),
    ]
    theirs = [Line(name, list(values), look="published") for name, values in NIN.items()]
    return found.figure(
        "NIN",
        "Accuracy of logistic regression at the blocks of a network in network of four blocks that "
        f"learned rotation, and before. {BANDS} Published: classifiers of two or three layers, on "
        "all of CIFAR-10.",
        [Lines("", "block", "accuracy (%)", blocks, [*ours, *theirs])],
    )


def linear_and_mlp(found: Found) -> FigureData:
    groups = [
        _points(
            task,
            [cell for cell in there(found) if cell.task == task],
            lambda cell: accuracy(found, cell),
            lambda cell: accuracy(found, cell, solver=PERCEPTRON),
        )
        for task in tasks(found)
    ]
    ends = [value for group in groups for value in (*group.x, *group.values)]
    limits = (min(ends) - 3, max(ends) + 3)
    return found.figure(
        "Linear and MLP",
        "A perceptron with one hidden layer beside logistic regression, on the representation of "
        f"every cell. {_seeds(found)}",
        [Scatter("", "linear (%)", "perceptron (%)", groups, limits, limits, diagonal=True)],
    )


def pretext_and_downstream(found: Found) -> FigureData:
    panels = [
        Scatter(
            task,
            "pretext accuracy (%)",
            "downstream accuracy (%)",
            [
                _points(
                    name,
                    [Cell(task, name, width) for width in widths(found, task, name)],
                    lambda cell: pretext(found, cell),
                    lambda cell: accuracy(found, cell),
                    joined=True,
                )
                for name in SIX
                if widths(found, task, name)
            ],
        )
        for task in tasks(found)
    ]
    return found.figure(
        "Pretext and downstream",
        "Accuracy of the pretext task on held-out images, and of logistic regression on the "
        f"representation. The points of a network are its widths, joined as they rise. "
        f"{_seeds(found)}",
        panels,
    )


def _points(
    label: str,
    cells: list[Cell],
    x: Callable[[Cell], list[float]],
    y: Callable[[Cell], list[float]],
    *,
    joined: bool = False,
) -> Points:
    """Cells by two quantities, with intervals over seeds where there are several."""
    (a, a_low, a_high), (b, b_low, b_high) = (
        mean_over(np.transpose([of(cell) for cell in cells])) for of in (x, y)
    )
    spread = len(x(cells[0])) > 1
    return Points(
        label,
        b.tolist(),
        b_low.tolist() if spread else None,
        b_high.tolist() if spread else None,
        x=a.tolist(),
        x_low=a_low.tolist() if spread else None,
        x_high=a_high.tolist() if spread else None,
        names=[cell.name for cell in cells],
        joined=joined,
    )


def width_and_size(found: Found) -> FigureData:
    across, sizes = SIZES[found.scale] if SIZES[found.scale][0] else SIZES["long"]
    cells = [[Cell("rotation", "RevNet", width, size) for size in sizes] for width in across]
    values = [[mean_of(found, cell) for cell in row] for row in cells]
    accuracy(found, cells[0][0])  # without the thinnest there is nothing to compare with
    return found.figure(
        "Width and size",
        "Accuracy of logistic regression on RevNets of rotation, each trained from scratch, by "
        "widening factor and size of the representation, set by a linear layer. Colours diverge "
        f"from the thinnest with the smallest. {_seeds(found)}",
        [
            Matrix(
                "accuracy (%)",
                [f"k = {width}" for width in across],
                list(map(str, sizes)),
                values,
                xlabel="size of the representation",
                centre=values[0][0],
                digits=1,
            )
        ],
    )


def few_labels(found: Found) -> FigureData:
    names = [name for name in SIX if len(widths(found, "rotation", name)) > 1]
    panels = [_by_labels(found, name) for name in names or ["RevNet"]]
    return found.figure(
        "Few labels",
        "Accuracy of logistic regression on representations of rotation by widening factor, "
        f"learned from shares of the labels of each class. {BANDS}",
        panels,
    )


def _by_labels(found: Found, name: str) -> Lines:
    across = widths(found, "rotation", name)
    lines = [
        mean_line(
            f"{100 * share:g} % of labels",
            np.transpose(
                [accuracy(found, Cell("rotation", name, width), share=share) for width in across]
            ),
        )
        for share in (1.0, 0.1, 0.05)
    ]
    return Lines(name, "widening factor k", "accuracy (%)", [float(k) for k in across], lines)


def schedules(found: Found) -> FigureData:
    lines = [_by_epoch(found, f"first fall after {first}", solver) for first, solver in SGD.items()]
    converged = float(np.mean(by_solver(found, CONVERGED)))
    last = max(len(line.values) for line in lines)
    beside = Line("L-BFGS", [converged] * 2, x=[1.0, float(last)], look="chance")
    return found.figure(
        "Schedules",
        "Accuracy of logistic regression on the representation of the narrowest RevNet of rotation "
        "by epochs of SGD in batches of 2,048, whose rate falls to a tenth after some epochs and "
        f"again 20 later; features are kept, without augmentation. {BANDS} {_seeds(found)}",
        [Lines("", "epoch", "accuracy (%)", [], [*lines, beside])],
    )


def _by_epoch(found: Found, label: str, solver: str) -> Line:
    """The mean accuracy after each epoch of SGD, with its band."""
    values = by_epoch(found, solver)
    return replace(mean_line(label, values), x=[float(k + 1) for k in range(len(values[0]))])


def _seeds(found: Found) -> str:
    count = len(found.seeds)
    shown = "One seed" if count == 1 else f"Means of {count} seeds, whiskers 95 % intervals"
    return f"{shown}; {found.data}, {found.splits['held_out']}."


FIGURES: tuple[Callable[[Any], FigureData], ...] = (
    table_3,
    rankings_figure,
    depth,
    nin,
    linear_and_mlp,
    pretext_and_downstream,
    width_and_size,
    few_labels,
    schedules,
    *MAPS,
)
