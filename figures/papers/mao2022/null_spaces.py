"""Claims of Mao et al. (2022) about null spaces, where the least is shared.

The discriminator's row space is one direction of 128. That such a direction holds little of the
classes is nearly unfalsifiable, as it is true of random ones; and any working discriminator has a
direction along which real and generated images lie apart. Bounds are therefore on contrasts, and on
what probes read from everything else.
"""

from __future__ import annotations

from collections.abc import Iterator

from repsim.figures.papers.engine import (
    Claim,
    Found,
    Judged,
    Number,
    exactly,
    over_seeds,
    several,
)
from repsim.figures.papers.engine.findings import with_interval
from repsim.figures.papers.engine.found import Missing
from repsim.figures.papers.mao2022.analyses import NULL_SPACES
from repsim.figures.papers.mao2022.runs import removed_in
from repsim.nullspace.verdicts import (
    COMPACT,
    NULL_LOSS,
    NULL_TELLS,
    ROW_LOSS,
    SAME_CALLS,
    distance,
)
from repsim.results import NullSpaceEntry, NullSpaceReport

Values = list[float]

D, C = "discriminator", "classifier"


def reports_of(found: Found, name: str) -> list[NullSpaceReport]:
    """The reports of an extractor with the least shared, a report for each seed."""
    reports: list[NullSpaceReport] = found[NULL_SPACES[name, removed_in(found)[-1]]]
    return reports


def entries_of(
    found: Found, name: str, quantity: str, part: str, group: str = "all"
) -> list[NullSpaceEntry]:
    """An entry of each of those reports.

    Raises:
        Missing: one of them lacks it.
    """
    entries = [report.find(quantity, part, group) for report in reports_of(found, name)]
    there = [entry for entry in entries if entry is not None]
    if len(there) < len(entries):
        raise Missing(
            f"{quantity}, {part}, {group} was not measured: it is undefined, or the result is of "
            "an earlier release"
        )
    return there


def values_of(
    found: Found, name: str, quantity: str, part: str, group: str = "all", scale: float = 1
) -> Values:
    """The values of these entries."""
    return [scale * entry.value for entry in entries_of(found, name, quantity, part, group)]


def noises_in(found: Found, name: str) -> list[str]:
    """The noises whose share in the row space of an extractor was measured."""
    return [
        entry.group
        for entry in reports_of(found, name)[0].entries
        if (entry.quantity, entry.part) == ("noise_share", "row")
    ]


# --- the discriminator that is reported, and the one that was trained

#: The groups of entries of real and of generated images.
_SIDES = {"real": "all", "generated": "generated"}


@exactly(
    "2k: {images} images",
    "what is reported of the discriminator is the discriminator that was trained",
    "called real as reported and as trained: largest distance in points, {images} images",
    below=100 * SAME_CALLS,
)
def as_trained(found: Found, images: str) -> Values:
    return _distances(found, images)


@over_seeds(
    "2k: {images} images called real",
    "the last step may find either side ahead",
    "{images} images that D calls real, in per cent",
)
def called_real(found: Found, images: str) -> Values:
    return values_of(found, D, "called_real", "full", _SIDES[images], 100)


def _distances(found: Found, images: str) -> Values:
    entries = entries_of(found, D, "called_real_difference", "full", _SIDES[images])
    return [100 * distance(each).value for each in entries]


def if_trained(found: Found, values: Values) -> Number:
    """The number of a claim on the discriminator, which is open where 2k does not hold."""
    try:
        off = [each for images in _SIDES for each in _distances(found, images)]
    except Missing:
        why = "it is not known if this is the discriminator that was trained"
        return Number(values, note=why, settles=False)
    if max(off) < 100 * SAME_CALLS:
        return Number(values)
    why = f"not the discriminator that was trained: its calls are {max(off):.3g} points apart"
    return Number(values, note=why, settles=False)


# --- Corollary 4

_SEES_NO_CLASSES = (
    "what the discriminator's head sees holds less of the classes than would be so anyway "
    "(Corollary 4)"
)


@over_seeds(
    "2f: less than random directions",
    _SEES_NO_CLASSES,
    "accuracy of a probe on D's row space minus on random directions, in points",
    below=0.0,
)
def less_than_random(found: Found) -> Values:
    return values_of(found, D, "probe_difference", "row - random", "clean", 100)


@over_seeds(
    "2f: less than before training",
    _SEES_NO_CLASSES,
    "accuracy of a probe on D's row space minus the same of the untrained network, in points",
    below=0.0,
)
def less_than_untrained(found: Found) -> Values:
    return [
        100 * (each.value - each.control) for each in entries_of(found, D, "probe", "row", "clean")
    ]


@over_seeds(
    "2f: the row space reads",
    "the head's direction holds little of the classes, as nearly any direction does",
    "accuracy (%) of a probe on D's row space",
    beside=35.0,
)
def row_reads(found: Found) -> Values:
    return values_of(found, D, "probe", "row", "clean", 100)


@over_seeds(
    "2f: the null space loses",
    "all others hold the classes, as nearly any of so many do",
    "accuracy that a probe on D's null space loses against all features, in points",
    beside=100 * NULL_LOSS,
)
def null_loses(found: Found) -> Values:
    return values_of(found, D, "probe_difference", "full - null", "clean", 100)


# --- Proposition 6, Theorems 2 and 3


@over_seeds(
    "2g: scatter in row space",
    "classes scatter less in the classifier's row space",
    "log of within / between scatter in C's row space over the same in its null space",
    below=0.0,
)
def scatter_in_row_space(found: Found) -> Values:
    return values_of(found, C, "scatter_log_ratio", "row - null", "generated")


@over_seeds(
    "2g: Theorems 2-3",
    "but for the all-ones direction the row part of a class is compact",
    "within / between scatter of C's row part without A⁺1, over the same of its null part",
    below=COMPACT,
)
def compact_without_ones(found: Found) -> Values:
    return values_of(found, C, "scatter_quotient", "row without ones / null", "generated")


@over_seeds(
    "2g: along the all-ones direction",
    "a class may move along the all-ones direction; nothing says that it does",
    "share of the scatter within classes of C's row part along A⁺1",
)
def along_ones(found: Found) -> Values:
    return values_of(found, C, "ones_share", "row", "generated")


# --- Theorem 1

_EXCLUDED = "the difference of real and generated images is excluded from the null space"


@over_seeds(
    "2h: the null space tells nothing",
    _EXCLUDED,
    "real or generated: accuracy (%) of a probe on D's null space",
    below=100 * NULL_TELLS,
)
def null_tells_nothing(found: Found) -> Number:
    return if_trained(found, values_of(found, D, "real_fake_probe", "null", scale=100))


@over_seeds(
    "2h: the row space tells all",
    _EXCLUDED,
    "real or generated: accuracy that a probe on D's row space loses against all features, in "
    "points",
    below=100 * ROW_LOSS,
)
def row_tells_all(found: Found) -> Number:
    return if_trained(found, values_of(found, D, "real_fake_difference", "full - row", scale=100))


@over_seeds(
    "2h: the null space, seen alike",
    "a probe may read the side off the batch statistics",
    "real or generated: accuracy (%) of a probe on D's null space, both with the statistics of "
    "real images",
)
def null_seen_alike(found: Found) -> Values:
    return values_of(found, D, "real_fake_probe", "null", "alike", 100)


@over_seeds(
    "2h: the same before training",
    "a probe on features that nothing was learned for tells some as well",
    "real or generated: accuracy (%) of a probe on the untrained network's null space, both with "
    "the statistics of real images",
)
def null_before_training(found: Found) -> Values:
    return [100 * each.control for each in entries_of(found, D, "real_fake_probe", "null", "alike")]


@over_seeds(
    "2h: the row space, seen alike",
    "a probe may read the side off the batch statistics",
    "real or generated: accuracy that a probe on D's row space loses against all features, in "
    "points, both with the statistics of real images",
)
def row_seen_alike(found: Found) -> Values:
    return values_of(found, D, "real_fake_difference", "full - row", "alike", 100)


@over_seeds(
    "2h: all features tell",
    "there is a difference to exclude",
    "real or generated: accuracy (%) of a probe on all features of D",
)
def features_tell(found: Found) -> Values:
    return values_of(found, D, "real_fake_probe", "full", scale=100)


@over_seeds(
    "2h: gap in row space",
    "real and generated images differ along the row space, as of any working discriminator",
    "distance of the means along D's row space, in standard deviations",
)
def gap_in_row_space(found: Found) -> Values:
    return values_of(found, D, "gap", "row")


@several("2h: noise", "what noise does to the features lies in the row space")
def on_noise(found: Found) -> Iterator[Claim]:
    """The share of each noise in the row space, raw and about its mean beside each other."""
    for noise in noises_in(found, D):
        yield noise_in_row_space.of(noise=noise, centred=_centred(found, noise))


@over_seeds(
    "2h: noise, {noise}",
    "what noise does to the features lies in the row space",
    "share of its energy in D's row space; about its mean: {centred}",
)
def noise_in_row_space(found: Found, noise: str, centred: str) -> Values:
    return values_of(found, D, "noise_share", "row", noise)


def _centred(found: Found, noise: str) -> str:
    """The mean share of a noise about its mean, in words."""
    try:
        values = values_of(found, D, "noise_share_centred", "row", noise)
    except Missing:
        return "not measured"
    return with_interval(*Number(values).interval())


# --- Corollaries 1 to 4

_ALIKE = "the discriminator sees all real images alike, at an optimum that is not reached"


@over_seeds(
    "2i: scatter of the row space",
    _ALIKE,
    "centred share of the energy of real images in D's row space, times d: 1 of any direction",
    beside=1.0,
)
def row_scatter(found: Found) -> Values:
    return [
        report.value("energy_centred", "row") / report.chance for report in reports_of(found, D)
    ]


@over_seeds(
    "2i: the same before training",
    _ALIKE,
    "centred share in the row space of the untrained network, times d",
    beside=1.0,
)
def row_scatter_before(found: Found) -> Number:
    chance = [report.chance for report in reports_of(found, D)]
    entries = entries_of(found, D, "energy_centred", "row")
    return Number([each.control / share for each, share in zip(entries, chance, strict=True)])


@over_seeds(
    "2i: variation of α",
    _ALIKE,
    "coefficient of variation of α = p_g / p_r over real images",
)
def alpha_varies(found: Found) -> Values:
    return values_of(found, D, "alpha_cv", "row")


ON_NULL_SPACES: tuple[Judged, ...] = (
    *(claim.of(images=images) for images in _SIDES for claim in (as_trained, called_real)),
    less_than_random,
    less_than_untrained,
    row_reads,
    null_loses,
    scatter_in_row_space,
    compact_without_ones,
    along_ones,
    null_tells_nothing,
    row_tells_all,
    null_seen_alike,
    null_before_training,
    row_seen_alike,
    features_tell,
    gap_in_row_space,
    on_noise,
    row_scatter,
    row_scatter_before,
    alpha_varies,
)
