"""Information that a feature adds about labels (Song, Zhao and Ermon 2017)."""

from __future__ import annotations

import math
from numbers import Integral, Real

from repsim.errors import UsageError


def signal(keep: float, copy: float, classes: int = 10) -> float:
    """Bits that a right digit adds about the left label, beyond the left digit itself.

    signal(f_r) = I(y; f_r | f_l) = H(y | f_l) - H(y | f_l, f_r), for digits that are read without
    error and infinitely many of them (Song et al. 2017). The left digit tells the label y with
    probability ``keep`` and nothing otherwise; the right one agrees with it with probability
    p = copy + (1 - copy) / K, and is any other of K labels alike. Hence

        signal = (1 - keep) [log2 K + p log2 p + (1 - p) log2((1 - p) / (K - 1))].

    Args:
        keep: probability that the left digit stays readable.
        copy: probability that the right digit repeats the label of the left one.
        classes: K.

    Returns:
        From 0, where the left digit is always readable or labels are independent, to log2 K.

    Raises:
        UsageError: a probability outside [0, 1], or fewer than two classes.
    """
    for name, value in (("keep", keep), ("copy", copy)):
        if not isinstance(value, Real) or not 0 <= value <= 1:
            raise UsageError(f"{name} is {value!r}; expected a number from 0 to 1")
    if not isinstance(classes, Integral) or not 2 <= classes <= 2**53:
        raise UsageError(f"classes is {classes!r}; expected a whole number from 2 to 2^53")
    if copy == 0:
        return 0.0
    p = copy + (1 - copy) / classes
    known = math.log2(classes) + p * math.log2(p)
    if p < 1:
        known += (1 - p) * math.log2((1 - p) / (classes - 1))
    return (1 - keep) * known
