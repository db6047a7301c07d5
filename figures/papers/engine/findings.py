"""Findings on claims: means decide by their intervals, identities by their worst case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from repsim.confidence import mean_interval

Side = Literal["above", "below"]

#: Numbers that differ by less are the same but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Finding:
    """A claim of a paper, and the number that was measured.

    Attributes:
        claim: a short name.
        statement: the paper's claim.
        test: the number that decides, in words.
        value: its mean over seeds, or of an exact claim its worst case.
        low: lower end of the 95 % interval over seeds; NaN of fewer than two seeds, and where
            every seed has to meet the bound by itself.
        high: upper end.
        side: the side of the bound that the number has to be on; None where it is only reported.
        bound: what it is held against.
        seeds: how many networks of a kind, or pairs of them, it was measured on.
        verdict: ``supported``, ``not supported`` or ``undecided``; ``reported`` without a bound.
        published: the paper's own number in its place, if it has one.
        note: further remarks for a reader.
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

    @property
    def shown(self) -> str:
        """The value with its interval, as people read it."""
        if math.isnan(self.value):
            return ""
        interval = "" if math.isnan(self.low) else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g}{interval}"

    @property
    def wanted(self) -> str:
        """The bound with its side."""
        return "" if self.side is None else f"{self.side} {self.bound:g}"

    def row(self) -> dict[str, Any]:
        """The finding as a line of ``claims.csv``."""
        return {
            key: "" if isinstance(value, float) and math.isnan(value) else value
            for key, value in vars(self).items()
        } | {"side": self.side or ""}


@dataclass(frozen=True)
class Number:
    """The measured number of a claim.

    Attributes:
        values: one for each seed or pair of seeds, or of an exact claim one for each case.
        published: the paper's own number.
        note: a remark.
    """

    values: Sequence[float]
    published: str = ""
    note: str = ""


@dataclass(frozen=True)
class Judgement:
    """A number with its interval, and the verdict on it; attributes as of ``Finding``."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: str = "undecided"


def mean_decides(values: Sequence[float], side: Side | None, bound: float) -> Judgement:
    """The verdict on a mean over seeds: decided where its whole interval lies on one side.

    With a single seed, or without a bound, nothing is decided. Values that are all the same have an
    interval of no width, which says little: three of them decide, if they are beyond the bound.
    """
    value, low, high = (float(each) for each in mean_interval(values))
    verdict = "reported" if side is None else "undecided"
    if side is not None and not any(map(math.isnan, (low, high))):
        sign = 1 if side == "above" else -1
        ends = sorted((sign * (low - bound), sign * (high - bound)))
        if ends[1] - ends[0] > ROUNDING:
            met, failed = ends[0] >= 0, ends[1] < 0
        else:
            met, failed = (len(values) > 2 and each > ROUNDING for each in (ends[0], -ends[0]))
        verdict = "supported" if met else "not supported" if failed else "undecided"
    return Judgement(value, low, high, verdict)


def worst_decides(values: Sequence[float], side: Side | None, bound: float) -> Judgement:
    """The verdict on what holds of every case or of none, as an identity: the worst case decides.

    A case without a value leaves it undecided.
    """
    worst = math.nan
    if values and not any(map(math.isnan, values)):
        worst = float((min if side == "above" else max)(values))
    met = worst >= bound if side == "above" else worst <= bound
    verdict = "undecided" if math.isnan(worst) else "supported" if met else "not supported"
    return Judgement(worst, verdict=verdict)
