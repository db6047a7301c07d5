"""The claims of Mao et al. (2022), with the numbers and bounds that decide them.

Verdicts on new heads are on heads by L-BFGS, which have converged. The paper's own, by SGD, are
reported beside them: where features are small, they test its learning rate more than the features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from repsim.figures.papers.engine import (
    Claim,
    Found,
    Judged,
    Number,
    exactly,
    over_seeds,
    rank_correlation,
)
from repsim.figures.papers.engine.findings import Judgement, Side
from repsim.figures.papers.mao2022.analyses import SHIFTS
from repsim.figures.papers.mao2022.heads import CONVERGED, PAPERS, by_removed, gap, gaps
from repsim.figures.papers.mao2022.null_spaces import ON_NULL_SPACES, reports_of
from repsim.figures.papers.mao2022.published import published
from repsim.figures.papers.mao2022.runs import NAMES, removed_in
from repsim.figures.papers.mao2022.shift import ACROSS, ALONG
from repsim.results import NullSpaceReport

Values = list[float]


def words(found: Found) -> Mapping[str, Any]:
    """The largest number of convolutions removed, for the texts of claims."""
    return {"last": removed_in(found)[-1]}


def _reports(found: Found) -> list[NullSpaceReport]:
    return [report for name in NAMES for report in reports_of(found, name)]


def _shifts(found: Found, direction: str) -> list[list[float]]:
    """Changes of a probability by shifts of growing length, for each seed."""
    return [table.column(direction) for table in found[SHIFTS[removed_in(found)[-1]]]]


# --- algebra


@exactly(
    "2a: the head sees no null space",
    "A f_n = 0 (Propositions 4 and 5)",
    "largest |A f_n| relative to |A| |f|",
    below=1e-5,
)
def head_sees_no_null_space(found: Found) -> Values:
    return [report.residual for report in _reports(found)]


@exactly(
    "2a: parts add up",
    "row and null parts are orthogonal and add up",
    "largest distance from 1 of the sum of their energies",
    below=1e-5,
)
def parts_add_up(found: Found) -> Values:
    return [
        abs(1 - report.value("energy", "row") - report.value("energy", "null"))
        for report in _reports(found)
    ]


@exactly(
    "2b: softmax ignores the all-ones direction",
    "a shift along A⁺1 changes no probability (Proposition 7)",
    "largest change, shifts up to 10 norms of the mean feature",
    below=1e-6,
)
def softmax_ignores_all_ones(found: Found) -> Values:
    return [max(changes) for changes in _shifts(found, ALONG)]


@exactly(
    "2b: and nothing else of the row space",
    "a shift at right angles to it does change them",
    "largest change by a shift of 10 norms, in the seed where it is least",
    above=1e-3,
)
def softmax_sees_the_rest(found: Found) -> Values:
    return [changes[-1] for changes in _shifts(found, ACROSS)]


# --- sharing


@exactly(
    "2c: alike when all is shared, {head}",
    "with all convolutions shared, both extractors serve a new head alike",
    "largest |C - D| in points, none removed",
    below=0.5,
)
def alike_when_shared(found: Found, head: str) -> Number:
    return Number(
        [abs(each) for each in gap(found, removed_in(found)[0], head)],
        published=_theirs(found, head, "difference", lambda row: row[0], "g"),
        note="holds by construction: both are then one network but for their heads",
    )


@over_seeds(
    "2c: classifier ahead, {head}",
    "with no convolution shared, the classifier is the better extractor",
    "C - D in points, {last} removed",
    above=1.0,
)
def classifier_ahead(found: Found, head: str) -> Number:
    return Number(
        gap(found, removed_in(found)[-1], head),
        published=_theirs(found, head, "difference", lambda row: row[-1], "g"),
    )


@over_seeds(
    "2d: the lead grows, {head}",
    "the less is shared, the further the classifier is ahead",
    "Spearman correlation of the number removed and C - D",
    above=0.7,
)
def lead_grows(found: Found, head: str) -> Number:
    grows = partial(_correlation, removed_in(found))
    return Number(
        [grows(list(each)) for each in np.transpose(gaps(found, head))],
        published=_theirs(found, head, "difference", grows),
    )


@over_seeds(
    "2e: the discriminator serves, {head}",
    "the discriminator is a good extractor all the same",
    "accuracy (%) of new heads on it, mean over numbers removed",
    above=90.0,
    only=("digits", "mnist"),
)
def discriminator_serves(found: Found, head: str) -> Number:
    return Number(
        list(by_removed(found, "discriminator", head).mean(0)),
        published=_theirs(found, head, "discriminator", np.mean),
    )


@over_seeds(
    "2j: the classifier keeps its accuracy, {head}",
    "however little is shared, the classifier serves about as well",
    "best minus worst accuracy of C, in points, over numbers removed",
    below=1.0,
)
def classifier_keeps(found: Found, head: str) -> Number:
    return Number(
        list(np.ptp(by_removed(found, "classifier", head), axis=0)),
        published=_theirs(found, head, "classifier", np.ptp),
    )


@over_seeds(
    "2j: the discriminator falls, {head}",
    "with every convolution that is not shared, the discriminator serves worse",
    "largest change of D's accuracy, in points, from one number removed to the next",
    below=0.0,
)
def discriminator_falls(found: Found, head: str) -> Number:
    return Number(
        list(np.diff(by_removed(found, "discriminator", head), axis=0).max(0)),
        published=_theirs(found, head, "discriminator", lambda row: np.diff(row).max()),
    )


@over_seeds(
    "2j: least sharing is never best, {extractor}, {head}",
    "an extractor is not at its best where the least is shared",
    "accuracy of the {extractor} with {last} removed minus the mean of the others, in points",
    below=0.0,
)
def least_sharing_is_not_best(found: Found, head: str, extractor: str) -> Number:
    # The best of the others would be ahead by chance: of five equal ones in four cases of five.
    ours = by_removed(found, extractor, head)
    return Number(
        list(ours[-1] - ours[:-1].mean(0)),
        published=_theirs(found, head, extractor, lambda row: row[-1] - np.mean(row[:-1])),
    )


def _theirs(
    found: Found,
    head: str,
    quantity: str,
    number: Callable[[list[float]], Any],
    form: str = ".2f",
) -> str:
    """A number from the paper's row of a quantity, formatted; empty unless heads are its own."""
    row = published(found.data, quantity) if head == PAPERS else []
    return format(number(row), form) if row else ""


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 for a gap that is the same everywhere."""
    return rank_correlation(x, y) if len(set(y)) > 1 else 0.0


def beside(claim: Claim) -> Claim:
    """The number of a claim, reported without a verdict."""

    def reported(number: Number, side: Side | None, bound: float) -> Judgement:
        return replace(claim.judge(number, claim.side, claim.bound), verdict="reported")

    return replace(claim, side=None, judge=reported)


def _both_heads(claim: Claim) -> tuple[Claim, Claim]:
    """A claim by converged heads, and the numbers of the paper's own beside it."""
    return claim.of(head=CONVERGED), beside(claim.of(head=PAPERS))


ON_SHARING = (
    alike_when_shared,
    classifier_ahead,
    lead_grows,
    discriminator_serves,
    classifier_keeps,
    discriminator_falls,
    *(least_sharing_is_not_best.of(extractor=name) for name in NAMES),
)
CLAIMS: tuple[Judged, ...] = (
    head_sees_no_null_space,
    parts_add_up,
    softmax_ignores_all_ones,
    softmax_sees_the_rest,
    *(each for claim in ON_SHARING for each in _both_heads(claim)),
    *ON_NULL_SPACES,
)
