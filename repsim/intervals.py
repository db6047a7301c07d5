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
