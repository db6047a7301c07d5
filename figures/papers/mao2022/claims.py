"""The claims of Mao et al. (2022), with the numbers and bounds that decide them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from repsim.figures.papers.engine import Claim, Found, Judged, Number, exactly, over_seeds, several
from repsim.figures.papers.mao2022.analyses import NULL_SPACES, SHIFTS, SOLVERS
from repsim.figures.papers.mao2022.heads import gaps, of_heads
from repsim.figures.papers.mao2022.published import published
from repsim.figures.papers.mao2022.runs import NAMES, removed_in
from repsim.figures.papers.mao2022.shift import ACROSS, ALONG
from repsim.results import NullSpaceReport, Verdict

Values = list[float]


def words(found: Found) -> Mapping[str, Any]:
    """The largest number of convolutions removed, for the texts of claims."""
    return {"last": removed_in(found)[-1]}


def _reports(found: Found) -> list[NullSpaceReport]:
    last = removed_in(found)[-1]
    return [report for name in NAMES for report in found[NULL_SPACES[name, last]]]


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
        [abs(gap) for gap in gaps(found, head)[0]],
        published=_shown(_theirs(found, head)[:1]),
        note="holds by construction: both are then one network but for their heads",
    )


@over_seeds(
    "2c: classifier ahead, {head}",
    "with no convolution shared, the classifier is the better extractor",
    "C - D in points, {last} removed",
    above=1.0,
)
def classifier_ahead(found: Found, head: str) -> Number:
    return Number(gaps(found, head)[-1], published=_shown(_theirs(found, head)[-1:]))


@over_seeds(
    "2d: the lead grows, {head}",
    "the less is shared, the further the classifier is ahead",
    "Spearman correlation of the number removed and C - D",
    above=0.7,
)
def lead_grows(found: Found, head: str) -> Number:
    removed, theirs = removed_in(found), _theirs(found, head)
    ours = np.transpose(gaps(found, head))
    return Number(
        [_correlation(removed, list(each)) for each in ours],
        published=f"{_correlation(removed, theirs):.2f}" if theirs else "",
    )


@over_seeds(
    "2e: the discriminator serves, {head}",
    "the discriminator is a good extractor all the same",
    "accuracy (%) of new heads on it, mean over numbers removed",
    above=90.0,
    only=("digits", "mnist"),
)
def discriminator_serves(found: Found, head: str) -> Number:
    values = [of_heads(found, "discriminator", each, head) for each in removed_in(found)]
    theirs = published(found.data, "discriminator") if head == "SGD" else []
    return Number(
        list(np.mean(values, axis=0)), published=f"{np.mean(theirs):.2f}" if theirs else ""
    )


def _theirs(found: Found, head: str) -> list[float]:
    """The paper's differences C - D, which are of its own head."""
    return published(found.data, "difference") if head == "SGD" else []


def _shown(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if values else ""


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's; 0 where nothing varies, as of a gap that is the same everywhere."""
    return float(spearmanr(x, y)[0]) if len(set(y)) > 1 else 0.0


# --- null spaces

#: The claims of a null-space report, by name: where they stand in the list of claims, and their
#: statement. The constancy of the ratio is only reported: it holds at an optimum that is not
#: reached.
_NULL_SPACE = {
    "classes in null space": ("2f", "a discriminator's null space has the classes (Corollary 4)"),
    "scatter in row space": ("2g", "classes scatter less in the classifier's row space"),
    "Theorems 2-3": ("2g", "within a class the row part moves along the all-ones direction"),
    "gap in row space": ("2h", "real and generated images differ along the row space"),
    "Theorem 1": ("2h", "what noise does to the features lies in the row space"),
    "constant ratio": ("2i", "the discriminator sees all real images alike (Corollaries 1 to 4)"),
}


@several("2f to 2i: null spaces", "claims of the null-space reports")
def on_null_spaces(found: Found) -> Iterator[Claim]:
    """The claims of the reports, over seeds: by the distance of each number from its bound."""
    cases: dict[tuple[str, ...], list[Verdict]] = {}
    for report in _reports(found):
        for each in report.claims:
            key = (each.claim, each.quantity, each.part, each.group)
            cases.setdefault(key, []).append(each)
    for (name, quantity, part, group), found_there in cases.items():
        number, statement = _NULL_SPACE[name]
        where = "" if group in ("all", "clean") else f", {group}"
        side = found_there[0].side if number != "2i" else None
        declare = over_seeds(
            f"{number}: {name}",
            statement,
            f"{quantity.replace('_', ' ')}, {part}{where}: distance from its bound",
            above=0.0 if side == "above" else None,
            below=0.0 if side == "below" else None,
            beside=0.0 if side is None else None,
        )
        yield declare(distance).of(cases=found_there)


def distance(found: Found, cases: Sequence[Verdict]) -> Number:
    """Distances from the bound, with the numbers themselves in the note."""
    held = sum(case.verdict == "supported" for case in cases)
    value, bound = (np.mean([getattr(case, key) for case in cases]) for key in ("value", "against"))
    return Number(
        [case.value - case.against for case in cases],
        note=f"mean {value:.4g}, to be {cases[0].side} {bound:.4g}; supported by "
        f"its own interval, over images, in {held} of {len(cases)} seeds",
    )


ON_SHARING = (alike_when_shared, classifier_ahead, lead_grows, discriminator_serves)
CLAIMS: tuple[Judged, ...] = (
    head_sees_no_null_space,
    parts_add_up,
    softmax_ignores_all_ones,
    softmax_sees_the_rest,
    *(claim.of(head=head) for head in SOLVERS.values() for claim in ON_SHARING),
    on_null_spaces,
)
