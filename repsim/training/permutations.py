"""Permutations that are far apart, by Hamming distance (Noroozi and Favaro 2016, Algorithm 1)."""

from __future__ import annotations

import math
from functools import cache
from itertools import chain, permutations

import numpy as np
import torch
from torch import Tensor


@cache
def distant_permutations(patches: int, count: int) -> Tensor:
    """Permutations of ``patches`` numbers, each far from all before: (count, patches) int64.

    The first is the identity. Each next one has the largest sum of Hamming distances to the ones
    before it, as in the paper; among equals the one whose nearest is furthest, then the first in
    lexicographic order. At most all permutations.
    """
    every = _all_permutations(patches)
    total = np.zeros(len(every), np.int64)
    nearest = np.full(len(every), patches)
    chosen: list[int] = []
    for _ in range(min(count, len(every))):
        # A distance is at most ``patches``, so that the sum decides first.
        best = int((total * (patches + 1) + nearest).argmax())
        chosen.append(best)
        distance = (every != every[best]).sum(1)
        total += distance
        np.minimum(nearest, distance, out=nearest)
        total[best] = -1 - patches * len(every)  # never again
    return torch.from_numpy(every[chosen].astype(np.int64))


def _all_permutations(n: int) -> np.ndarray:
    """All permutations of n numbers in lexicographic order, (n!, n) int8."""
    numbers = chain.from_iterable(permutations(range(n)))
    return np.fromiter(numbers, np.int8, n * math.factorial(n)).reshape(-1, n)
