"""How far a measured accuracy may be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(accuracy: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy on ``n`` independent examples (Wilson 1927).

    Unlike accuracy ± z s it keeps within [0, 1] and is not empty at its ends.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (accuracy + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(accuracy * (1 - accuracy) / n + (z / (2 * n)) ** 2)
    # It holds the accuracy itself, which rounding would leave out at 0 and 1.
    return max(0.0, min(accuracy, centre - reach)), min(1.0, max(accuracy, centre + reach))


def paired_difference(won: int, lost: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two accuracies on the same ``n`` examples.

    Agresti and Min (2005): half an example more of each of the four kinds of pairs, so that the
    interval of classifiers that agree on all examples is as wide as their number allows.

    Args:
        won: examples that the first alone has right.
        lost: examples that the second alone has right.
        n: examples.
        level: how often such intervals cover.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (won - lost) / (n + 2)
    reach = z * math.sqrt(((won + lost + 1) / (n + 2) - centre**2) / (n + 2))
    return centre - reach, centre + reach
