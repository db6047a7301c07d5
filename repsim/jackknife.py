"""Means over networks and over pairs of them: the jackknife that leaves out one network at a time.

Of three networks there are three pairs, and each shares a network with every other. Student's t
over pairs takes them for independent: its 95 % intervals cover 83 % with three networks, 44 % with
ten.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from repsim.confidence import Values, check_level, t_quantile
from repsim.errors import UsageError

#: The networks of each value: one, or the two of a pair, by names that tell them apart.
Networks = Sequence[tuple[Hashable, ...]]


class Spread(NamedTuple):
    """A mean over networks, and how certain it is.

    Attributes:
        mean: of the values.
        stderr: its standard error over draws of networks; NaN where nothing is known of it.
        freedom: degrees of freedom of the standard error.
    """

    mean: np.ndarray
    stderr: np.ndarray
    freedom: np.ndarray


def network_interval(
    values: Values, networks: Networks, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of values that belong to pairs of networks, and the ends of its interval.

    mean ± t s, with s and the degrees of freedom of ``over_networks``. One value has no interval,
    nor have values that all have a network in common: the ends are NaN.

    Args:
        values: (k, ...) numbers.
        networks: of each value: ``[("a", "b"), ("a", "c"), ("b", "c")]``.
        level: how often such intervals cover, between 0 and 1.

    Returns:
        mean, low and high: (...) float64 each.

    Raises:
        UsageError: no value, networks of another number of values, or a level that cannot be.
    """
    check_level(level)
    mean, stderr, freedom = over_networks(values, networks)
    reach = t_quantile(level, freedom) * stderr
    return mean, mean - reach, mean + reach


def over_networks(values: Values, networks: Networks) -> Spread:
    """The mean of values of networks or pairs of them, with the jackknife over networks.

    A network is left out with all of its pairs. Of the n means without one,
    s² = (n-1)/n Σ (mean₍₋ᵢ₎ - their mean)², with n - 1 degrees of freedom (Tukey 1958; Efron and
    Stein 1981; for U-statistics, as a mean over pairs is one, Arvesen 1969). Where the value of a
    pair is the sum of an effect of each network, this is exact.

    Pairs are of two families where no network stands on both sides. Their variances add, with the
    degrees of freedom of Welch (1947) and Satterthwaite (1946). Networks that occur in the same
    pairs only, as in pairs of two families by seed, are left out together: of such pairs and of
    single networks, this is Student's t.

    Where pairs differ by more than the sum of their networks' effects, s is too large.

    Args:
        values: (k, ...) numbers. A NaN among them makes their mean and its error NaN.
        networks: of each value, all one or all two.

    Raises:
        UsageError: no value, or networks of another number of values.
    """
    stacked = np.asarray(values, dtype=np.float64)
    if stacked.ndim == 0 or not len(stacked):
        raise UsageError("there are no values to average; expected one a network or pair of them")
    if len(networks) != len(stacked) or len({len(each) for each in networks}) > 1:
        raise UsageError(
            f"{len(networks)} entries of networks came with {len(stacked)} values; expected the "
            "network or the two networks of each value"
        )
    places = [_places(family, networks) for family in families(networks)]
    variances = np.stack([_variance(stacked, each) for each in places])
    freedom = _freedom(variances, [len(each) - 1 for each in places])
    return Spread(stacked.mean(0), np.sqrt(variances.sum(0)), freedom)


def families(networks: Networks) -> list[list[Hashable]]:
    """The networks of each family, every network once, in order.

    All are of one family where one stands on both sides of pairs. Otherwise each side has a family
    of its own, unless its networks occur in the same pairs only.
    """
    sides = [list(dict.fromkeys(side)) for side in zip(*networks, strict=True)]
    if len(sides) > 1 and set(sides[0]) & set(sides[1]):
        sides = [list(dict.fromkeys([*sides[0], *sides[1]]))]
    found: dict[frozenset[frozenset[int]], list[Hashable]] = {}
    for side in sides:
        found.setdefault(frozenset(map(frozenset, _places(side, networks))), side)
    return list(found.values())


def fewest(networks: Networks) -> int:
    """The number of networks in the smaller family; 0 of none."""
    return min((len(family) for family in families(networks)), default=0)


def _places(family: Sequence[Hashable], networks: Networks) -> list[list[int]]:
    """The places of the values of each network, once for networks with the same places."""
    places = (tuple(k for k, each in enumerate(networks) if one in each) for one in family)
    return [list(each) for each in dict.fromkeys(places)]


def _variance(values: np.ndarray, places: Sequence[Sequence[int]]) -> np.ndarray:
    """The jackknife's variance over one family; NaN where nothing is left without a network."""
    n = len(places)
    if n < 2 or max(map(len, places)) == len(values):
        return np.full(values.shape[1:], np.nan)
    without = np.stack([np.delete(values, each, axis=0).mean(0) for each in places])
    return (n - 1) / n * np.square(without - without.mean(0)).sum(0)


def _freedom(variances: np.ndarray, freedoms: Sequence[int]) -> np.ndarray:
    """Welch and Satterthwaite's degrees of freedom of a sum of variances."""
    total = variances.sum(0)
    shares = np.divide(variances, total, out=np.ones_like(variances), where=total > 0)
    each = np.array([k or np.nan for k in freedoms]).reshape(-1, *[1] * total.ndim)
    return 1 / (np.square(shares) / each).sum(0)
