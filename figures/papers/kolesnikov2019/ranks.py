"""Ranks, and how far rankings agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau, rankdata


def ranks(values: Sequence[float]) -> list[int]:
    """The rank of each value from 1 for the largest; equal values share the better rank.

    Values that are NaN have the rank 0.
    """
    known = np.array(values, float)
    there = ~np.isnan(known)
    found = np.zeros(len(known), int)
    if there.any():
        found[there] = rankdata(-known[there], method="min")
    return found.tolist()


def tau(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's rank correlation (tau-b) where both have a value; NaN where one does not vary."""
    a, b = np.array(x, float), np.array(y, float)
    there = ~(np.isnan(a) | np.isnan(b))
    a, b = a[there], b[there]
    if len(np.unique(a)) < 2 or len(np.unique(b)) < 2:
        return math.nan
    return float(kendalltau(a, b).statistic)


def taus(rows: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], float]:
    """Kendall's tau of each pair of rows, by their names."""
    return {(a, b): tau(rows[a], rows[b]) for a, b in combinations(rows, 2)}
