"""Statistics that papers share: means over networks with their intervals, rank correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from repsim.confidence import mean_interval
from repsim.jackknife import Networks, network_interval


def mean_over(values: Any, networks: Networks = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis of ``values``, and the ends of its 95 % interval over networks.

    Args:
        values: (k, ...) numbers, as a rule one for each network.
        networks: of each value, as ``Found.networks`` gives them, where values are of pairs.
    """
    return network_interval(values, networks) if networks else mean_interval(values)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN if x or y does not vary."""
    varied = len(np.unique(x)) > 1 and len(np.unique(y)) > 1
    return float(spearmanr(x, y)[0]) if varied else math.nan
