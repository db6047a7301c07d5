"""The figures of Mao et al. (2022)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from torch import nn

from repsim.figures.nullspace import bars_figure, noise_figure, strips_figure
from repsim.figures.panels.diagram import ELLIPSIS, Diagram
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers.engine import Found, mean_line
from repsim.figures.papers.mao2022.analyses import HEADS, SHIFTS
from repsim.figures.papers.mao2022.heads import (
    CONVERGED,
    PAPERS,
    SOLVER_OF,
    entry_of,
    gaps,
    of_controls,
    of_heads,
)
from repsim.figures.papers.mao2022.null_spaces import reports_of
from repsim.figures.papers.mao2022.published import published
from repsim.figures.papers.mao2022.runs import MGAN, NAMES, removed_in
from repsim.figures.papers.mao2022.shift import ACROSS, ALONG
from repsim.networks.describe import describe
from repsim.networks.families.dcgan import LATENT
from repsim.results import FigureData, NullSpaceReport
from repsim.training.method import Method

#: A box of a diagram: its label, and a note below it.
Box = dict[str, Any]


def figure_2(found: Found) -> FigureData:
    first, *_, last = removed_in(found)
    methods = {removed: found.trained(MGAN[removed])[0].run.build() for removed in (first, last)}
    return found.figure(
        "Figure 2",
        "The networks as built. Left: generators with a first layer each and all others in "
        "common. Middle and right: discriminator and classifier that share all convolutions, "
        f"and with {last} removed.",
        [
            _generators(methods[last].networks["generator"]),
            *(_extractors(method, removed) for removed, method in methods.items()),
        ],
        part=None,
    )


def _generators(generator: nn.Module) -> Diagram:
    first, *trunk = describe(generator, (LATENT,))
    common = [{**_box(row), "shared": True} for row in trunk]
    one = [{"label": f"noise, {LATENT}"}, _box(first), *common]
    others = [{"label": ELLIPSIS}, {"label": ELLIPSIS}, *common]
    return Diagram.of(f"one of {first['copies']} generators", [one, others])


def _extractors(method: Method, removed: int) -> Diagram:
    columns = [_extractor(method, name, 4 - removed) for name in NAMES]
    return Diagram.of(f"extractors, {removed} removed", columns)


def _extractor(method: Method, name: str, shared: int) -> list[Box]:
    """The boxes of a network; its first ``shared`` convolutions are shared."""
    *rows, head = describe(method.networks[name], method.spec.shape)
    channels, height, width = method.spec.shape
    ending = "sigmoid" if name == "discriminator" else "softmax"
    return [
        {"label": f"images, {channels} x {height} x {width}", "shared": True},
        *({**_box(row), "shared": k < shared} for k, row in enumerate(rows)),
        {"label": f"linear, {head['outputs']}", "note": ending},
        {"label": name},
    ]


def _box(row: dict[str, Any]) -> Box:
    """A layer as a box of a diagram."""
    operation = {"TransposedConv": "TConv"}.get(row["operation"], row["operation"])
    parts = (row["normalisation"], row["activation"])
    return {
        "label": f"{operation} {row['kernel']}, {row['outputs']}",
        "note": ", ".join(part for part in parts if part != "none"),
    }


def figure_3(found: Found) -> FigureData:
    removed = removed_in(found)
    curves = {key: _histories(found, *key) for key in product(NAMES, removed)}
    converged = {key: _mean_of_converged(found, *key) for key in curves}
    ends = _ends([*curves.values(), *converged.values()])
    epochs = list(range(1, 1 + len(next(iter(curves.values()))[0])))
    panels = [
        Lines(
            f"{count} removed",
            "epoch",
            "accuracy (%)",
            epochs,
            [
                line
                for name in NAMES
                for line in _learning(name, curves[name, count], converged[name, count])
            ],
            ylim=ends,
        )
        for count in removed
    ]
    return found.figure(
        "Figure 3",
        "Held-out accuracy of a new head on the frozen features of discriminator (D) and "
        "classifier (C) after each epoch of its training by SGD, the paper's, and thin of a head "
        "that has converged, by the number of convolutions that the two no longer share. "
        f"{_seeds(found)}",
        panels,
    )


def _histories(found: Found, name: str, removed: int) -> list[list[float]]:
    """Accuracies of the paper's head on an extractor after each epoch, for each seed."""
    entries = [entry_of(curve, SOLVER_OF[PAPERS]) for curve in found[HEADS[name, removed]]]
    return [[100 * value for value in entry.history] for entry in entries]


def _mean_of_converged(found: Found, name: str, removed: int) -> float:
    return float(np.mean(of_heads(found, name, removed, CONVERGED)))


def _ends(accuracies: Sequence[Any]) -> tuple[float, float]:
    """Ends of an axis: five points beyond the accuracies, within 0 to 100."""
    shown = np.concatenate([np.ravel(each) for each in accuracies])
    return max(0.0, shown.min() - 5), min(100.0, shown.max() + 5)


def _learning(name: str, curves: Sequence[Sequence[float]], converged: float) -> list[Line]:
    """The lines of an extractor: the paper's head over its epochs, and a converged one."""
    label = NAMES[name]
    level = [converged] * len(curves[0])
    return [
        mean_line(f"{label}, {PAPERS}", curves, group=label),
        Line(f"{label}, {CONVERGED}", level, look="reference", group=label),
    ]


def table_2(found: Found) -> FigureData:
    x = [float(each) for each in removed_in(found)]
    return found.figure(
        "Table 2",
        "Held-out accuracy of new heads on the frozen features of discriminator (D) and "
        "classifier (C), by the number of convolutions that the two no longer share, and how "
        "far the classifier is ahead. Heads are logistic regression to convergence (L-BFGS), "
        f"which the verdicts are on, and the paper's (SGD, 20 epochs). {_seeds(found)}",
        [
            Lines("", "convolutions removed", "accuracy (%)", x, _accuracies(found)),
            Lines("", "convolutions removed", "C - D (points)", x, _differences(found)),
        ],
    )


def _accuracies(found: Found) -> list[Line]:
    removed = removed_in(found)
    ours = [
        mean_line(
            f"{label}, {head}",
            np.transpose([of_heads(found, name, each, head) for each in removed]),
            group=label,
        )
        for head in (CONVERGED, PAPERS)
        for name, label in NAMES.items()
    ]
    control = np.repeat(np.array(of_controls(found, CONVERGED))[:, None], len(removed), 1)
    theirs = {f"{label}, published": published(found.data, name) for name, label in NAMES.items()}
    return [
        *ours,
        mean_line(f"untrained D, {CONVERGED}", control, look="control"),
        *(Line(label, values, look="published") for label, values in theirs.items() if values),
    ]


def _differences(found: Found) -> list[Line]:
    theirs = published(found.data, "difference")
    return [
        *(mean_line(head, np.transpose(gaps(found, head))) for head in (CONVERGED, PAPERS)),
        *([Line("published", theirs, look="published")] if theirs else []),
    ]


def softmax_shift(found: Found) -> FigureData:
    tables = found[SHIFTS[removed_in(found)[-1]]]
    series = [
        mean_line(direction, [_log10(table.column(direction)) for table in tables])
        for direction in (ALONG, ACROSS)
    ]
    return found.figure(
        "Softmax shift",
        "What shifts of the classifier's features do to its probabilities: along the direction "
        "that changes all logits alike, and along one of the row space at right angles to it. "
        f"{_seeds(found)}",
        [
            Lines(
                "",
                "log10 of the shift, in norms of the mean feature",
                "log10 of the largest\nchange of a probability",
                _log10(tables[0].column("shift")),
                series,
            )
        ],
    )


def null_space(found: Found) -> FigureData:
    return _of_reports(
        found,
        bars_figure(list(_reports(found).values())),
        "Null space",
        "Energy of the features in the null space of the head, and accuracy of probes of "
        f"the classes, and of real against generated images, on each part; {_least(found)}. "
        "Whiskers are 95 % intervals over images, diamonds the untrained network.",
    )


def examples(found: Found, name: str) -> FigureData:
    return _of_reports(
        found,
        strips_figure(_reports(found)[name]),
        f"Null space {name} examples",
        "Share of each example's energy in the null space (dotted: 1 - rank / d), and its "
        f"score: the {name}, {_least(found)}.",
    )


def noise(found: Found, name: str) -> FigureData:
    return _of_reports(
        found,
        noise_figure(_reports(found)[name]),
        f"Null space {name} noise",
        "How much of what noise does to the features the head sees, as it is and about its "
        f"mean (centred), and what probes still read: the {name}, {_least(found)}. "
        "Bands are 95 % intervals over images, grey dashes the untrained network.",
    )


def _of_reports(found: Found, drawn: FigureData, name: str, caption: str) -> FigureData:
    """A figure of reports, with the words of the paper."""
    heading = found.heading(drawn.heading or found.data)
    return replace(drawn, name=name, caption=found.caption(caption), heading=heading)


def _reports(found: Found) -> dict[str, NullSpaceReport]:
    """The reports of the first seed with the least shared, by the name of the network."""
    return {name: replace(reports_of(found, name)[0], name=name) for name in NAMES}


def _least(found: Found) -> str:
    """Words for captions on the networks of the reports."""
    return f"{removed_in(found)[-1]} convolutions removed, first seed"


def _log10(values: Sequence[float]) -> list[float]:
    """Base-10 logarithms; NaN of 0."""
    return [math.log10(value) if value > 0 else math.nan for value in values]


def _seeds(found: Found) -> str:
    count = len(found.seeds)
    shown = "Mean of 1 seed" if count == 1 else f"Mean of {count} seeds, with 95 % intervals"
    return f"{shown}; {found.data}, {found.splits['held_out']}."


FIGURES: tuple[Callable[[Found], FigureData], ...] = (
    figure_2,
    figure_3,
    table_2,
    softmax_shift,
    null_space,
    *(partial(make, name=name) for name in NAMES for make in (examples, noise)),
)
