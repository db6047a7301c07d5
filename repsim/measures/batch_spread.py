"""Spread over batches: standard errors of a ratio of sums, and a test for sorted loaders."""

from __future__ import annotations

import torch
from torch import Tensor

from repsim.measures.hsic import HSIC
from repsim.measures.layer import Layer
from repsim.measures.shown import Shown


class Squares:
    """Sums of products of the batches' HSICs, from which the ratio's standard error follows."""

    def __init__(self, a: int, b: int) -> None:
        shapes = {"ab_ab": (a, b), "ab_aa": (a, b), "ab_bb": (a, b), "aa_bb": (a, b)}
        shapes |= {"aa_aa": (a, 1), "bb_bb": (1, b)}
        self._of = {key: torch.zeros(s, dtype=torch.float64) for key, s in shapes.items()}

    def update(self, batch: HSIC, n: int) -> None:
        of = {"ab": batch.ab, "aa": batch.aa[:, None], "bb": batch.bb[None]}
        for key, total in self._of.items():
            left, right = key.split("_")
            total += n**2 * of[left] * of[right]

    def merge(self, other: Squares) -> None:
        for key, total in self._of.items():
            total += other._of[key]

    def standard_errors(self, sums: HSIC, values: Tensor, batches: int, shown: Shown) -> Tensor:
        """Standard errors of a ratio of sums over batches of random examples, by the delta method.

        √(R B/(B-P) Σ zₖ²), with zₖ = nₖ [ab/√(AA BB) - CKA/2 (aa/AA + bb/BB)] of batch k and
        capitals for sums over batches. B - P are the degrees of freedom. In one pass over the
        examples P = R = 1. In P passes the batches of one share their examples with those of the
        others, so that the sum of all varies R = P times as much as that of independent batches;
        in general R = Σ c²/Σ c of the times c that each example came.
        """
        root = (sums.aa[:, None] * sums.bb).sqrt()
        u, v, w = 1 / root, -values / (2 * sums.aa[:, None]), -values / (2 * sums.bb)
        of = self._of
        total = u * u * of["ab_ab"] + v * v * of["aa_aa"] + w * w * of["bb_bb"]
        total = total + 2 * (u * v * of["ab_aa"] + u * w * of["ab_bb"] + v * w * of["aa_bb"])
        return (total * (shown.repetition * (batches / (batches - shown.passes)))).sqrt()


class Means:
    """Means of the batches, whose differences are held against the spread within (ANOVA's F)."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sum: Tensor | float = 0.0
        self._squares = self._within = 0.0
        self._n = self._batches = 0

    def update(self, layer: Layer) -> None:
        # The rest of the mean is in units of the scale, as the norms are.
        mean = layer.mean.double() + layer.rest.double() * layer.scale
        if self._first is None:
            self._first = mean
        beyond = mean.to(self._first.device) - self._first
        self._sum = self._sum + layer.n * beyond
        self._squares += layer.n * float(beyond.square().sum())
        self._within += float(layer.norms.sum()) * layer.scale**2
        self._n += layer.n
        self._batches += 1

    def merge(self, other: Means) -> None:
        if other._first is None:
            return
        if self._first is None:
            self._first = other._first
        assert isinstance(other._sum, Tensor)
        theirs, device = other._sum.to(self._first.device), self._first.device
        offset = other._first.to(device) - self._first
        self._squares += other._squares + float(
            2 * (offset * theirs).sum() + other._n * offset.square().sum()
        )
        self._sum = self._sum + theirs + other._n * offset
        self._within += other._within
        self._n += other._n
        self._batches += other._batches

    def ratio(self) -> float:
        """Variance between batches over that within; about 1 for shuffled ones."""
        if self._batches < 2 or self._n <= self._batches or not self._within > 0:
            return 1.0
        assert isinstance(self._sum, Tensor)
        between = self._squares - float(self._sum.square().sum()) / self._n
        return (between / (self._batches - 1)) / (self._within / (self._n - self._batches))
