"""Claims of Mao et al. about a head and its features, held against the entries of ``measure``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from repsim.results import NullSpaceEntry, Outcome, Verdict

#: Entries by quantity, part and group.
Table = Mapping[tuple[str, str, str], NullSpaceEntry]

#: How much accuracy the null space alone may cost, for the classes to lie in it.
NULL_LOSS = 0.01

#: How far from chance to certainty the row space alone may reach: 35 % of ten classes.
ROW_SHARE = 0.25 / 0.9


def verdicts(
    entries: Iterable[NullSpaceEntry],
    *,
    probes: Iterable[NullSpaceEntry] = (),
    control: Iterable[NullSpaceEntry] = (),
) -> list[Verdict]:
    """Hold the claims made for a trained head against its entries, where they exist.

    Of a head with one logit, a discriminator: ``classes in null space``, ``gap in row space``,
    ``constant ratio`` and ``Theorem 1``. Of one with several, a classifier: ``scatter in row
    space`` and ``Theorems 2-3``, in its own classes, which for generated images are their
    generators.

    Args:
        entries: of ``measure``.
        probes: entries of quantity ``probe`` (parts ``full``, ``row``, ``null``) and
            ``probe_difference`` (part ``full - null``), of group ``clean``.
        control: both kinds of entries of the same network before training.
    """
    trained, untrained = _by_key([*entries, *probes]), _by_key(control)
    if any(entry.quantity == "logit_sd" for entry in trained.values()):
        claims = [_probes, _gap, _noise, _constancy]
    else:
        claims = [_scatter, _ones]
    return [verdict for claim in claims for verdict in claim(trained, untrained)]


def _by_key(entries: Iterable[NullSpaceEntry]) -> Table:
    return {(entry.quantity, entry.part, entry.group): entry for entry in entries}


def _probes(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("probe_difference", "full - null", "clean")
    if key in trained:
        lost = trained[key]
        yield _verdict(
            "classes in null space",
            lost,
            f"a probe on the null space alone loses {_points(lost)} of accuracy against all "
            f"features, to be below 1 point{_same(untrained, key, _points)}",
            below=[NULL_LOSS],
        )
    key = ("probe", "row", "clean")
    if key in trained:
        row = trained[key]
        most = row.chance + ROW_SHARE * (1 - row.chance)
        yield _verdict(
            "classes in null space",
            row,
            f"a probe on the row space alone reaches {_percent(row)}, to be below "
            f"{most:.0%}{_same(untrained, key, _percent)}",
            below=[most],
        )


def _scatter(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("scatter_log_ratio", "row - null", _own_classes(trained, "scatter_log_ratio"))
    if key in trained:
        ratio = trained[key]
        parts = [trained.get(("scatter_ratio", part, key[2])) for part in ("row", "null")]
        both = " against ".join(_number(part) for part in parts if part)
        yield _verdict(
            "scatter in row space",
            ratio,
            f"within/between scatter is {both} in the row and the null space, log ratio "
            f"{_number(ratio)}, to be below 0{_same(untrained, key)}",
            below=[0.0],
        )


def _gap(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("gap", "row", "all")
    if key in trained and _defined(trained[key]):
        gap = trained[key]
        yield _verdict(
            "gap in row space",
            gap,
            f"real and generated images are {_number(gap)} standard deviations apart along the row "
            f"space, to be above {gap.chance_high:.3g}, the 95th percentile of random null "
            f"directions{_same(untrained, key)}",
            above=[gap.chance_high],
        )


def _constancy(trained: Table, untrained: Table) -> Iterator[Verdict]:
    for quantity, words in (
        ("constancy", "|std| / |mean| of the row part of real images"),
        ("alpha_cv", "the coefficient of variation of α over real images"),
    ):
        key = (quantity, "row", "all")
        if key in trained and _defined(trained[key]):
            entry, before = trained[key], untrained.get(key)
            than = f"below {entry.chance_low:.3g}, the 5th percentile of random subspaces"
            yield _verdict(
                "constant ratio",
                entry,
                f"{words} is {_number(entry)}, to be {than}"
                f"{', and below the untrained network' if before else ''}{_same(untrained, key)}",
                below=[entry.chance_low, *([before] if before else [])],
            )


def _noise(trained: Table, untrained: Table) -> Iterator[Verdict]:
    classes = trained.get(("displacement_share", "row", "all"))
    for key, share in trained.items():
        if key[:2] != ("noise_share", "row") or not _defined(share):
            continue
        than = f"to be above {share.chance_high:.3g}, the 95th percentile of random subspaces"
        if classes:
            than += f", and above the {_number(classes)} of displacements between classes"
        yield _verdict(
            "Theorem 1",
            share,
            f"{_number(share)} of the energy of {key[2]} noise lies in the row space, {than}"
            f"{_same(untrained, key)}",
            above=[share.chance_high, *([classes] if classes else [])],
        )


def _ones(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("ones_share", "row", _own_classes(trained, "ones_share"))
    if key in trained and _defined(trained[key]):
        share = trained[key]
        yield _verdict(
            "Theorems 2-3",
            share,
            f"{_number(share)} of the scatter within classes in the row space lies along f_r1, to "
            f"be above {share.chance_high:.3g}, the 95th percentile of random directions of it"
            f"{_same(untrained, key)}",
            above=[share.chance_high],
        )


# --- how an interval decides


def _verdict(
    claim: str,
    entry: NullSpaceEntry,
    statement: str,
    *,
    below: Iterable[float | NullSpaceEntry] = (),
    above: Iterable[float | NullSpaceEntry] = (),
) -> Verdict:
    """The verdict on an interval that has to be below, or above, each of some bounds.

    A bound is a number, or an entry with an interval of its own, all of which counts.
    """
    sign = -1 if below else 1
    # Turned about 0 where it has to be below: low end above every bound, or high end below one.
    low, high = sorted((sign * entry.low, sign * entry.high))
    ends = [_ends(bound) for bound in (below or above)]
    bounds = [sorted((sign * start, sign * stop)) for start, stop in ends]
    outcome: Outcome = "undecided"
    if all(low > stop for _, stop in bounds):
        outcome = "supported"
    elif any(high < start for start, _ in bounds):
        outcome = "not supported"
    return Verdict(
        claim,
        entry.quantity,
        entry.part,
        entry.group,
        statement,
        entry.value,
        entry.low,
        entry.high,
        "below" if below else "above",
        sign * max(stop for _, stop in bounds),
        outcome,
    )


def _ends(bound: float | NullSpaceEntry) -> tuple[float, float]:
    return (bound, bound) if isinstance(bound, float) else (bound.low, bound.high)


def _defined(entry: NullSpaceEntry) -> bool:
    """Tell if there is a chance to hold the value against."""
    return math.isfinite(entry.chance_low) and math.isfinite(entry.chance_high)


def _own_classes(table: Table, quantity: str) -> str:
    """The group whose classes are the classifier's own: generators where there are any."""
    parts = {group for name, _, group in table if name == quantity}
    return "generated" if "generated" in parts else "all"


# --- words


def _number(entry: NullSpaceEntry) -> str:
    return f"{entry.value:.3g} ({entry.low:.3g} to {entry.high:.3g})"


def _percent(entry: NullSpaceEntry) -> str:
    return f"{entry.value:.1%} ({entry.low:.1%} to {entry.high:.1%})"


def _points(entry: NullSpaceEntry) -> str:
    value, low, high = (100 * end for end in (entry.value, entry.low, entry.high))
    return f"{value:.2g} points ({low:.2g} to {high:.2g})"


def _same(
    untrained: Table,
    key: tuple[str, str, str],
    words: Callable[[NullSpaceEntry], str] = _number,
) -> str:
    """The number of the untrained network, where it was measured."""
    if key not in untrained:
        return ""
    said = words(untrained[key]).split(" (")[0]
    return f" (untrained: {said})"
