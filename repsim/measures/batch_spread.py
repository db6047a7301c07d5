"""Spread over batches: standard errors of a ratio of sums, and a test for sorted loaders."""

from __future__ import annotations

from collections.abc import Callable

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
            total += other._of[key].to(total.device)

    def move(self, moved: Callable[[Tensor], Tensor]) -> None:
        """Go on with the sums on another device, where ``moved`` brings a tensor."""
        self._of = {key: moved(total) for key, total in self._of.items()}

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
        of = {key: total.cpu() for key, total in self._of.items()}
        total = u * u * of["ab_ab"] + v * v * of["aa_aa"] + w * w * of["bb_bb"]
        total = total + 2 * (u * v * of["ab_aa"] + u * w * of["ab_bb"] + v * w * of["aa_bb"])
        return (total * (shown.repetition * (batches / (batches - shown.passes)))).sqrt()


class Means:
    """Means of the batches, whose differences are held against the spread within (ANOVA's F).

    The sums stay on the device of the first batch until they are asked for.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0
        self._within: Tensor | float = 0.0
        self._n = self._batches = 0

    def update(self, layer: Layer) -> None:
        # The rest of the mean is in units of the scale, as the norms are.
        mean = layer.mean.double() + layer.rest.double() * layer.scale
        if self._first is None:
            self._first = mean
        beyond = mean.to(self._first.device) - self._first
        within = layer.norms.sum().to(self._first.device)
        self._sum = self._sum + layer.n * beyond
        self._squares = self._squares + layer.n * beyond.square().sum()
        self._within = self._within + within * layer.scale**2
        self._n += layer.n
        self._batches += 1

    def merge(self, other: Means) -> None:
        if other._first is None:
            return
        if self._first is None:
            self._first = other._first
        device = self._first.device
        theirs = [_at(each, device) for each in (other._sum, other._squares, other._within)]
        offset = other._first.to(device) - self._first
        apart = 2 * (offset * theirs[0]).sum() + other._n * offset.square().sum()
        self._squares = self._squares + (theirs[1] + apart)
        self._sum = self._sum + theirs[0] + other._n * offset
        self._within = self._within + theirs[2]
        self._n += other._n
        self._batches += other._batches

    def ratio(self) -> float:
        """Variance between batches over that within; about 1 for shuffled ones."""
        within = float(self._within)
        if self._batches < 2 or self._n <= self._batches or not within > 0:
            return 1.0
        assert isinstance(self._sum, Tensor)
        between = float(self._squares) - float(self._sum.square().sum()) / self._n
        return (between / (self._batches - 1)) / (within / (self._n - self._batches))


def _at(value: Tensor | float, device: torch.device) -> Tensor | float:
    return value.to(device) if isinstance(value, Tensor) else value
