"""Confidence intervals of accuracies, of their differences and of means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from repsim.errors import UsageError

#: Numbers along the first axis, and any shape behind it.
Values = Sequence[float] | Sequence[Sequence[float]] | np.ndarray


def check_level(level: float) -> None:
    """Raise ``UsageError`` for a level that no interval can have."""
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; expected between 0 and 1, such as 0.95")


def normal_quantile(level: float) -> float:
    """z with a share ``level`` of the standard normal distribution in [-z, z]."""
    return NormalDist().inv_cdf((1 + level) / 2)


def t_quantile(level: float, freedom: float | np.ndarray) -> np.ndarray:
    """The same of Student's t distribution with so many degrees of freedom, of any shape."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, (1 + level) / 2))


def mean_interval(values: Values, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the first axis, as of seeds, and the ends of its Student t interval (Student 1908).

    Of values that are independent, as one a network is. Values of pairs that share networks are
    not: ``repsim.jackknife.network_interval``.

    mean ± t s / sqrt(k), with s the standard deviation of k values and k - 1 degrees of freedom.
    One value has no interval: its ends are NaN. A NaN among values makes their mean and both ends
    NaN, so that no mean is over fewer seeds than it seems.

    Args:
        values: (k, ...) numbers.
        level: how often such intervals cover, between 0 and 1.

    Returns:
        mean, low and high: (...) float64 each.

    Raises:
        UsageError: no value, or a level that cannot be.
    """
    stacked = np.asarray(values, dtype=np.float64)
    if stacked.ndim == 0 or not len(stacked):
        raise UsageError(
            "there are no values to average; expected one a seed, along the first axis"
        )
    check_level(level)
    mean, count = stacked.mean(0), len(stacked)
    if count == 1:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    reach = t_quantile(level, count - 1) * stacked.std(0, ddof=1) / math.sqrt(count)
    return mean, mean - reach, mean + reach


def wilson(accuracy: float, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an accuracy on ``n`` independent examples (Wilson 1927).

    Unlike accuracy ± z s it keeps within [0, 1] and is not empty at its ends.
    """
    z = normal_quantile(level)
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
    z = normal_quantile(level)
    centre = (won - lost) / (n + 2)
    reach = z * math.sqrt(((won + lost + 1) / (n + 2) - centre**2) / (n + 2))
    return centre - reach, centre + reach
