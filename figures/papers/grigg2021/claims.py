"""The claims of Grigg et al. (2021), with the numbers and bounds that decide them."""

from __future__ import annotations

import numpy as np

from repsim.figures.papers.engine import (
    Found,
    Number,
    Run,
    exactly,
    over_seeds,
    rank_correlation,
)
from repsim.figures.papers.grigg2021 import layers as at
from repsim.figures.papers.grigg2021.analyses import (
    ACROSS,
    CLASSES,
    IDENTIFICATION,
    INVARIANCE,
    PROBES,
    WITHIN_SIMCLR,
)
from repsim.figures.papers.grigg2021.estimators import (
    changes_by_rotation,
    distance_of_one_batch,
    on_independent_features,
)
from repsim.figures.papers.grigg2021.published import IDENTIFIED
from repsim.figures.papers.grigg2021.runs import NAMES, SIMCLR, SUPERVISED

Values = list[float]


def _same(found: Found, kind: str) -> list[np.ndarray]:
    """CKA of the same layers of SimCLR and supervised training."""
    return [at.same(at.part(each, kind)) for each in found[ACROSS]]


def _middle(found: Found) -> list[int]:
    return at.middle(at.part(found[ACROSS][0], "even").layers_a)


@over_seeds(
    "4a: odd layers differ",
    "SimCLR and supervised: what blocks give is alike, what they add is not",
    "mean CKA of same layers in groups 2 and 3, even minus odd",
    above=0.1,
)
def odd_layers_differ(found: Found) -> Values:
    middle = _middle(found)
    pairs = zip(_same(found, "even"), _same(found, "odd"), strict=True)
    return [even[middle].mean() - odd[middle].mean() for even, odd in pairs]


@over_seeds(
    "4b: alike at first",
    "SimCLR and supervised begin alike",
    "CKA at the first even layer",
    above=0.8,
)
def alike_at_first(found: Found) -> Values:
    return [even[0] for even in _same(found, "even")]


@over_seeds(
    "4b: rapid divergence",
    "SimCLR and supervised part rapidly in the last layers",
    "of the whole fall of CKA at same even layers, the share within the last group",
    above=0.5,
)
def rapid_divergence(found: Found) -> Values:
    layers = _layers(found)
    return [at.share_of_fall(even, layers) for even in _same(found, "even")]


@over_seeds(
    "4b: late divergence",
    "SimCLR and supervised part in the last layers",
    "highest CKA at even layers of groups 2 and 3, minus that at the last",
    above=0.2,
)
def late_divergence(found: Found) -> Values:
    return [even[_middle(found)].max() - even[-1] for even in _same(found, "even")]


def _layers(found: Found) -> list[str]:
    """The even layers; the head, which is probed as well, comes after them."""
    return at.probed(found[PROBES[SIMCLR]][0])[:-1]


def _invariances(found: Found, run: Run) -> list[np.ndarray]:
    """CKA of two augmented copies at the even layers."""
    return [at.along_depth(each)[: len(_layers(found))] for each in found[INVARIANCE[run]]]


def _with_classes(found: Found, run: Run) -> list[np.ndarray]:
    """CKA with the classes at the even layers."""
    return [at.along_depth(each)[: len(_layers(found))] for each in found[CLASSES[run]]]


@over_seeds(
    "4c: invariance against supervised",
    "SimCLR's last layer is more invariant to augmentation than supervised training's",
    "invariance at the last even layer, SimCLR minus supervised",
    above=0.0,
)
def invariance_against_supervised(found: Found) -> Values:
    pairs = zip(_invariances(found, SIMCLR), _invariances(found, SUPERVISED), strict=True)
    return [ours[-1] - theirs[-1] for ours, theirs in pairs]


@over_seeds(
    "4c: invariance comes late",
    "SimCLR's invariance is highest late",
    "SimCLR's invariance at the last even layer, minus its mean in groups 2 and 3",
    above=0.0,
)
def invariance_comes_late(found: Found) -> Values:
    middle = at.middle(_layers(found))
    return [each[-1] - each[middle].mean() for each in _invariances(found, SIMCLR)]


@over_seeds(
    "4d: supervised ends at the classes",
    "supervised training's last layer is far closer to the classes than SimCLR's",
    "CKA with the classes at the last even layer, supervised minus SimCLR",
    above=0.2,
)
def supervised_ends_at_the_classes(found: Found) -> Values:
    pairs = zip(_with_classes(found, SIMCLR), _with_classes(found, SUPERVISED), strict=True)
    return [theirs[-1] - ours[-1] for ours, theirs in pairs]


@over_seeds(
    "4d: SimCLR nears the classes",
    "SimCLR comes closer to the classes with depth",
    "CKA with the classes, last even layer minus first",
    above=0.0,
)
def simclr_nears_the_classes(found: Found) -> Values:
    return [each[-1] - each[0] for each in _with_classes(found, SIMCLR)]


@over_seeds(
    "4e: {method} probes rise",
    "linear probes are the more accurate the deeper the layer",
    "Spearman correlation of depth and accuracy over even layers",
    above=0.8,
)
def probes_rise(found: Found, run: Run, method: str) -> Values:
    layers = _layers(found)
    curves = [at.accuracies(curve, layers) for curve in found[PROBES[run]]]
    return [rank_correlation(range(len(layers)), each) for each in curves]


@over_seeds(
    "4f: layers identified",
    "CKA finds the counterpart of a layer in a network from another initialisation",
    "even layers of SimCLR identified (%), unbiased linear CKA of whole maps",
    above=70.0,
)
def layers_identified(found: Found) -> Number:
    maps = [at.part(each, "even").unbiased for each in found[WITHIN_SIMCLR]]
    both_ways = [[at.share_identified(each), at.share_identified(each.T)] for each in maps]
    return Number(
        [100 * float(np.mean(shares)) for shares in both_ways],
        networks=found.networks(WITHIN_SIMCLR),
        published=f"{IDENTIFIED['cka-biased']:.1f}",
        note="published: biased linear CKA, ten networks of ten layers without shortcuts",
    )


@over_seeds(
    "4f: CKA above CCA",
    "linear CKA finds counterparts that CCA does not",
    "layers identified (%) on averaged features, linear CKA minus CCA",
    above=0.0,
)
def cka_above_cca(found: Found) -> Number:
    shares = [at.shares(table, ("cka", "cca")) for table in found[IDENTIFICATION]]
    return Number(
        [cka - cca for cka, cca in shares],
        networks=found.networks(IDENTIFICATION),
        published=f"{IDENTIFIED['cka-biased'] - IDENTIFIED['cca']:.1f}",
        note="published: as above",
    )


@exactly(
    "4g: biased estimator",
    "on independent features the biased estimator is near p / (n + p)",
    "largest distance from it, 4 sizes, means of ten draws",
    below=0.01,
    networks=False,
)
def biased_estimator(found: Found) -> Values:
    return [abs(row["biased"] - row["limit"]) for row in on_independent_features()]


@exactly(
    "4g: unbiased estimator",
    "on independent features the unbiased estimator is near 0",
    "largest distance from 0, 4 sizes, means of ten draws",
    below=0.02,
    networks=False,
)
def unbiased_estimator(found: Found) -> Values:
    return [abs(row["unbiased"]) for row in on_independent_features()]


@exactly(
    "4g: invariance of CKA",
    "linear CKA does not change with rotation and scale",
    "largest change",
    below=1e-6,
    networks=False,
)
def invariance_of_cka(found: Found) -> Values:
    return changes_by_rotation()


@exactly(
    "4g: one batch",
    "minibatch CKA of one batch is the unbiased estimator",
    "largest difference",
    below=1e-6,
    networks=False,
)
def one_batch(found: Found) -> Values:
    return distance_of_one_batch()


@over_seeds(
    "4h: SimCLR fits the classes",
    "SimCLR's intermediate layers come to fit the supervised objective",
    "SimCLR's CKA with the classes, last even layer of group 3 minus first of group 1",
    above=0.0,
)
def simclr_fits_the_classes(found: Found) -> Values:
    layers = _layers(found)
    return [at.rise(each, layers) for each in _with_classes(found, SIMCLR)]


@over_seeds(
    "4h: supervised does not fit invariance",
    "supervised intermediate layers do not come to fit SimCLR's objective",
    "supervised invariance to SimCLR's augmentation, last even layer of group 3 minus first of "
    "group 1",
    below=0.0,
)
def supervised_does_not_fit_invariance(found: Found) -> Values:
    layers = _layers(found)
    return [at.rise(each, layers) for each in _invariances(found, SUPERVISED)]


CLAIMS = (
    odd_layers_differ,
    alike_at_first,
    rapid_divergence,
    late_divergence,
    invariance_against_supervised,
    invariance_comes_late,
    supervised_ends_at_the_classes,
    simclr_nears_the_classes,
    *(probes_rise.of(run=run, method=NAMES[run]) for run in (SIMCLR, SUPERVISED)),
    layers_identified,
    cka_above_cca,
    biased_estimator,
    unbiased_estimator,
    invariance_of_cka,
    one_batch,
    simclr_fits_the_classes,
    supervised_does_not_fit_invariance,
)
