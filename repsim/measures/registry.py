"""All measures by name, with what leaves each unchanged and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from repsim.measures.cca import cca, pwcca, svcca
from repsim.measures.cka import cka
from repsim.measures.neighbours import mutual_knn
from repsim.measures.procrustes import procrustes_distance
from repsim.measures.regression import linear_regression
from repsim.measures.rsa import rsa

#: Maps of the features: rotation (or reflection), isotropic scale, shift.
EUCLIDEAN = frozenset({"rotation", "scale", "shift"})
#: The same, and every invertible linear map.
AFFINE = EUCLIDEAN | {"invertible"}


@dataclass(frozen=True)
class Measure:
    """A measure of two layers and its properties.

    Attributes:
        name: what to call it.
        function: takes x (n, p) and y (n, q), returns a float.
        invariances_x: maps of the features of x that leave it unchanged, whatever x and y are:
            some of ``"rotation"``, ``"scale"``, ``"shift"``, ``"invertible"``.
        invariances_y: the same for y.
        symmetric: whether x and y may change places.
        distance: whether it shrinks with likeness, to 0, in place of growing to 1.
        source: the paper that defines it.
    """

    name: str
    function: Callable[[Any, Any], Any]
    invariances_x: frozenset[str]
    invariances_y: frozenset[str]
    symmetric: bool
    distance: bool
    source: str


def _symmetric(
    name: str,
    function: Callable[[Any, Any], Any],
    invariances: frozenset[str],
    source: str,
    *,
    distance: bool = False,
) -> Measure:
    return Measure(name, function, invariances, invariances, True, distance, source)


_ALL = (
    _symmetric("cka", cka, EUCLIDEAN, "Kornblith et al. (2019); Song et al. (2012)"),
    _symmetric(
        "cka-rbf",
        partial(cka, kernel="rbf"),
        EUCLIDEAN,
        "Kornblith et al. (2019); Song et al. (2012)",
    ),
    _symmetric(
        "cka-biased", partial(cka, estimator="biased"), EUCLIDEAN, "Kornblith et al. (2019)"
    ),
    Measure(
        "regression", linear_regression, EUCLIDEAN, AFFINE, False, False, "Kornblith et al. (2019)"
    ),
    _symmetric("cca", cca, AFFINE, "Hotelling (1936)"),
    _symmetric("cca-squared", partial(cca, squared=True), AFFINE, "Hotelling (1936)"),
    _symmetric("svcca", svcca, EUCLIDEAN, "Raghu et al. (2017)"),
    _symmetric("svcca-squared", partial(svcca, squared=True), EUCLIDEAN, "Raghu et al. (2017)"),
    # Its weights are sums of absolute values over the features of x, which a rotation changes.
    Measure(
        "pwcca", pwcca, frozenset({"scale", "shift"}), AFFINE, False, False, "Morcos et al. (2018)"
    ),
    _symmetric(
        "procrustes",
        procrustes_distance,
        EUCLIDEAN,
        "Schönemann (1966); Ding et al. (2021); Williams et al. (2021)",
        distance=True,
    ),
    _symmetric("rsa", rsa, EUCLIDEAN, "Kriegeskorte et al. (2008)"),
    _symmetric("mutual-knn", mutual_knn, EUCLIDEAN, "Huh et al. (2024)"),
)

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _ALL}
"""Every measure by name, with its default settings: a dict of name to ``Measure``."""
