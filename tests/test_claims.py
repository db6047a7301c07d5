"""Claims of papers: means decide by their intervals, identities by their worst case."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from repsim.figures.papers.engine import Number, exactly, over_seeds, several
from repsim.figures.papers.engine.findings import TOO_FEW, mean_decides, worst_decides
from repsim.figures.papers.engine.markdown import verdicts
from repsim.jackknife import network_interval

FOUND = SimpleNamespace(data="digits", seeds=range(3), words={"data": "digits", "last": 4})


@pytest.mark.parametrize(
    ("values", "side", "bound", "verdict"),
    [
        ([1.0, 1.1, 0.9], "above", 0.5, "supported"),
        ([1.0, 1.1, 0.9], "above", 0.9, "undecided"),
        ([1.0, 1.1, 0.9], "above", 2.0, "not supported"),
        ([1.0, 1.1, 0.9], "below", 2.0, "supported"),
        ([1.0, 1.1, 0.9], "below", 0.5, "not supported"),
        ([1.0], "above", 0.5, TOO_FEW),
        ([1.0, 1.0001], "above", 0.5, TOO_FEW),
        ([0.8, 0.8, 0.8], "above", 0.8, "undecided"),
        ([1.0, 1.0], "above", 0.8, TOO_FEW),
        ([1.0, 1.0, 1.0], "above", 0.8, "supported"),
        ([1.0, 1.0, 1.0], "below", 0.8, "not supported"),
        ([math.nan, 1.0, 1.0], "above", 0.5, "undecided"),
    ],
)
def test_means_over_networks_decide_by_their_interval_from_three_on(
    values: list[float], side: Any, bound: float, verdict: str
) -> None:
    assert mean_decides(Number(values), side, bound).verdict == verdict


PAIRS = [("x-0", "x-1"), ("x-0", "x-2"), ("x-1", "x-2")]


def test_the_interval_over_pairs_is_the_jackknifes_over_networks() -> None:
    number = Number([0.5, 0.6, 0.8], networks=PAIRS)
    found = mean_decides(number, "above", 0.5)
    assert (found.value, found.low, found.high) == network_interval(number.values, PAIRS)
    assert found.verdict == "undecided"
    assert mean_decides(Number(number.values), "above", 0.25).verdict == "supported"
    assert mean_decides(number, "above", 0.25).verdict == "undecided"  # twice as wide


def test_networks_are_counted_and_not_their_pairs() -> None:
    def claim(*networks: tuple[str, ...]) -> Any:
        values = [0.5 + 0.01 * k for k in range(len(networks))]
        declared = over_seeds("a", "b", "c", above=0.2)(
            lambda found: Number(values, networks=networks)
        )
        (finding,) = declared.findings(FOUND)
        return finding.seeds, finding.verdict

    assert claim(*PAIRS) == (3, "supported")
    assert claim(PAIRS[0]) == (1, TOO_FEW)  # of one kind or of two: names do not tell
    crossed = [(f"x-{i}", f"y-{j}") for i in range(2) for j in range(3)]
    assert claim(*crossed) == (2, TOO_FEW)
    assert claim(*((f"x-{k}", f"y-{k}") for k in range(3))) == (3, "supported")


def test_identities_need_no_number_of_networks() -> None:
    (finding,) = exactly("a", "b", "c", below=0.2)(lambda found: [0.1]).findings(FOUND)
    assert finding.verdict == "supported"


def test_the_interval_of_a_claim_is_students() -> None:
    found = mean_decides(Number([1.0, 2.0, 3.0]), "above", 0.0)
    reach = 4.302652729911275 / math.sqrt(3)  # t of two degrees of freedom
    assert (found.low, found.high) == pytest.approx((2 - reach, 2 + reach))


def test_without_a_bound_nothing_is_decided() -> None:
    assert mean_decides(Number([1.0, 1.0]), None, math.nan).verdict == "reported"


def test_the_worst_case_decides_what_has_to_hold_of_all() -> None:
    assert worst_decides(Number([0.1, 0.3]), "below", 0.2).verdict == "not supported"
    assert worst_decides(Number([0.1, 0.2]), "below", 0.2).verdict == "supported"
    assert worst_decides(Number([0.1, 0.3]), "above", 0.1).value == 0.1
    for values in ([0.1, math.nan], [math.nan, 0.1], []):
        assert worst_decides(Number(values), "below", 0.2).verdict == "undecided"


def test_a_claim_is_declared_beside_its_values() -> None:
    @over_seeds("1: {head}", "of {data}", "in points, {last} removed", above=0.5)
    def ahead(found: Any, head: str) -> Number:
        return Number([1.0, 1.1, 0.9], published=head.lower(), note="so it is")

    (finding,) = ahead.of(head="SGD").findings(FOUND)
    assert (finding.claim, finding.statement) == ("1: SGD", "of digits")
    assert finding.test == "in points, 4 removed"
    assert (finding.verdict, finding.seeds, finding.wanted) == ("supported", 3, "above 0.5")
    assert (finding.published, finding.note) == ("sgd", "so it is")
    assert finding.shown == "1 (0.752 to 1.25)"


def test_exact_claims_count_seeds_unless_no_network_is_in_them() -> None:
    of_networks = exactly("a", "b", "c", below=0.2)(lambda found: [0.1] * 6)
    identity = exactly("a", "b", "c", below=0.2, networks=False)(lambda found: [0.1] * 6)
    assert [each.findings(FOUND)[0].seeds for each in (of_networks, identity)] == [3, 1]


def test_a_claim_is_a_line_of_a_table_without_nan() -> None:
    row = exactly("a", "b", "c", below=0.2)(lambda found: [0.1]).findings(FOUND)[0].row()
    assert row["low"] == ""
    assert row["value"] == 0.1


def test_a_claim_about_other_image_sets_is_left_out() -> None:
    claim = over_seeds("a", "b", "c", above=0.2, only=("cifar10",))(lambda found: [1.0])
    assert claim.findings(FOUND) == []


def test_a_claim_without_its_number_is_undecided_and_says_why() -> None:
    def values(found: Any) -> list[float]:
        return []

    claims = (
        over_seeds("a {last}", "b", "c", above=0.2)(values),
        several("a {last}", "b")(values),  # type: ignore[arg-type]
    )
    for claim in claims:
        (finding,) = claim.undecided(FOUND, "it needs the run a-0, which was not made")
        assert (finding.claim, finding.verdict, finding.shown) == ("a 4", "undecided", "")
        assert finding.note == "it needs the run a-0, which was not made"
        assert finding.row()["value"] == ""


def test_a_number_without_a_bound_that_is_not_there_decides_nothing() -> None:
    claim = over_seeds("a", "b", "c")(lambda found: [1.0])
    (finding,) = claim.undecided(FOUND, "it needs the run a-0, which was not made")
    assert (finding.verdict, finding.shown) == ("reported", "")


def test_a_claim_has_one_bound() -> None:
    with pytest.raises(TypeError, match="one bound"):
        over_seeds("a", "b", "c", above=1.0, below=2.0)


@pytest.mark.parametrize(
    ("values", "bound", "taken"),
    [
        ([0.9, 1.0, 1.1], 0.9, 7),  # t s / sqrt(n) with s = 0.1 is 0.105 of six and 0.092 of seven
        ([0.9, 1.0, 1.1], 1.1, 7),
        ([0.9, 1.0, 1.1], 0.9999, None),  # too many to say
        ([0.9, 1.0, 1.1], 0.5, None),
        ([0.9, 1.1], 0.9, None),
        ([math.nan, 1.0, 1.0], 0.5, None),
    ],
)
def test_an_undecided_claim_says_how_many_networks_it_would_take(
    values: list[float], bound: float, taken: int | None
) -> None:
    (finding,) = over_seeds("a", "b", "c", above=bound)(lambda found: values).findings(FOUND)
    assert finding.would_take == taken
    assert ("about 7 seeds would decide" in verdicts([finding])) == (taken == 7)


def test_a_number_that_cannot_refute_leaves_open_what_it_does_not_support() -> None:
    """Of three networks that were trained for less long than a claim is about."""
    note = "after five epochs"
    for values, verdict in (
        ([0.9, 1.0, 1.1], "undecided"),
        ([4.9, 5.0, 5.1], "supported"),
        ([0.9, 3.0, 5.1], "undecided"),
    ):
        number = Number(values, note=note, refutes=False)
        claim = over_seeds("1", "s", "t", above=3.0)(lambda found: number)  # noqa: B023
        (finding,) = claim.findings(SimpleNamespace(data="digits", words={}))
        assert (finding.verdict, finding.note) == (verdict, note)
        assert finding.would_take is None
        plain = mean_decides(Number(values), "above", 3.0).verdict
        assert plain == ("not supported" if max(values) < 3 else verdict)


def test_what_no_number_of_networks_decides_names_none() -> None:
    """As of a discriminator that is not the one that was trained."""
    number = Number([0.9, 1.0, 1.1], note="not as trained", settles=False)
    (finding,) = over_seeds("a", "b", "c", above=0.9)(lambda found: number).findings(FOUND)
    assert (finding.verdict, finding.would_take) == ("undecided", None)
    assert "settles" not in finding.row()
