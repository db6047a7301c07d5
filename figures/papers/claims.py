"""What a reproduction says of a paper's claims: by numbers and their intervals, never by hope."""

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
class Claim:
    """A claim of a paper, and what was measured.

    Attributes:
        claim: a short name.
        statement: what is claimed.
        test: the number that decides, in words.
        value: its mean over seeds, or of an exact claim its worst case.
        low: lower end of the 95 % interval over seeds; NaN of fewer than two seeds, and where
            every seed has to meet the bound by itself.
        high: upper end.
        side: whether the number has to be ``above`` or ``below`` the bound; None where it is only
            reported.
        bound: what it is held against.
        seeds: how many networks of a kind, or pairs of them, it was measured on.
        verdict: ``supported``, ``not supported`` or ``undecided``; ``reported`` without a bound.
        published: what the paper has in its place, if it says so.
        note: what else a reader should know.
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
        interval = "" if math.isnan(self.low) else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g}{interval}"

    @property
    def wanted(self) -> str:
        """What the value is held against."""
        return "" if self.side is None else f"{self.side} {self.bound:g}"

    def row(self) -> dict[str, Any]:
        """The claim as a line of ``claims.csv``."""
        return {
            key: "" if isinstance(value, float) and math.isnan(value) else value
            for key, value in vars(self).items()
        } | {"side": self.side or ""}


def over_seeds(
    claim: str,
    statement: str,
    test: str,
    values: Sequence[float],
    side: Side | None,
    bound: float = math.nan,
    *,
    published: str = "",
    note: str = "",
) -> Claim:
    """A claim about means over seeds: decided where the whole interval lies on one side.

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
    return Claim(
        *(claim, statement, test, value, low, high, side, bound),
        seeds=len(values),
        verdict=verdict,
        published=published,
        note=note,
    )


def exactly(
    claim: str,
    statement: str,
    test: str,
    values: Sequence[float],
    side: Side,
    bound: float,
    *,
    seeds: int = 1,
    published: str = "",
    note: str = "",
) -> Claim:
    """A claim that holds of every case or of none, as an identity: its worst case decides.

    A case without a value leaves it undecided.
    """
    worst = math.nan
    if values and not any(map(math.isnan, values)):
        worst = float((min if side == "above" else max)(values))
    met = worst >= bound if side == "above" else worst <= bound
    verdict = "undecided" if math.isnan(worst) else "supported" if met else "not supported"
    return Claim(
        *(claim, statement, test, worst, math.nan, math.nan, side, bound),
        seeds=seeds,
        verdict=verdict,
        published=published,
        note=note,
    )
