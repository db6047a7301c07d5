"""Claims of Mao et al. about a head and its features, held against the entries of ``measure``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from repsim.results import NullSpaceEntry, Outcome, Verdict

#: Entries by quantity, part and group.
Table = Mapping[tuple[str, str, str], NullSpaceEntry]

#: Accuracy that the null space alone may cost, for the classes to lie in it, and how far from
#: chance to certainty the row space alone may reach: 35 % of ten classes. Any direction of 128 is
#: as poor, so that these two decide nothing.
NULL_LOSS, ROW_SHARE = 0.01, 0.25 / 0.9

#: Accuracy of telling real from generated images that the null space may give, of equally many,
#: and accuracy that the row space alone may cost.
NULL_TELLS, ROW_LOSS = 0.55, 0.02

#: Share of images that a discriminator may call otherwise than it did in training.
SAME_CALLS = 0.05

#: Claims on a discriminator that hang on its being the one that was trained.
_AS_TRAINED = ("Theorem 1", "gap in row space", "constant ratio")

#: Bound on the within/between scatter of the row space without f_r1, over the null space's.
COMPACT = 0.5


def verdicts(
    entries: Iterable[NullSpaceEntry],
    *,
    probes: Iterable[NullSpaceEntry] = (),
    control: Iterable[NullSpaceEntry] = (),
    isotropic: float = math.nan,
) -> list[Verdict]:
    """Hold the claims made for a trained head against its entries, where they exist.

    Of a head with one logit, a discriminator: ``classes in null space``, ``Theorem 1``, and beside
    it ``gap in row space`` and ``noise``, and ``constant ratio``. Of one with several, a
    classifier: ``scatter in row space`` and ``Theorems 2-3``, in its own classes, which for
    generated images are their generators. Where it is known what a discriminator calls real, ``as
    trained`` holds that against its training; if it is another, ``Theorem 1`` is undecided.

    Args:
        entries: of ``measure``.
        probes: entries of probes, if ``entries`` has none: ``probe`` and ``probe_difference`` of
            group ``clean``, ``real_fake_probe`` and ``real_fake_difference`` of group ``all``.
        control: both kinds of entries of the same network before training.
        isotropic: r / d, the share of energy that features without direction would have in the row
            space.
    """
    trained, untrained = _by_key([*entries, *probes]), _by_key(control)
    claims: list[Callable[[Table, Table], Iterator[Verdict]]]
    if any(entry.quantity == "logit_sd" for entry in trained.values()):
        constancy = partial(_constancy, isotropic=isotropic)
        claims = [_as_trained, _probes, _real_and_fake, _gap, _noise, constancy]
    else:
        claims = [_scatter, _compact]
    return settled([verdict for claim in claims for verdict in claim(trained, untrained)])


def settled(found: list[Verdict]) -> list[Verdict]:
    """The verdicts; those that hang on a discriminator that was not trained are undecided."""
    calls = [each.verdict for each in found if each.claim == "as trained"]
    if all(each == "supported" for each in calls):
        return found
    return [_undecided(each) if each.claim in _AS_TRAINED else each for each in found]


def _undecided(verdict: Verdict) -> Verdict:
    why = f"{verdict.statement}; but this is not the discriminator that was trained"
    outcome: Outcome = "reported" if verdict.verdict == "reported" else "undecided"
    return replace(verdict, statement=why, verdict=outcome)


def _as_trained(trained: Table, untrained: Table) -> Iterator[Verdict]:
    for group, words in (("all", "real"), ("generated", "generated")):
        key = ("called_real_difference", "full", group)
        if key not in trained:
            continue
        off = distance(trained[key])
        now, then = (
            trained[quantity, "full", group] for quantity in ("called_real", "called_real_by_batch")
        )
        yield _verdict(
            "as trained",
            off,
            f"{_percent(now)} of {words} images are called real, {_percent(then)} in training, "
            f"{_points(off)} apart, to be below 5 points"
            f"{_same(untrained, key, lambda entry: _points(distance(entry)))}",
            below=SAME_CALLS,
        )


def distance(entry: NullSpaceEntry) -> NullSpaceEntry:
    """The absolute value of a difference, with its interval."""
    ends = sorted((abs(entry.low), abs(entry.high)))
    low = 0.0 if entry.low <= 0 <= entry.high else ends[0]
    return replace(entry, value=abs(entry.value), low=low, high=ends[1])


def _by_key(entries: Iterable[NullSpaceEntry]) -> Table:
    return {(entry.quantity, entry.part, entry.group): entry for entry in entries}


def _probes(trained: Table, untrained: Table) -> Iterator[Verdict]:
    name, contrast = "classes in null space", ("probe_difference", "row - random", "clean")
    if contrast in trained:
        apart = trained[contrast]
        yield _verdict(
            name,
            apart,
            f"a probe on the row space alone has {_points(apart)} more right than on random "
            f"subspaces of its rank, to be below 0{_same(untrained, contrast, _points)}",
            below=0.0,
        )
    key = ("probe", "row", "clean")
    if key in trained:
        row = trained[key]
        before = untrained.get(key)
        most = row.chance + ROW_SHARE * (1 - row.chance)
        words = f"a probe on the row space alone reaches {_percent(row)}"
        if before is not None:
            than = f"to be below the untrained network's {_percent(before)}"
            yield _verdict(name, row, f"{words}, {than}", below=before)
        else:
            yield _beside(name, row, f"{words}, beside {most:.0%}", most)
    key = ("probe_difference", "full - null", "clean")
    if key in trained:
        lost = trained[key]
        words = (
            f"a probe on the null space alone loses {_points(lost)} of accuracy against all "
            f"features, beside 1 point{_same(untrained, key, _points)}"
        )
        yield _beside(name, lost, words, NULL_LOSS)


def _real_and_fake(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("real_fake_probe", "null", "all")
    if key not in trained and ("gap", "null", "all") in trained:
        yield _unmeasured("Theorem 1", key, "probes of real against generated images")
    if key in trained:
        null, full = trained[key], trained.get(("real_fake_probe", "full", "all"))
        all_of_it = f" ({_percent(full)} on all features)" if full else ""
        yield _verdict(
            "Theorem 1",
            null,
            f"a probe on the null space tells real from generated images in {_percent(null)} of "
            f"cases{all_of_it}, to be below {NULL_TELLS:.0%}{_same(untrained, key, _percent)}",
            below=NULL_TELLS,
        )
    key = ("real_fake_difference", "full - row", "all")
    if key in trained:
        lost = trained[key]
        yield _verdict(
            "Theorem 1",
            lost,
            f"a probe on the row space alone loses {_points(lost)} of it against all features, to "
            f"be below 2 points{_same(untrained, key, _points)}",
            below=ROW_LOSS,
        )


def _scatter(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("scatter_log_ratio", "row - null", _own_classes(trained, "scatter_log_ratio"))
    if key not in trained and key[2] == "generated":
        yield _undefined("scatter in row space", key)
    if key in trained:
        ratio = trained[key]
        parts = [trained.get(("scatter_ratio", part, key[2])) for part in ("row", "null")]
        both = " against ".join(_number(part) for part in parts if part)
        yield _verdict(
            "scatter in row space",
            ratio,
            f"within/between scatter is {both} in the row and the null space, log ratio "
            f"{_number(ratio)}, to be below 0{_same(untrained, key)}",
            below=0.0,
        )


def _gap(trained: Table, untrained: Table) -> Iterator[Verdict]:
    key = ("gap", "row", "all")
    if key in trained:
        gap = trained[key]
        yield _beside(
            "gap in row space",
            gap,
            f"real and generated images are {_number(gap)} standard deviations apart along the row "
            f"space, beside {_level(gap.chance_high)}, the 95th percentile of random null "
            f"directions{_same(untrained, key)}",
            gap.chance_high,
        )


def _noise(trained: Table, untrained: Table) -> Iterator[Verdict]:
    classes = trained.get(("displacement_share", "row", "all"))
    beside = f", and {_number(classes)} of displacements between classes" if classes else ""
    for key, share in trained.items():
        if key[:2] == ("noise_share", "row"):
            words = (
                f"{_number(share)} of the energy of {key[2]} noise lies in the row space, beside "
                f"{_level(share.chance_high)}, the 95th percentile of random subspaces{beside}"
                f"{_same(untrained, key)}{_about_mean(trained, key[2])}"
            )
            yield _beside("noise", share, words, share.chance_high)


def _about_mean(trained: Table, noise: str) -> str:
    """The share of a noise about its mean, where it was measured."""
    shift = trained.get(("noise_shift", "full", noise))
    centred = trained.get(("noise_share_centred", "row", noise))
    if shift is None:
        return "; about its mean: not measured"
    rest = f"{_number(centred)} of it" if centred else "nothing"
    return f"; {shift.value:.0%} of it moves all images alike, of the rest {rest} does"


def _constancy(trained: Table, untrained: Table, isotropic: float) -> Iterator[Verdict]:
    key = ("energy_centred", "row", "all")
    if key in trained:
        share = trained[key]
        words = (
            f"the row space has {_number(share)} of the scatter of real images, beside "
            f"{_level(isotropic)} of features without direction{_same(untrained, key)}"
        )
        yield _beside("constant ratio", share, words, isotropic)
    for quantity, words in (
        ("constancy", "|std| / |mean| of the row part of real images"),
        ("alpha_cv", "the coefficient of variation of α over real images"),
    ):
        key = (quantity, "row", "all")
        if key in trained:
            entry = trained[key]
            yield _beside(
                "constant ratio",
                entry,
                f"{words} is {_number(entry)}, beside {_level(entry.chance_low)}, the 5th "
                f"percentile of random subspaces{_same(untrained, key)}",
                entry.chance_low,
            )


def _compact(trained: Table, untrained: Table) -> Iterator[Verdict]:
    own = _own_classes(trained, "ones_share")
    key = ("scatter_quotient", "row without ones / null", own)
    if key not in trained and own == "generated":
        yield _undefined("Theorems 2-3", key)
    if key in trained:
        quotient = trained[key]
        yield _verdict(
            "Theorems 2-3",
            quotient,
            f"within/between scatter of the row space without f_r1 is {_number(quotient)} of the "
            f"null space's, to be below {COMPACT:g}{_same(untrained, key)}",
            below=COMPACT,
        )
    key = ("ones_share", "row", own)
    if key in trained:
        share = trained[key]
        words = (
            f"{_number(share)} of the scatter within classes in the row space lies along f_r1, "
            f"beside {_level(share.chance_high)}, the 95th percentile of random directions of it"
            f"{_same(untrained, key)}"
        )
        yield _beside("Theorems 2-3", share, words, share.chance_high)


# --- how an interval decides


def _verdict(
    claim: str, entry: NullSpaceEntry, statement: str, *, below: float | NullSpaceEntry
) -> Verdict:
    """The verdict on an interval that has to be below a bound.

    The bound is a number, or an entry, whose whole interval counts.
    """
    start, stop = (below, below) if isinstance(below, float) else (below.low, below.high)
    outcome: Outcome = "undecided"
    if entry.high < start:
        outcome = "supported"
    elif entry.low > stop:
        outcome = "not supported"
    key = (entry.quantity, entry.part, entry.group)
    ends = (entry.value, entry.low, entry.high)
    return Verdict(claim, *key, statement, *ends, "below", start, outcome)


def _beside(claim: str, entry: NullSpaceEntry, statement: str, other: float) -> Verdict:
    """A number that decides nothing, and another to compare it with."""
    key = (entry.quantity, entry.part, entry.group)
    ends = (entry.value, entry.low, entry.high)
    return Verdict(claim, *key, statement, *ends, "beside", other, "reported")


def _unmeasured(claim: str, key: tuple[str, str, str], numbers: str) -> Verdict:
    """A claim whose number is missing."""
    why = f"{numbers} were not measured: too few images, or a report of an earlier release"
    return _without_number(claim, key, why)


def _undefined(claim: str, key: tuple[str, str, str]) -> Verdict:
    """A claim on the classifier's own classes whose number does not exist."""
    why = "scatter in the generators is undefined: their images do not differ, or a part is empty"
    return _without_number(claim, key, why)


def _without_number(claim: str, key: tuple[str, str, str], why: str) -> Verdict:
    nan = math.nan
    return Verdict(claim, *key, why, nan, nan, nan, "below", nan, "undecided")


def _own_classes(table: Table, quantity: str) -> str:
    """The group whose classes are the classifier's own: generators where there are any.

    Also where the number is undefined for these: the classes of real images are not its own.
    """
    generators = any(
        (name == quantity and group == "generated") or group.startswith("generated class ")
        for name, _, group in table
    )
    return "generated" if generators else "all"


# --- words


def _level(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "an unknown number"


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
