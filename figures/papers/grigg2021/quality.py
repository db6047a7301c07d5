"""The accuracy of probes on the networks, for captions."""

from __future__ import annotations

import numpy as np

from repsim.figures.papers.engine import Found, mean_of
from repsim.figures.papers.grigg2021 import layers as at
from repsim.figures.papers.grigg2021.analyses import PROBES
from repsim.figures.papers.grigg2021.runs import NAMES


def quality(found: Found) -> str:
    """The accuracy of linear probes on the last block of each kind of network."""
    last = at.last_block(at.probed(found[next(iter(PROBES.values()))][0]))
    means = {
        NAMES[run]: 100 * np.mean([at.accuracies(curve, [last]) for curve in found[asked]])
        for run, asked in PROBES.items()
    }
    read = ", ".join(f"{mean:.1f} % ({name})" for name, mean in means.items())
    return (
        f"How good the networks are: linear probes on the last block read {read} on "
        f"{found.data} {found.splits['held_out']}, {mean_of(len(found.seeds), 'seed')}."
    )
