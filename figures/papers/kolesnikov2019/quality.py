"""The quality of the networks in a sentence, which every caption ends with."""

from __future__ import annotations

import numpy as np

from repsim.figures.papers.engine import Found
from repsim.figures.papers.kolesnikov2019.numbers import accuracy, pretext, there


def quality(found: Found) -> str:
    """A sentence on the first network of the grid: its pretext task, and a linear probe of it."""
    cell = there(found)[0]
    own, probed = (np.mean(values) for values in (pretext(found, cell), accuracy(found, cell)))
    return (
        f"Networks of scale {found.scale}: {cell.network} at k = {cell.width} is right on "
        f"{own:.1f} % of {cell.task}, a linear probe of it on {probed:.1f} % of the classes."
    )
