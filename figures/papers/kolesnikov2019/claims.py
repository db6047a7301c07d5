"""The claims of Kolesnikov et al. (2019), with the numbers and bounds that decide them."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from repsim.figures.papers.engine import (
    Found,
    Judged,
    Number,
    exactly,
    over_seeds,
    rank_correlation,
)
from repsim.figures.papers.engine.found import Missing
from repsim.figures.papers.kolesnikov2019.analyses import COMPARED
from repsim.figures.papers.kolesnikov2019.evaluation import TAPS
from repsim.figures.papers.kolesnikov2019.numbers import (
    LINEAR,
    PERCEPTRON,
    accuracy,
    base,
    by_seed,
    by_solver,
    inverse_errors,
    pretext,
    shared,
    tasks,
    there,
    untrained,
)
from repsim.figures.papers.kolesnikov2019.ranks import tau, taus
from repsim.figures.papers.kolesnikov2019.runs import SIX, SIZES, TASKS, Cell
from repsim.figures.papers.kolesnikov2019.schedules import CONVERGED, SGD


def _wide(found: Found, network: str) -> tuple[Cell, Cell]:
    """A network of rotation at the smallest width, and four times as wide."""
    width = base(found)
    return Cell("rotation", network, width), Cell("rotation", network, 4 * width)


@over_seeds(
    "1a: width helps, {network}",
    "the wider a network, the better its representation",
    "accuracy (%) of rotation features four times as wide, less the narrow ones'",
    above=2.0,
)
def width_helps(found: Found, network: str) -> list[float]:
    narrow, wide = _wide(found, network)
    return list(np.subtract(accuracy(found, wide), accuracy(found, narrow)))


@over_seeds(
    "1b: size helps a thin network",
    "a larger representation helps, whatever the width",
    "accuracy (%) of thin RevNets of rotation with eight times the size, less the small one's",
    above=2.0,
)
def size_helps(found: Found) -> Number:
    widths, sizes = SIZES[found.scale] if SIZES[found.scale][0] else SIZES["long"]
    small, large = (Cell("rotation", "RevNet", widths[0], times * sizes[0]) for times in (1, 8))
    gains = np.subtract(accuracy(found, large), accuracy(found, small))
    return Number(list(gains), "12", "theirs from 31 to 43 % on ImageNet, a thin network")


def _fall(found: Found, network: str) -> list[float]:
    """Points from the best tap of a network of rotation to the last."""
    cell = Cell("rotation", network, base(found))
    each = np.array([accuracy(found, cell, tap) for tap in TAPS])
    return list(each.max(0) - each[-1])


_BEST_NOTE = "the best of five taps is a little above each one's mean"


@over_seeds(
    "1c: {network} degrades towards the end",
    "features of networks without skip connections are best in the middle",
    "accuracy (%) at the best tap less the last, of rotation",
    above=5.0,
)
def degrades(found: Found, network: str) -> Number:
    return Number(_fall(found, network), note=_BEST_NOTE)


@over_seeds(
    "1c: {network} does not degrade",
    "features of networks with skip connections rise to the end",
    "accuracy (%) at the best tap less the last, of rotation",
    below=2.0,
)
def keeps_up(found: Found, network: str) -> Number:
    return Number(_fall(found, network), note=_BEST_NOTE)


@over_seeds(
    "1c: rotation teaches the NIN's second block",
    "rotation teaches more than an untrained network knows (Gidaris et al. 2018)",
    "accuracy (%) at the second block, trained less untrained",
    above=10.0,
)
def nin_learns(found: Found) -> list[float]:
    cell, tap = Cell("rotation", "NIN"), "block2"
    return list(np.subtract(accuracy(found, cell, tap), untrained(found, cell, tap)))


@over_seeds(
    "1d: pretext accuracy ranks widths, {network}",
    "within an architecture, pretext and downstream accuracy go together",
    "Spearman correlation of both over widths, of rotation",
    above=0.5,
)
def ranks_widths(found: Found, network: str) -> list[float]:
    cells = [Cell("rotation", network, times * base(found)) for times in (1, 2, 4)]
    learned = np.transpose([pretext(found, cell) for cell in cells])
    rows = by_seed(found, cells)
    return [rank_correlation(a, b) for a, b in zip(learned, rows, strict=True)]


@over_seeds(
    "1d: pretext accuracy does not choose the network, {task}",
    "across architectures, pretext accuracy does not tell the best representation",
    "accuracy (%) of the network that is best, less that of the best at the pretext task",
    above=0.0,
)
def does_not_choose(found: Found, task: str) -> Number:
    cells = _of_task(found, task)
    learned = np.array([np.mean(pretext(found, cell)) for cell in cells])
    rows = by_seed(found, cells)
    best, chosen = int(rows.mean(0).argmax()), int(learned.argmax())
    note = f"{cells[best].network} is best, {cells[chosen].network} at the pretext task"
    return Number(list(rows[:, best] - rows[:, chosen]), note=f"{task}: {note}")


def _of_task(found: Found, task: str) -> list[Cell]:
    """The cells of a task at the smallest width, those of the six networks that are there."""
    known = there(found)
    cells = [cell for cell in (Cell(task, name, base(found)) for name in SIX) if cell in known]
    if len(cells) < 2:
        raise Missing(f"it needs two networks of {task}, which {_more(found)}")
    return cells


def _more(found: Found) -> str:
    if found.scale == "small":
        return "scale small does not lay out; --scale long has them"
    return "are not there yet"


@over_seeds(
    "1e: a linear probe suffices, gain",
    "a perceptron reads only marginally more",
    "accuracy (%) of a perceptron less that of logistic regression, mean over the grid",
    below=3.0,
)
def linear_suffices(found: Found) -> list[float]:
    gains = [
        np.subtract(accuracy(found, cell, solver=PERCEPTRON), accuracy(found, cell))
        for cell in there(found)
    ]
    return list(np.mean(gains, axis=0))


@over_seeds(
    "1e: a linear probe suffices, ranks",
    "both rank representations alike",
    "Spearman correlation of both over the grid",
    above=0.8,
)
def ranks_alike(found: Found) -> Number:
    cells = there(found)
    linear, other = (
        np.transpose([accuracy(found, cell, solver=solver) for cell in cells])
        for solver in (LINEAR, PERCEPTRON)
    )
    values = [rank_correlation(a, b) for a, b in zip(linear, other, strict=True)]
    return Number(values, note=f"over {len(cells)} cells")


@over_seeds(
    "1f: SGD is slow, late fall",
    "the later the rate falls, the better the probe",
    "accuracy (%) by SGD whose rate falls first after 480 epochs, less after 30",
    above=0.0,
)
def late_fall_helps(found: Found) -> list[float]:
    return list(np.subtract(by_solver(found, SGD[480]), by_solver(found, SGD[30])))


@over_seeds(
    "1f: SGD is slow, L-BFGS",
    "L-BFGS is no worse than SGD on the short schedule",
    "accuracy (%) by L-BFGS, less by SGD whose rate falls first after 30 epochs",
    above=-0.3,
)
def converges(found: Found) -> list[float]:
    return list(np.subtract(by_solver(found, CONVERGED), by_solver(found, SGD[30])))


def rankings(found: Found) -> np.ndarray:
    """Accuracies (seeds, tasks, networks) at the smallest width, of the networks of all tasks."""
    names, width = shared(found), base(found)
    if len(tasks(found)) < 2 or len(names) < 2:
        raise Missing(f"it needs two tasks of two networks, which {_more(found)}")
    return np.stack(
        [by_seed(found, [Cell(task, name, width) for name in names]) for task in tasks(found)], 1
    )


def _lowest(rows: np.ndarray) -> float:
    """The lowest tau of two tasks, of accuracies (tasks, networks)."""
    return min(taus({str(k): row for k, row in enumerate(rows)}).values())


@over_seeds(
    "1g: rankings of networks differ between tasks",
    "no network is best at all tasks",
    "the lowest Kendall correlation of two tasks over networks",
    below=1.0,
)
def rankings_differ(found: Found) -> Number:
    note = (
        f"over {len(shared(found))} networks; noise alone makes it less than 1, see the next line"
    )
    return Number([_lowest(rows) for rows in rankings(found)], note=note)


@over_seeds(
    "1g: they differ more than between seeds",
    "the same, beside rankings of one task by networks of other seeds (ours)",
    "mean Kendall correlation of one task's rankings of two seeds, less that of two tasks'",
    above=0.0,
)
def differ_beyond_noise(found: Found) -> Number:
    rows, pairs = rankings(found), list(combinations(found.seeds, 2))
    if not pairs:
        raise Missing("it needs pairs of seeds; ask for --seeds 3")
    values = [disagreement(rows[a], rows[b]) for a, b in pairs]
    return Number(values, networks=[(f"seed {a}", f"seed {b}") for a, b in pairs])


def disagreement(rows: np.ndarray, others: np.ndarray) -> float:
    """Mean tau of a task's rankings by two seeds, less that of two tasks' by the same seeds.

    Args:
        rows: accuracies (tasks, networks) of a seed.
        others: of another seed.
    """
    found = np.array([[tau(row, other) for other in others] for row in rows])
    same = np.eye(len(rows), dtype=bool)
    return float(found[same].mean() - found[~same].mean())


@over_seeds(
    "1h: width helps with a tenth of the labels, {network}",
    "the wider a network, the better its representation, with few labels too",
    "accuracy (%) with 10 % of the labels, four times as wide less narrow",
    above=0.0,
)
def width_helps_with_few(found: Found, network: str) -> list[float]:
    narrow, wide = _wide(found, network)
    return list(np.subtract(accuracy(found, wide, share=0.1), accuracy(found, narrow, share=0.1)))


@exactly(
    "1i: RevNets can be inverted",
    "the input of a group of units follows from its output",
    "largest relative error of a group's inverse",
    below=1e-4,
)
def invertible(found: Found) -> list[float]:
    return inverse_errors(found)


CLAIMS: tuple[Judged, ...] = (
    *(width_helps.of(network=name) for name in COMPARED),
    size_helps,
    degrades.of(network="VGG"),
    *(keeps_up.of(network=name) for name in ("RevNet", "ResNet v2")),
    nin_learns,
    *(ranks_widths.of(network=name) for name in COMPARED),
    *(does_not_choose.of(task=task) for task in TASKS),
    linear_suffices,
    ranks_alike,
    late_fall_helps,
    converges,
    rankings_differ,
    differ_beyond_noise,
    *(width_helps_with_few.of(network=name) for name in COMPARED),
    invertible,
)
