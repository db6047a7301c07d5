"""Claims of a paper, judged by intervals and by bounds that were set before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from repsim.figures.papers.engine.findings import (
    Finding,
    Judgement,
    Number,
    Side,
    mean_decides,
    worst_decides,
)


class Judged(Protocol):
    """A line of a paper's claims."""

    def cases(self, found: Any) -> list[Claim]:
        """The claims that it stands for: itself, as a rule."""

    def undecided(self, found: Any, reason: str) -> list[Finding]:
        """The findings on it where its number could not be had, for a reason in one line."""


Values = Callable[..., "Sequence[float] | Number"]
Judge = Callable[[Number, "Side | None", float], Judgement]


@dataclass(frozen=True)
class Claim:
    """A claim as a paper's module declares it.

    Attributes:
        name: short; this and the next two may hold words in braces, such as ``{head}``.
        statement: the paper's claim.
        test: the number that decides, in words.
        measure: the values, from what was found and ``words``.
        judge: ``mean_decides`` or ``worst_decides``.
        side: of the bound; None where the number is only reported.
        bound: of the number.
        count: the number of networks of a kind, from what was found and the measured number.
        only: image sets that it is about; none means all.
        words: given to ``measure``, and filled into the texts.
    """

    name: str
    statement: str
    test: str
    measure: Values
    judge: Judge
    side: Side | None
    bound: float
    count: Callable[[Any, Number], int]
    only: tuple[str, ...] = ()
    words: Mapping[str, Any] = field(default_factory=dict)

    def of(self, **words: Any) -> Claim:
        """The claim of one case: words that its texts and its number depend on."""
        return replace(self, words={**self.words, **words})

    def cases(self, found: Any) -> list[Claim]:
        return [self]

    def findings(self, found: Any) -> list[Finding]:
        """The finding on it; none on image sets that it is not about."""
        if self.only and found.data not in self.only:
            return []
        measured = self.measure(found, **self.words)
        number = measured if isinstance(measured, Number) else Number(measured)
        return [self._finding(found, number, self.judge(number, self.side, self.bound))]

    def undecided(self, found: Any, reason: str) -> list[Finding]:
        """The finding where its number is not there; without a bound it would decide nothing."""
        verdict = "undecided" if self.side else "reported"
        return [self._finding(found, Number((), note=reason), Judgement(verdict=verdict))]

    def _finding(self, found: Any, number: Number, judged: Judgement) -> Finding:
        words = {**found.words, **self.words}
        return Finding(
            claim=self.name.format_map(words),
            statement=self.statement.format_map(words),
            test=self.test.format_map(words),
            value=judged.value,
            low=judged.low,
            high=judged.high,
            side=self.side,
            bound=self.bound,
            seeds=self.count(found, number),
            verdict=judged.verdict,
            published=number.published,
            note=number.note,
            settles=number.settles and number.refutes,
        )


def _bounds(
    above: float | None, below: float | None, beside: float | None = None
) -> tuple[Side | None, float]:
    sides: tuple[Side | None, ...] = ("above", "below", None)
    given = [
        (side, bound)
        for side, bound in zip(sides, (above, below, beside), strict=True)
        if bound is not None
    ]
    if len(given) > 1:
        raise TypeError("a claim has one bound, above or below")
    return given[0] if given else (None, math.nan)


def over_seeds(
    name: str,
    statement: str,
    test: str,
    *,
    above: float | None = None,
    below: float | None = None,
    beside: float | None = None,
    only: Sequence[str] = (),
) -> Callable[[Values], Claim]:
    """Declare a claim about a mean over networks, or over pairs of them.

    The function gives a value for each; of pairs, a ``Number`` with the networks of each. With
    fewer than three networks of a kind nothing is decided. Without a bound, or ``beside`` a number,
    the mean is only reported.
    """
    side, bound = _bounds(above, below, beside)

    def declare(measure: Values) -> Claim:
        count = lambda found, number: number.count  # noqa: E731
        texts = (name, statement, test)
        return Claim(*texts, measure, mean_decides, side, bound, count, tuple(only))

    return declare


def exactly(
    name: str,
    statement: str,
    test: str,
    *,
    above: float | None = None,
    below: float | None = None,
    only: Sequence[str] = (),
    networks: bool = True,
) -> Callable[[Values], Claim]:
    """Declare a claim that holds of every case or of none: the worst decides.

    Args:
        name: as of ``Claim``, and so on.
        statement: the same.
        test: the same.
        above: the bound, or
        below: the bound.
        only: as of ``Claim``.
        networks: False of an identity that no network was trained for.
    """
    side, bound = _bounds(above, below)

    def declare(measure: Values) -> Claim:
        count = lambda found, number: len(found.seeds) if networks else 1  # noqa: E731
        texts = (name, statement, test)
        return Claim(*texts, measure, worst_decides, side, bound, count, tuple(only))

    return declare


@dataclass(frozen=True)
class Several:
    """Claims that are known only from results.

    Attributes:
        declare: gives the claims, from what was found.
        name: stands for them where a result is missing.
        statement: the same.
    """

    declare: Callable[[Any], Iterator[Claim]]
    name: str
    statement: str

    def cases(self, found: Any) -> list[Claim]:
        return list(self.declare(found))

    def undecided(self, found: Any, reason: str) -> list[Finding]:
        missing = exactly(self.name, self.statement, "")(_nothing).undecided(found, reason)
        return [replace(each, verdict="undecided") for each in missing]


def several(name: str, statement: str) -> Callable[[Callable[[Any], Iterator[Claim]]], Several]:
    """Declare claims that a function gives once there are results."""
    return lambda declare: Several(declare, name, statement)


def _nothing(found: Any) -> Sequence[float]:
    return ()
