"""The figures of Donahue et al. (2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from repsim.figures.panels.bars import Bars, Mark
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.panels.matrix import Matrix
from repsim.figures.papers.donahue2017.analyses import (
    BESIDE,
    BESIDE_CONV,
    FILTERS,
    INVERSIONS,
    SEVERAL,
    SEVERAL_CONV,
    SHEETS,
    STRIPS,
)
from repsim.figures.papers.donahue2017.numbers import (
    TRAINED,
    by_epoch,
    frozen,
    frozen_layers,
    linear,
    nearest,
    on_scenes,
    ratios,
    scenes_by_chance,
)
from repsim.figures.papers.donahue2017.published import (
    FROZEN,
    FROZEN_AFTER,
    LOG_NEAREST,
    NEAREST,
    VOC,
    VOC_COLUMNS,
)
from repsim.figures.papers.donahue2017.runs import (
    BIGAN,
    BIGAN_CONV,
    COMPLEX,
    CONVOLVED,
    FLAT,
    METHODS,
    SCENES,
    UNTRAINED,
    UNTRAINED_CONV,
)
from repsim.figures.papers.engine import BANDS, Found, mean_line, mean_over, only
from repsim.figures.papers.engine.declared import AnalysisOf, Run
from repsim.figures.series import Series
from repsim.results import FigureData, SimilarityMap


@only(*FLAT)
def figure_1(found: Found) -> FigureData:
    return _discriminator(found, "Figure 1", BIGAN)


@only("cifar10")
def figure_1_photographs(found: Found) -> FigureData:
    return _discriminator(found, "Figure 1", BIGAN_CONV)


def _discriminator(found: Found, name: str, run: Run) -> FigureData:
    """The logged joint discriminator beside its optimum."""
    columns = {"(x, E(x))": "d_encoded", "(G(z), z)": "d_generated"}
    lines = [mean_line(label, by_epoch(found, run, key)) for label, key in columns.items()]
    epochs = [float(epoch) for epoch in by_epoch(found, run, "epoch")[0]]
    half = Line("optimum", [0.5] * len(epochs), look="chance")
    return found.figure(
        name,
        "The joint discriminator while a BiGAN is trained: its mean for pairs of the encoder and "
        f"of the generator. At the optimum both are one half, for then no pair tells. {BANDS}",
        [Lines("", "epoch", "D", epochs, [*lines, half], ylim=(0.0, 1.0))],
        part="trained",
    )


@only(*FLAT)
def figure_2(found: Found) -> FigureData:
    return _strips(found, "Figure 2", BIGAN)


@only(*CONVOLVED)
def figure_3(found: Found) -> FigureData:
    return _filters(found, "Figure 3", BIGAN_CONV)


@only(*FLAT)
def filters(found: Found) -> FigureData:
    return _filters(found, "Filters", BIGAN)


def _filters(found: Found, name: str, run: Run) -> FigureData:
    return found.figure(
        name,
        "Filters of a BiGAN's networks beside the images, those of the largest norm: the first "
        "layer of discriminator (D) and encoder (E), the last one of the generator (G). Each is "
        "scaled by its largest weight.",
        found[FILTERS[run]][0].panels,
        part="trained",
    )


@only(*CONVOLVED)
def figure_4(found: Found) -> FigureData:
    return _strips(found, "Figure 4", BIGAN_CONV)


def _strips(found: Found, name: str, run: Run) -> FigureData:
    (panel,) = found[STRIPS[run]][0].panels
    return found.figure(
        name,
        "Images that a BiGAN generates from noise, real ones, and below each what encoder and "
        "generator make of it again.",
        [replace(panel, title="")],
        part="shown",
    )


@only(*FLAT)
def table_1(found: Found) -> FigureData:
    names = [*METHODS, "untrained"]
    theirs = {**NEAREST, "untrained": LOG_NEAREST[0]}
    series = _series("1NN", [nearest(found, name) for name in names])
    mark = Mark("published", [theirs[name] for name in names], look="published")
    return found.figure(
        "Table 1",
        "Accuracy of the nearest neighbour by Euclidean distance on the second hidden layer. "
        f"{_seeds(found)} Published of the untrained network: the authors' log before epoch 1.",
        [Bars("", "accuracy (%)", names, [series], [mark], (0.0, 105.0), numbers=1)],
    )


@only(*FLAT)
def inversion(found: Found) -> FigureData:
    words = {"images": "x", "generated": "G(z)", "codes": "z"}
    names = list(INVERSIONS)
    series = [
        _series(label, [_ratio(found, name, of) for name in names]) for of, label in words.items()
    ]
    return found.figure(
        "Inversion",
        "Distance of images x, generated images G(z) and noise z to what encoder and generator "
        "make of them again, over the distance to what they make of others: 1 where it says "
        "nothing. "
        f"{_seeds(found)}",
        [Bars("", "error / shuffled", names, series, numbers=2)],
    )


def _ratio(found: Found, name: str, of: str) -> list[float]:
    """Ratios of errors for each seed; NaN of autoencoders, which have no noise."""
    return ratios(found, name, of) or [float("nan")] * len(found.seeds)


@only(*FLAT)
def similarity(found: Found) -> FigureData:
    return _similarity(found, "Similarity", BESIDE)


@only(*CONVOLVED)
def similarity_photographs(found: Found) -> FigureData:
    return _similarity(found, "Similarity photographs", BESIDE_CONV)


def _similarity(found: Found, name: str, pairs: Mapping[tuple[str, str], Any]) -> FigureData:
    return found.figure(
        name,
        "Linear CKA (unbiased) of the layers of a BiGAN's encoder (E) and of a GAN's discriminator "
        "(D), with each other, with the same network by labels, and with themselves before "
        f"training; mean over seeds, not in the paper. {found.data}, {found.splits['held_out']}.",
        [_matrix(found[compared], *labels) for labels, compared in pairs.items()],
    )


def _matrix(maps: Sequence[SimilarityMap], a: str, b: str) -> Matrix:
    first = maps[0]
    mean = np.mean([each.unbiased for each in maps], axis=0)
    return Matrix(
        f"{a}, {b}",
        list(first.layers_a),
        list(first.layers_b),
        mean.tolist(),
        xlabel=b,
        ylabel=a,
        limits=(0.0, 1.0),
    )


@only(*FLAT)
def neighbours(found: Found) -> FigureData:
    return _sheet(found, "Neighbours", (BIGAN, UNTRAINED))


@only(*CONVOLVED)
def figure_5(found: Found) -> FigureData:
    return _sheet(found, "Figure 5", (BIGAN_CONV, UNTRAINED_CONV))


def _sheet(found: Found, name: str, runs: Sequence[Run]) -> FigureData:
    titles = ("BiGAN", "before training")
    panels = [
        replace(found[SHEETS[run]][0].panels[0], title=title)
        for run, title in zip(runs, titles, strict=True)
    ]
    return found.figure(
        name,
        "Images x above the four nearest to them, the nearest first, by Euclidean distance of the "
        f"encoder's features among {found.splits['probed']}, which hold none of them.",
        panels,
        part="shown",
    )


@only(*CONVOLVED)
def table_2(found: Found) -> FigureData:
    layers = frozen_layers(found)
    ours = [
        mean_line("BiGAN", frozen(found, trained=True)),
        mean_line("random", frozen(found, trained=False), look="control"),
    ]
    theirs = [
        Line(name, list(FROZEN[name]), look="control" if name == "random" else "line")
        for name in ("BiGAN", "random")
    ]
    return found.figure(
        "Table 2",
        "Accuracy with all layers up to each one frozen, and the others trained on labels, from a "
        f"BiGAN's encoder and from one before training. {BANDS} Right: published, on ImageNet.",
        [
            Lines("ours", "frozen up to", "accuracy (%)", layers, ours),
            Lines("published, ImageNet", "frozen up to", "accuracy (%)", FROZEN_AFTER, theirs),
        ],
    )


@only(*CONVOLVED)
def photographs(found: Found) -> FigureData:
    names = list(COMPLEX)
    series = _series("linear probe", [linear(found, name) for name in names])
    return found.figure(
        "Photographs",
        "Accuracy of a linear probe on the last features of the convolutional extractors. "
        f"{_seeds(found)}",
        [Bars("", "accuracy (%)", names, [series], numbers=1)],
    )


@only(*FLAT)
def table_3(found: Found) -> FigureData:
    return _scenes(found, "Table 3", SEVERAL)


@only(*CONVOLVED)
def table_3_photographs(found: Found) -> FigureData:
    return _scenes(found, "Table 3 convolutions", SEVERAL_CONV)


def _scenes(found: Found, name: str, several: Mapping[str, AnalysisOf]) -> FigureData:
    names = list(several)
    values = [on_scenes(found, several, each) for each in names]
    ours = [_series(label, [each[k] for each in values]) for k, label in enumerate(TRAINED)]
    by_chance = scenes_by_chance(found, several)
    chance = Mark("chance", [by_chance] * len(names), look="chance")
    nothing = (float("nan"),) * len(VOC_COLUMNS)
    theirs = [
        Series(label, [VOC.get(each, nothing)[k] for each in names])
        for k, label in enumerate(TRAINED)
    ]
    return found.figure(
        name,
        "An analogue of the classification of PASCAL VOC: mean average precision on scenes of "
        f"several objects each ({SCENES[found.data]}, {found.splits['held_out_scenes']}), of a "
        "classifier alone, with the last layers, and with all layers trained. "
        f"{_of_seeds(found)}. Right: published, fc8, fc6-8 and all, on PASCAL VOC 2007, whose "
        "classes, images and chance are others.",
        [
            Bars("ours", "mAP (%)", names, ours, [chance], (0.0, 105.0)),
            Bars("published, PASCAL VOC 2007", "mAP (%)", names, theirs, (), (0.0, 105.0)),
        ],
        part=None,
    )


def _series(label: str, values: Sequence[Sequence[float]]) -> Series:
    """Bars of means over seeds, with their intervals where there are several seeds."""
    mean, low, high = mean_over(np.transpose(values))
    if np.isnan(low).all():
        return Series(label, mean.tolist())
    return Series(label, mean.tolist(), low.tolist(), high.tolist())


def _seeds(found: Found) -> str:
    return f"{_of_seeds(found)}; {found.data}, {found.splits['held_out']}."


def _of_seeds(found: Found) -> str:
    count = len(found.seeds)
    return "One seed" if count == 1 else f"Means of {count} seeds, whiskers 95 % intervals"


FIGURES: tuple[Callable[[Any], FigureData], ...] = (
    figure_1,
    figure_1_photographs,
    figure_2,
    filters,
    table_1,
    inversion,
    similarity,
    neighbours,
    figure_3,
    figure_4,
    figure_5,
    similarity_photographs,
    table_2,
    photographs,
    table_3,
    table_3_photographs,
)
