"""The figures and tables of Grigg et al. (2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim.figures.panels.heatmap import Heatmap
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers.engine import BANDS, Found, mean_line, mean_of, settings_table
from repsim.figures.papers.engine.declared import AnalysisOf
from repsim.figures.papers.grigg2021 import layers as at
from repsim.figures.papers.grigg2021.analyses import (
    ACROSS,
    AUGMENTED,
    CLASSES,
    IDENTIFICATION,
    INVARIANCE,
    INVARIANCE_TO_OWN,
    PROBES,
    WITHIN_SIMCLR,
    WITHIN_SUPERVISED,
)
from repsim.figures.papers.grigg2021.estimators import on_independent_features
from repsim.figures.papers.grigg2021.published import IDENTIFIED
from repsim.figures.papers.grigg2021.runs import NAMES, SIMCLR, SUPERVISED, UNTRAINED
from repsim.results import FigureData, SimilarityMap
from repsim.results.figure import Look


def figure_1(found: Found) -> FigureData:
    return _within(found, "Figure 1", WITHIN_SIMCLR, NAMES[SIMCLR])


def figure_4(found: Found) -> FigureData:
    return _within(found, "Figure 4", WITHIN_SUPERVISED, NAMES[SUPERVISED])


def _within(found: Found, name: str, analysis: AnalysisOf, method: str) -> FigureData:
    """Two networks of a method: all layers, odd and even ones."""
    maps = found[analysis]
    mean = _mean(found, analysis, method, f"other {method}")
    return found.figure(
        name,
        f"{method[0].upper()}{method[1:]} networks from two initialisations: "
        f"linear CKA of all layers, of those that residual blocks add (odd) and of those they "
        f"give (even), {mean_of(len(maps), 'pair')}; {_about(found)}",
        [
            Heatmap.of(at.part(mean, kind), f"{kind} layers", dots=False)
            for kind in ("all", "odd", "even")
        ],
        part="compared",
    )


def figure_2(found: Found) -> FigureData:
    maps = found[ACROSS]
    mean = _mean(found, ACROSS, NAMES[SIMCLR], NAMES[SUPERVISED])
    series = [each for kind in ("even", "odd") for each in _matches(maps, kind)]
    blocks = [layer.removesuffix(".even") for layer in at.part(mean, "even").layers_a]
    return found.figure(
        "Figure 2",
        "SimCLR against supervised training from the same initialisation: linear CKA of what "
        "residual blocks add (odd) and give (even), "
        f"{mean_of(len(maps), 'seed')}; {_about(found)} A dot marks the supervised layer that "
        "is most similar to each of SimCLR's. Right: the diagonals, and the most similar "
        f"layers. {BANDS}",
        [
            *(Heatmap.of(at.part(mean, kind), f"{kind} layers") for kind in ("odd", "even")),
            Lines("", "block", "CKA", blocks, series, ylim=(0, 1)),
        ],
        part="compared",
    )


def _matches(maps: list[SimilarityMap], kind: str) -> list[Line]:
    """Lines of the most similar and of the same layers."""
    parts = [at.part(each, kind) for each in maps]
    best = [np.nanmax(part.unbiased, axis=1) for part in parts]
    return [
        mean_line(f"{kind}, most similar", best, group=kind),
        mean_line(f"{kind}, same layer", [at.same(part) for part in parts], group=kind),
    ]


def figure_3(found: Found) -> FigureData:
    layers = at.probed(found[PROBES[SIMCLR]][0])
    probes = {
        run: [[100 * value for value in at.accuracies(curve, layers)] for curve in found[asked]]
        for run, asked in PROBES.items()
    }
    alike, known = (
        {run: [at.along_depth(each) for each in found[asked]] for run, asked in analyses.items()}
        for analyses in (INVARIANCE, CLASSES)
    )
    return found.figure(
        "Figure 3",
        "What the even layers and the head (SimCLR's projection, the supervised logits) know "
        f"and ignore. Left: accuracy of linear probes on {found.splits['held_out']}, on features "
        "averaged over positions. Middle: linear CKA of two copies of the "
        "images under SimCLR's augmentation, at the same layer. Right: linear CKA with the "
        f"classes. {mean_of(len(found.seeds), 'seed').capitalize()}; {_about(found)} {BANDS}",
        [
            Lines(title, "layer", unit, layers, _methods(values), ylim=(0, top))
            for title, unit, values, top in (
                ("linear probes", "accuracy (%)", probes, 100),
                ("augmentation invariance", "CKA", alike, 1),
                ("classes", "CKA", known, 1),
            )
        ],
        part=None,
    )


def _methods(values: dict[Any, Any]) -> list[Line]:
    """A line for each method."""
    looks: dict[Any, Look] = {UNTRAINED: "control"}
    return [
        mean_line(NAMES[run], each, look=looks.get(run, "line")) for run, each in values.items()
    ]


def figure_5(found: Found) -> FigureData:
    layers = list(at.part(found[ACROSS][0], "even").layers_a)
    return found.figure(
        "Figure 5",
        "Even layers under the augmentations of both methods, read in two ways, since the paper's "
        "own is not known. Left: linear CKA of two copies of the images under the augmentation "
        "that the network was trained with, at the same layer. Right: linear CKA of SimCLR and "
        "supervised networks, at the same layer, on held-out images as they are and under the "
        f"augmentation of either method. {mean_of(len(found.seeds), 'seed').capitalize()}; "
        f"{_about(found)} {BANDS}",
        [
            Lines(title, "layer", "CKA", layers, series, ylim=(0, 1))
            for title, series in (
                ("two copies, own augmentation", _own_copies(found, len(layers))),
                ("one method against the other", _either_augmentation(found)),
            )
        ],
        part="compared",
    )


def _own_copies(found: Found, count: int) -> list[Line]:
    """A line for each method, at so many even layers: the head comes after them."""
    return [
        mean_line(NAMES[run], [at.along_depth(each)[:count] for each in found[analysis]])
        for run, analysis in INVARIANCE_TO_OWN.items()
    ]


def _either_augmentation(found: Found) -> list[Line]:
    shown = {
        "images as they are": ACROSS,
        "SimCLR's augmentation": AUGMENTED[SIMCLR],
        "the supervised augmentation": AUGMENTED[SUPERVISED],
    }
    return [
        mean_line(label, [at.same(at.part(each, "even")) for each in found[analysis]])
        for label, analysis in shown.items()
    ]


def estimators(found: Found) -> FigureData:
    rows = on_independent_features()
    sizes = [f"{row['n']} x {row['p']}" for row in rows]
    series = [
        Line("biased", [row["biased"] for row in rows], look="points"),
        Line("p / (n + p)", [row["limit"] for row in rows], look="published"),
        Line("unbiased", [row["unbiased"] for row in rows], look="points"),
    ]
    return found.figure(
        "Estimators",
        "CKA of two layers of independent Gaussian features, where nothing is shared: the "
        "biased estimator goes to p / (n + p) (examples x features), the unbiased to 0.",
        [Lines("", "examples x features", "CKA", sizes, series, ylim=(-0.05, 1))],
        networks=False,
    )


def layer_identification(found: Found) -> FigureData:
    tables = found[IDENTIFICATION]
    shares = [at.shares(table, IDENTIFIED) for table in tables]
    chance = 100 / len(at.part(found[WITHIN_SIMCLR][0], "even").layers_a)
    series = [
        mean_line("here", shares, networks=found.networks(IDENTIFICATION), look="points"),
        Line("published", list(IDENTIFIED.values()), look="published"),
        Line("chance", [chance] * len(IDENTIFIED), look="chance"),
    ]
    return found.figure(
        "Layer identification",
        "Layers of a SimCLR network whose most similar layer in a network from another "
        "initialisation is their counterpart: even layers, averaged over positions, both "
        f"directions, {mean_of(len(tables), 'pair')}; {found.data} {found.splits['compared']}. "
        "Published: Kornblith et al. (2019), section 6.1, of ten networks of another kind; RBF at "
        "0.8 of the median distance there, at half of it here.",
        [Lines("", "measure", "layers identified (%)", list(IDENTIFIED), series, ylim=(0, 102))],
        part="compared",
    )


def _mean(found: Found, analysis: AnalysisOf, name_a: str, name_b: str) -> SimilarityMap:
    """The mean of the maps of an analysis; the tables of figures have its intervals."""
    networks = found.networks(analysis)
    return SimilarityMap.average(found[analysis], name_a, name_b, networks)


def _about(found: Found) -> str:
    """The images, and the estimator of similarities, for captions."""
    return f"{found.data} {found.splits['compared']}, unbiased."


def settings(found: Found) -> list[dict[str, Any]]:
    return settings_table({NAMES[run]: found.trained(run)[0] for run in (SIMCLR, SUPERVISED)})


FIGURES = (figure_1, figure_2, figure_3, figure_4, figure_5, estimators, layer_identification)
TABLES = {"settings": settings, "estimators": lambda found: on_independent_features()}
