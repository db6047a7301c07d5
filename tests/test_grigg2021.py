"""Claims of Grigg et al. (2021) on similarities that are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from repsim.figures.papers.engine import Claim
from repsim.figures.papers.grigg2021 import claims
from repsim.figures.papers.grigg2021 import layers as at
from repsim.figures.papers.grigg2021.analyses import (
    ACROSS,
    CLASSES,
    IDENTIFICATION,
    INVARIANCE,
    PROBES,
    WITHIN_SIMCLR,
)
from repsim.figures.papers.grigg2021.runs import SIMCLR, SUPERVISED
from repsim.results import SimilarityMap, Table

#: Even layers of three, four, six and three blocks.
LAYERS = tuple(f"bg{g}.b{b}.even" for g, n in enumerate((3, 4, 6, 3), start=1) for b in range(n))

PAIRS = [("simclr-0", "simclr-1"), ("simclr-0", "simclr-2"), ("simclr-1", "simclr-2")]


def steady() -> np.ndarray:
    """From 0.9 to 0.3 by the same step in every block."""
    return np.linspace(0.9, 0.3, len(LAYERS))


def rapid() -> np.ndarray:
    """Hardly less before the last group, which falls from 0.8 to 0.3."""
    return np.array([*np.linspace(0.9, 0.8, 13), 0.7, 0.5, 0.3])


def same_layers(curve: np.ndarray) -> SimilarityMap:
    return SimilarityMap(LAYERS, LAYERS, np.diag(curve), None, 100, "a", "b", "linear")


def with_classes(curve: np.ndarray) -> SimilarityMap:
    return SimilarityMap(LAYERS, ("classes",), curve[:, None], None, 100, "a", "b", "linear")


class Found:
    """Results of three seeds, with a little noise."""

    data, seeds = "cifar10", range(3)
    words: ClassVar[dict[str, str]] = {}

    def __init__(self, results: dict[Any, list[Any]]) -> None:
        entries = [SimpleNamespace(layer=layer, network="x") for layer in (*LAYERS, "head")]
        curve = SimpleNamespace(networks=lambda: ["x"], of=lambda name: entries)
        self._results = {PROBES[SIMCLR]: [curve], **results}

    def __getitem__(self, asked: Any) -> list[Any]:
        return self._results[asked]

    def networks(self, asked: Any) -> list[tuple[str, ...]]:
        assert asked in (WITHIN_SIMCLR, IDENTIFICATION)
        return PAIRS


def seeds(make: Any, curve: np.ndarray) -> list[Any]:
    return [make(curve + shift) for shift in (-0.01, 0.0, 0.01)]


def verdict(claim: Claim, analysis: Any, results: Sequence[Any]) -> str:
    (finding,) = claim.findings(Found({analysis: list(results)}))
    return finding.verdict


def test_the_share_of_a_fall_within_the_last_group() -> None:
    # A step in each of 15 blocks, three of them in the last group.
    assert at.share_of_fall(steady(), LAYERS) == pytest.approx(3 / 15)
    assert at.share_of_fall(rapid(), LAYERS) == pytest.approx(0.5 / 0.6)
    assert math.isnan(at.share_of_fall(steady()[::-1], LAYERS))
    assert at.rise(steady(), LAYERS) == pytest.approx(-0.6 * 12 / 15)


def test_steady_divergence_is_not_rapid() -> None:
    """The bound of 0.2 on the fall alone has both supported."""
    for curve, found in ((steady(), "not supported"), (rapid(), "supported")):
        maps = seeds(same_layers, curve)
        assert verdict(claims.rapid_divergence, ACROSS, maps) == found
        assert verdict(claims.late_divergence, ACROSS, maps) == "supported"
        assert verdict(claims.alike_at_first, ACROSS, maps) == "supported"


def test_objectives_that_intermediate_layers_come_to_fit() -> None:
    rising, falling = np.linspace(0.1, 0.4, 16), np.linspace(0.6, 0.2, 16)
    noisy = [0.0, 0.01, -0.005]
    cases = (
        (claims.simclr_fits_the_classes, CLASSES[SIMCLR], with_classes, rising, falling),
        (
            claims.supervised_does_not_fit_invariance,
            INVARIANCE[SUPERVISED],
            same_layers,
            falling,
            rising,
        ),
    )
    for claim, analysis, make, fits, fails in cases:
        for curve, outcome in ((fits, "supported"), (fails, "not supported")):
            slopes = [make(curve + slope * np.linspace(0, 1, 16)) for slope in noisy]
            (finding,) = claim.findings(Found({analysis: slopes}))
            assert finding.verdict == outcome
            assert finding.low < finding.value < finding.high
            assert verdict(claim, analysis, slopes[:2]) == "undecided: needs three"
    # The last group does not count.
    late = np.array([*np.linspace(0.4, 0.2, 13), 0.6, 0.8, 0.9])
    assert verdict(claims.simclr_fits_the_classes, CLASSES[SIMCLR], seeds(with_classes, late)) == (
        "not supported"
    )


def test_intervals_over_pairs_of_simclr_networks_are_over_networks() -> None:
    tables = [
        Table.of("layer identification", [{"measure": "cka", "layers identified": 60.0 + share},
                                          {"measure": "cca", "layers identified": 10.0}])
        for share in (0, 3, 9)
    ]  # fmt: skip
    (finding,) = claims.cka_above_cca.findings(Found({IDENTIFICATION: tables}))
    # Of 50, 53 and 59 without one network each: s² = 2/3 Σ (x - 54)², t of two degrees 4.303.
    reach = 4.302652729911275 * math.sqrt(2 / 3 * 42)
    assert (finding.low, finding.high) == pytest.approx((54 - reach, 54 + reach))
    assert finding.seeds == 3
