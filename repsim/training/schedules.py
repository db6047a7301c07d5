"""Learning rates over a run, as a factor of the base rate."""

from __future__ import annotations

import math


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Linear from 0 over ``warmup`` steps, then half a cosine down to 0 at ``total``."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def warmup_steps(
    step: int, total: int, warmup: int, drops: tuple[float, ...], factor: float = 0.1
) -> float:
    """Linear from 0 over ``warmup`` steps, then falling by ``factor`` at each of ``drops``.

    These are shares of the run: (1/3, 2/3, 8/9) are epochs 30, 60 and 80 of 90; (3/7, 5/7) are 15
    and 25 of 35 (the recipes of Kolesnikov et al. 2019).
    """
    if step < warmup:
        return (step + 1) / warmup
    return factor ** sum(step >= drop * total for drop in drops)


def constant_exponential(step: int, total: int, end: float = 0.01) -> float:
    """Constant for the first half, then falling exponentially to ``end`` (Donahue et al. 2017)."""
    return end ** max(0.0, 2 * step / total - 1)
