"""Parts of panels that papers share."""

from __future__ import annotations

from typing import Any

from repsim.figures.panels.lines import Line
from repsim.figures.papers.engine.statistics import mean_over
from repsim.jackknife import Networks
from repsim.results.figure import Look

#: The meaning of bands and whiskers, for captions.
BANDS = "Bands are 95 % intervals over networks."


def mean_line(
    label: str,
    values: Any,
    *,
    networks: Networks = (),
    look: Look = "line",
    group: str | None = None,
) -> Line:
    """A line of a panel: means over the first axis of ``values`` (networks, x), and 95 % intervals.

    Where values are of pairs of networks, ``networks`` has the names of both, as ``Found.networks``
    gives them.
    """
    value, low, high = mean_over(values, networks)
    return Line(label, value.tolist(), low.tolist(), high.tolist(), look, group)


def mean_of(count: int, each: str) -> str:
    """``mean of 3 seeds``, or ``one seed``."""
    return f"mean of {count} {each}s" if count > 1 else f"one {each}"
