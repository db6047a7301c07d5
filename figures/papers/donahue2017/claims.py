"""The claims of Donahue et al. (2017), with the numbers and bounds that decide them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from repsim.figures.papers.donahue2017.numbers import frozen, frozen_layers, linear, nearest, ratios
from repsim.figures.papers.donahue2017.published import (
    FROZEN,
    LOG_GENERATED,
    LOG_IMAGES,
    LOG_NEAREST,
    NEAREST,
)
from repsim.figures.papers.donahue2017.runs import CONVOLVED, FLAT, METHODS
from repsim.figures.papers.engine import Found, Judged, Number, over_seeds, rank_correlation

#: Epochs of each update: those of the authors' log that bounds are of, and by scale our own where
#: they are fewer.
THEIRS, OURS = 25, {"small": 5}

_TINY = "networks of scale tiny are of a few hundred digits, and show only that everything works"


def of_trained(found: Found, number: Number) -> Number:
    """A number of networks that are trained for long: at smaller scales it decides less.

    Of shorter training it can support a claim, but not refute it; at ``tiny`` it says nothing.
    """
    if found.scale == "tiny":
        return _noted(number, _TINY, settles=False)
    if found.scale not in OURS:
        return number
    ours = f"after {OURS[found.scale]} epochs of each update"
    return _noted(number, f"{ours}; the bound is of networks after {THEIRS}", refutes=False)


def of_converged(found: Found, number: Number) -> Number:
    """A number of networks that have converged, which those of smaller scales have not."""
    if found.scale == "tiny":
        return _noted(number, _TINY, settles=False)
    if found.scale not in OURS:
        return number
    ours = f"after {OURS[found.scale]} epochs of each update"
    return _noted(number, f"{ours}; the claim is of networks that have converged", settles=False)


def _noted(number: Number, note: str, **changed: Any) -> Number:
    return replace(number, note="; ".join(filter(None, (number.note, note))), **changed)


@over_seeds(
    "3a: nearest neighbours",
    "a BiGAN's features put digits beside those of their class",
    "accuracy (%) of the nearest neighbour",
    above=95.5,
    only=FLAT,
)
def neighbours(found: Found) -> Number:
    note = f"{LOG_NEAREST[25]} after 25 epochs in the authors' log"
    return of_trained(found, Number(nearest(found, "BiGAN"), f"{NEAREST['BiGAN']}", note))


@over_seeds(
    "3b: the methods are equal on digits",
    "all six methods serve about as well",
    "accuracy (%) of the best method less that of the worst",
    below=2.0,
    only=FLAT,
)
def equal(found: Found) -> Number:
    of_each = [nearest(found, name) for name in METHODS]
    theirs = max(NEAREST.values()) - min(NEAREST.values())
    return of_converged(found, Number(list(np.ptp(of_each, axis=0)), f"{theirs:.2f}"))


@over_seeds(
    "3c: the encoder inverts the generator, real images",
    "G(E(x)) is x",
    "mean distance of x to G(E(x)) over the distance to others'",
    below=0.85,
    only=FLAT,
)
def real_again(found: Found) -> Number:
    theirs = f"{LOG_IMAGES[25]}"
    number = Number(ratios(found, "BiGAN", "images"), theirs, "theirs after 25 epochs")
    return of_trained(found, number)


@over_seeds(
    "3c: the encoder inverts the generator, generated images",
    "G(E(G(z))) is G(z)",
    "mean distance of G(z) to G(E(G(z))) over the distance to others'",
    below=0.75,
    only=FLAT,
)
def generated_again(found: Found) -> Number:
    theirs = f"{LOG_GENERATED[25]}"
    number = Number(ratios(found, "BiGAN", "generated"), theirs, "theirs after 25 epochs")
    return of_trained(found, number)


@over_seeds(
    "3c: before training, {of}",
    "an untrained encoder inverts nothing",
    "distance of the ratio from 1",
    below=0.05,
    only=FLAT,
)
def inverts_nothing(found: Found, of: str) -> Number:
    values = [abs(1 - ratio) for ratio in ratios(found, "untrained", of)]
    return Number(values, "0.00" if of == "images" else "")


@over_seeds(
    "3d: freezing costs",
    "the more layers are frozen, the lower the accuracy",
    "Spearman correlation of accuracy and the number of frozen layers",
    below=-0.7,
    only=CONVOLVED,
)
def freezing_costs(found: Found) -> Number:
    values = [rank_correlation(range(len(each)), each) for each in frozen(found, trained=True)]
    return of_trained(found, Number(values, "-1"))


@over_seeds(
    "3d: random layers cost more",
    "an untrained network falls faster",
    "points that it loses from the first frozen layer to the last, less those of the BiGAN",
    above=0.0,
    only=CONVOLVED,
)
def random_falls_faster(found: Found) -> Number:
    lost = {
        trained: np.array([each[1] - each[-1] for each in frozen(found, trained=trained)])
        for trained in (True, False)
    }
    theirs = [FROZEN[name][0] - FROZEN[name][-1] for name in ("random", "BiGAN")]
    ours = list(lost[False] - lost[True])
    return of_trained(found, Number(ours, f"{theirs[0] - theirs[1]:.1f}"))


@over_seeds(
    "3d: what was learned is in the last convolution too",
    "a BiGAN's convolutions serve better than random ones, frozen to the last",
    "points at the last convolution, BiGAN less untrained",
    above=5.0,
    only=CONVOLVED,
)
def last_gap(found: Found) -> Number:
    place = frozen_layers(found).index("features")
    ours = [
        a[place] - b[place]
        for a, b in zip(frozen(found, trained=True), frozen(found, trained=False), strict=True)
    ]
    theirs = f"{FROZEN['BiGAN'][-1] - FROZEN['random'][-1]:.1f}"
    return of_trained(found, Number(ours, theirs))


@over_seeds(
    "3e: complex images",
    "on photographs a BiGAN's features serve better than those of LR and D",
    "accuracy (%) of a linear probe, BiGAN less the better of both",
    above=-1.0,
    only=CONVOLVED,
)
def complex_images(found: Found) -> Number:
    better = np.max([linear(found, "LR"), linear(found, "D")], axis=0)
    return of_trained(found, Number(list(np.subtract(linear(found, "BiGAN"), better))))


@over_seeds(
    "3f: random features",
    "an untrained encoder's features are not much worse by nearest neighbours",
    "accuracy (%) of the nearest neighbour before training",
    only=FLAT,
)
def random_features(found: Found) -> Number:
    return Number(nearest(found, "untrained"), f"{LOG_NEAREST[0]}", "before epoch 1 of their log")


CLAIMS: tuple[Judged, ...] = (
    neighbours,
    equal,
    real_again,
    generated_again,
    *(inverts_nothing.of(of=of) for of in ("images", "generated", "codes")),
    freezing_costs,
    random_falls_faster,
    last_gap,
    complex_images,
    random_features,
)
