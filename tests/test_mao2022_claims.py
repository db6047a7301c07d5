"""Claims of Mao et al.: what decides, what stands beside, and what was not measured."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from sample_results import number, probed, report

from repsim.figures.papers.engine.findings import Finding
from repsim.figures.papers.engine.found import Missing
from repsim.figures.papers.mao2022.analyses import HEADS, NULL_SPACES, SOLVERS
from repsim.figures.papers.mao2022.claims import ON_SHARING, beside
from repsim.figures.papers.mao2022.heads import CONVERGED, PAPERS
from repsim.figures.papers.mao2022.null_spaces import ON_NULL_SPACES
from repsim.figures.papers.mao2022.published import published
from repsim.figures.papers.mao2022.runs import NAMES
from repsim.results import NullSpaceEntry, ProbeCurve

SEEDS, REMOVED = 3, range(5)
RISING = [94.0, 94.5, 95.0, 95.5, 96.0]


@dataclass
class Results:
    """Stands for what a reproduction found."""

    made: Mapping[Any, list[Any]]
    data: str = "mnist"
    seeds: Sequence[int] = range(SEEDS)
    words: dict[str, Any] = field(default_factory=lambda: {"last": 4})

    def __getitem__(self, analysis: Any) -> list[Any]:
        if analysis not in self.made:
            raise Missing(f"it needs {analysis.name}, which was not made")
        return self.made[analysis]

    def __contains__(self, analysis: Any) -> bool:
        return analysis in self.made


def judged(claims: Sequence[Any], found: Results) -> dict[str, Finding]:
    """Findings by the name of the claim, as a reproduction judges them."""
    findings: list[Finding] = []
    for line in claims:
        for claim in line.cases(found):
            try:
                findings += claim.findings(found)
            except Missing as error:
                findings += claim.undecided(found, str(error))
    return {each.claim: each for each in findings}


# --- sharing


def with_heads(accuracies: Mapping[tuple[str, str], Sequence[float]]) -> Results:
    """Accuracies (%) by extractor and head, one by number removed; seeds differ a little."""
    moved = np.random.default_rng(0).normal(scale=0.02, size=(SEEDS, len(REMOVED)))
    made = {}
    for name in NAMES:
        for removed in REMOVED:
            made[HEADS[name, removed]] = [
                curve(
                    {
                        solver: accuracies[name, head][removed] / 100 + moved[seed, removed] / 100
                        for solver, head in SOLVERS.items()
                    }
                )
                for seed in range(SEEDS)
            ]
    return Results(made)


def curve(accuracies: Mapping[str, float]) -> ProbeCurve:
    entries = [
        probed("mgan", "features", 0, value, solver=solver) for solver, value in accuracies.items()
    ]
    return ProbeCurve(entries, classes=10, n_train=80, n_test=20, solver="lbfgs")


def on_sharing(found: Results) -> dict[str, Finding]:
    both = [
        each
        for claim in ON_SHARING
        for each in (claim.of(head=CONVERGED), beside(claim.of(head=PAPERS)))
    ]
    return judged(both, found)


def test_a_reproduction_under_way_judges_what_is_there() -> None:
    whole = with_heads({(name, head): RISING for name in NAMES for head in (CONVERGED, PAPERS)})
    last = {HEADS[name, 4]: whole[HEADS[name, 4]] for name in NAMES}
    found = on_sharing(Results(last))
    ahead = found[f"2c: classifier ahead, {CONVERGED}"]
    assert ahead.verdict == on_sharing(whole)[ahead.claim].verdict == "not supported"
    for name in ("2c: alike when all is shared", "2d: the lead grows"):
        assert found[f"{name}, {CONVERGED}"].verdict == "undecided"


PUBLISHED = {name: published("mnist", name) for name in NAMES}


def test_verdicts_on_heads_are_by_those_that_converged() -> None:
    """The paper's heads tell the paper's story, the converged ones the opposite."""
    opposite = {"discriminator": RISING, "classifier": PUBLISHED["discriminator"]}
    found = on_sharing(
        with_heads(
            {(name, PAPERS): PUBLISHED[name] for name in NAMES}
            | {(name, CONVERGED): opposite[name] for name in NAMES}
        )
    )
    for name, each in found.items():
        assert (each.verdict == "reported") == name.endswith(PAPERS), name
        assert (each.wanted == "") == name.endswith(PAPERS)
        assert math.isfinite(each.value)
    not_supported = {"2c: classifier ahead", "2d: the lead grows", "2j: the discriminator falls"}
    not_supported |= {"2j: the classifier keeps its accuracy"}
    for name in not_supported:
        assert found[f"{name}, {CONVERGED}"].verdict == "not supported"
    gap = found[f"2c: classifier ahead, {PAPERS}"]
    assert gap.value == pytest.approx(2.69, abs=0.05)
    assert gap.published == "2.69"
    assert found[f"2c: classifier ahead, {CONVERGED}"].published == ""


def test_the_papers_own_numbers_would_be_supported_by_converged_heads() -> None:
    heads = {(name, head): PUBLISHED[name] for name in NAMES for head in (PAPERS, CONVERGED)}
    found = on_sharing(with_heads(heads))
    converged = {name: each for name, each in found.items() if name.endswith(CONVERGED)}
    assert {each.verdict for each in converged.values()} == {"supported"}
    values = {
        "2j: the classifier keeps its accuracy": 96.17 - 95.74,
        "2j: the discriminator falls": 93.94 - 94.27 + 0.04,  # 93.65 - 93.94 = -0.29 is largest
        **{
            f"2j: least sharing is never best, {name}": row[-1] - np.mean(row[:-1])
            for name, row in PUBLISHED.items()
        },
    }
    for name, value in values.items():
        assert found[f"{name}, {CONVERGED}"].value == pytest.approx(value, abs=0.06), name
        assert float(found[f"{name}, {PAPERS}"].published) == pytest.approx(value, abs=0.01), name


def test_an_extractor_that_is_best_unshared_says_so() -> None:
    heads = {(name, head): RISING for name in NAMES for head in (PAPERS, CONVERGED)}
    found = on_sharing(with_heads(heads))
    for name in NAMES:
        least = found[f"2j: least sharing is never best, {name}, {CONVERGED}"]
        assert least.verdict == "not supported"
    assert found[f"2j: the discriminator falls, {CONVERGED}"].verdict == "not supported"


# --- null spaces


def with_reports(**entries: list[NullSpaceEntry]) -> Results:
    """Reports with these entries, by extractor; seeds differ a little."""
    made: dict[Any, list[Any]] = defaultdict(list)
    for name in NAMES:
        for seed in range(SEEDS):
            shifted = [moved(each, seed) for each in entries.get(name, [])]
            made[NULL_SPACES[name, 4]].append(report(entries=shifted, claims=[], dim=128))
    return Results(made)


def moved(entry: NullSpaceEntry, seed: int) -> NullSpaceEntry:
    keys = {f: getattr(entry, f) for f in ("quantity", "part", "group", "control")}
    return number(value=entry.value * (1 + 1e-3 * seed), **keys)


DISCRIMINATOR = [
    number("probe", "row", 0.15, "clean", control=0.2),
    number("probe_difference", "full - null", 0.001, "clean"),
    number("probe_difference", "row - random", -0.03, "clean"),
    number("real_fake_probe", "full", 0.99),
    number("real_fake_probe", "null", 0.52),
    number("real_fake_difference", "full - row", 0.01),
    number("real_fake_probe", "null", 0.6, "alike"),
    number("real_fake_difference", "full - row", 0.02, "alike"),
    number("called_real_difference", "full", -0.03),
    number("called_real_difference", "full", 0.01, "generated"),
    number("gap", "row", 3.0),
    number("noise_share", "row", 0.8, "gaussian 0.1"),
    number("noise_share_centred", "row", 0.1, "gaussian 0.1"),
    number("energy_centred", "row", 2 / 128, control=1 / 128),
    number("alpha_cv", "row", 2.0),
]
CLASSIFIER = [
    number("scatter_log_ratio", "row - null", -1.0, "generated"),
    number("scatter_quotient", "row without ones / null", 0.2, "generated"),
    number("ones_share", "row", 0.01, "generated"),
]

REPORTED = {
    *("2f: the row space reads", "2f: the null space loses", "2g: along the all-ones direction"),
    *("2h: all features tell", "2h: gap in row space", "2h: noise, gaussian 0.1"),
    *("2h: the null space, seen alike", "2h: the row space, seen alike"),
    *("2h: the same before training", "2k: real images called real"),
    "2k: generated images called real",
    *("2i: scatter of the row space", "2i: the same before training", "2i: variation of α"),
}


def test_null_spaces_decide_by_contrasts_and_probes() -> None:
    found = judged(ON_NULL_SPACES, with_reports(discriminator=DISCRIMINATOR, classifier=CLASSIFIER))
    assert {name for name, each in found.items() if each.verdict == "reported"} == REPORTED
    assert {each.verdict for name, each in found.items() if name not in REPORTED} == {"supported"}
    values = {
        "2k: real images": 3,
        "2k: generated images": 1,
        "2h: the null space, seen alike": 60,
        "2f: less than random directions": -3,
        "2f: less than before training": -5,
        "2h: the null space tells nothing": 52,
        "2h: the row space tells all": 1,
        "2g: Theorems 2-3": 0.2,
        "2i: scatter of the row space": 2,
        "2i: the same before training": 1,
    }
    for name, value in values.items():
        assert found[name].value == pytest.approx(value, rel=5e-3)
    noise = found["2h: noise, gaussian 0.1"]
    assert noise.value == pytest.approx(0.8, rel=2e-3)
    assert noise.test.endswith("about its mean: 0.1 (0.0999 to 0.1)")


@pytest.mark.parametrize(
    ("key", "value", "claim"),
    [
        (("real_fake_probe", "null"), 0.9, "2h: the null space tells nothing"),
        (("real_fake_difference", "full - row"), 0.3, "2h: the row space tells all"),
        (("probe_difference", "row - random"), 0.1, "2f: less than random directions"),
        (("probe", "row"), 0.3, "2f: less than before training"),
    ],
)
def test_a_discriminator_whose_null_space_tells_is_not_supported(
    key: tuple[str, str], value: float, claim: str
) -> None:
    entries = [
        number(each.quantity, each.part, value, each.group, control=each.control)
        if (each.quantity, each.part) == key
        else each
        for each in DISCRIMINATOR
    ]
    found = judged(ON_NULL_SPACES, with_reports(discriminator=entries, classifier=CLASSIFIER))
    assert found[claim].verdict == "not supported"
    decided = {name for name, each in found.items() if each.verdict == "not supported"}
    assert decided == {claim}


@pytest.mark.parametrize("group", ["all", "generated"])
def test_theorem_1_is_open_for_a_discriminator_that_is_not_the_one_that_was_trained(
    group: str,
) -> None:
    key = ("called_real_difference", group)
    entries = [
        number(*key[:1], "full", -0.85, group) if (each.quantity, each.group) == key else each
        for each in DISCRIMINATOR
    ]
    found = judged(ON_NULL_SPACES, with_reports(discriminator=entries, classifier=CLASSIFIER))
    verdicts = {name: each.verdict for name, each in found.items() if each.verdict != "reported"}
    failed = "2k: real images" if group == "all" else "2k: generated images"
    assert verdicts.pop(failed) == "not supported"
    for name in ("2h: the null space tells nothing", "2h: the row space tells all"):
        assert verdicts.pop(name) == "undecided"
        assert "85" in found[name].note
        assert math.isfinite(found[name].value)
    assert set(verdicts.values()) == {"supported"}


def test_reports_of_before_leave_what_they_lack_undecided() -> None:
    """They had no probes of real against generated images, and centred no noise."""
    new = ("real_fake", "scatter_quotient", "noise_share_centred")
    old = [
        each
        for each in DISCRIMINATOR
        if not each.quantity.startswith(new) and each.part != "row - random"
    ]
    found = judged(ON_NULL_SPACES, with_reports(discriminator=old, classifier=CLASSIFIER[::2]))
    lacking = {
        *("2f: less than random directions", "2g: Theorems 2-3", "2h: all features tell"),
        *("2h: the null space tells nothing", "2h: the row space tells all"),
        *("2h: the null space, seen alike", "2h: the row space, seen alike"),
        *("2h: the same before training", "2k: real images called real"),
        "2k: generated images called real",
    }
    for name in lacking:
        assert found[name].verdict == ("undecided" if found[name].side else "reported")
        assert "was not measured" in found[name].note
    assert found["2h: noise, gaussian 0.1"].test.endswith("about its mean: not measured")
    rest = {name: each for name, each in found.items() if name not in lacking}
    assert {each.verdict for each in rest.values()} == {"supported", "reported"}
