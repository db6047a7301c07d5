"""Findings on claims: means decide by their intervals, identities by their worst case.

A mean over networks is judged from three of a kind on: the spread of two says next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from repsim.confidence import t_quantile
from repsim.figures.papers.engine.statistics import mean_over
from repsim.jackknife import Networks, fewest

Side = Literal["above", "below"]

#: Numbers that differ by less are the same but for rounding.
ROUNDING = 1e-9

#: Networks of a kind that a verdict on them needs, and the verdict on fewer.
NEEDED = 3
TOO_FEW = "undecided: needs three"


@dataclass(frozen=True)
class Finding:
    """A claim of a paper, and the number that was measured.

    Attributes:
        claim: a short name.
        statement: the paper's claim.
        test: the number that decides, in words.
        value: its mean over networks, or of an exact claim its worst case.
        low: lower end of the 95 % interval over networks; NaN of fewer than two, and where every
            one has to meet the bound by itself.
        high: upper end.
        side: the side of the bound that the number has to be on; None where it is only reported.
        bound: what it is held against.
        seeds: how many networks of a kind it was measured on.
        verdict: ``supported``, ``not supported``, ``undecided`` or ``undecided: needs three``;
            ``reported`` without a bound.
        published: the paper's own number in its place, if it has one.
        note: further remarks for a reader.
        settles: False where no number of networks decides it, for a reason that the note says.
    """

    claim: str
    statement: str
    test: str
    value: float
    low: float
    high: float
    side: Side | None
    bound: float
    seeds: int
    verdict: str
    published: str = ""
    note: str = ""
    settles: bool = True

    @property
    def shown(self) -> str:
        """The value with its interval, as people read it."""
        return "" if math.isnan(self.value) else with_interval(self.value, self.low, self.high)

    @property
    def wanted(self) -> str:
        """The bound with its side."""
        return "" if self.side is None else f"{self.side} {self.bound:g}"

    @property
    def would_take(self) -> int | None:
        """Networks of a kind that would decide it, should mean and spread stay as they are.

        None of a claim that is decided, or that has no interval around its bound, and where it
        takes more than a thousand or another reason leaves it open.
        """
        reach, gap = (self.high - self.low) / 2, abs(self.value - self.bound)
        if self.verdict != "undecided" or not self.settles or not 0 < gap < reach:
            return None
        counts = np.arange(self.seeds, 1001)
        reaches = t_quantile(0.95, counts - 1) / np.sqrt(counts)
        enough = np.flatnonzero(reaches / reaches[0] * reach <= gap)
        return int(counts[enough[0]]) if len(enough) else None

    def row(self) -> dict[str, Any]:
        """The finding as a line of ``claims.csv``."""
        return {
            key: "" if isinstance(value, float) and math.isnan(value) else value
            for key, value in vars(self).items()
            if key != "settles"
        } | {"side": self.side or ""}


def with_interval(value: float, low: float, high: float) -> str:
    """A number with its interval, if it has one, as people read it."""
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g} ({low:.3g} to {high:.3g})"


@dataclass(frozen=True)
class Number:
    """The measured number of a claim.

    Attributes:
        values: one for each network or pair of networks, or of an exact claim one for each case.
        published: the paper's own number.
        note: a remark.
        networks: the names of the networks of each value, as ``Found.networks`` gives them, where
            values are of pairs; otherwise each value has a network of its own.
        settles: False of a number that decides nothing, for a reason that the note says.
        refutes: False of a number that may support a claim but not refute it, for a reason that the
            note says: networks trained for less long than the claim is about, for one.
    """

    values: Sequence[float]
    published: str = ""
    note: str = ""
    networks: Networks = ()
    settles: bool = True
    refutes: bool = True

    @property
    def count(self) -> int:
        """The number of networks of a kind that it is of."""
        return fewest(self.networks) if self.networks else len(self.values)

    def interval(self) -> tuple[float, float, float]:
        """Its mean, and the ends of its 95 % interval over networks."""
        value, low, high = map(float, mean_over(self.values, self.networks))
        return value, low, high


@dataclass(frozen=True)
class Judgement:
    """A number with its interval, and the verdict on it; attributes as of ``Finding``."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: str = "undecided"


def mean_decides(number: Number, side: Side | None, bound: float) -> Judgement:
    """The verdict on a mean over networks: decided where its whole interval lies on one side.

    Of fewer than three networks of a kind, or without a bound, nothing is decided. Values that are
    all the same have an interval of no width: they decide if they are beyond the bound.
    """
    value, low, high = number.interval()
    if side is None:
        return Judgement(value, low, high, "reported")
    if number.count < NEEDED:
        return Judgement(value, low, high, TOO_FEW)
    if not number.settles:
        return Judgement(value, low, high, "undecided")
    verdict = _verdict(low, high, side, bound)
    if verdict == "not supported" and not number.refutes:
        verdict = "undecided"
    return Judgement(value, low, high, verdict)


def _verdict(low: float, high: float, side: Side, bound: float) -> str:
    if math.isnan(low) or math.isnan(high):
        return "undecided"
    sign = 1 if side == "above" else -1
    least, most = sorted((sign * (low - bound), sign * (high - bound)))
    if most - least > ROUNDING:
        met, failed = least >= 0, most < 0
    else:
        met, failed = least > ROUNDING, -most > ROUNDING
    return "supported" if met else "not supported" if failed else "undecided"


def worst_decides(number: Number, side: Side | None, bound: float) -> Judgement:
    """The verdict on a claim that holds of every case or of none: the worst case decides.

    A case without a value leaves it undecided. It needs no number of networks.
    """
    values, worst = number.values, math.nan
    if values and not any(map(math.isnan, values)):
        worst = float((min if side == "above" else max)(values))
    met = worst >= bound if side == "above" else worst <= bound
    verdict = "undecided" if math.isnan(worst) else "supported" if met else "not supported"
    return Judgement(worst, verdict=verdict)
