"""Parts of panels that papers share."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim.confidence import mean_interval
from repsim.figures.panels.lines import Line
from repsim.results.figure import Look

#: The meaning of bands and whiskers, for captions.
BANDS = "Bands are 95 % intervals over seeds."


def mean_line(label: str, values: Any, *, look: Look = "line", group: str | None = None) -> Line:
    """A line of a panel: means over the first axis of ``values`` (seeds, x), and 95 % intervals."""
    value, low, high = mean_interval(np.array(values, dtype=float))
    return Line(label, value.tolist(), low.tolist(), high.tolist(), look, group)


def mean_of(count: int, each: str) -> str:
    """``mean of 3 seeds``, or ``one seed``."""
    return f"mean of {count} {each}s" if count > 1 else f"one {each}"
