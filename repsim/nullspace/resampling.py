"""Bootstrap of the examples within their strata: forms and moments over resamples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repsim.nullspace.population import Population
from repsim.nullspace.scatter import Forms
from repsim.nullspace.subspace import BLOCK

if TYPE_CHECKING:
    from jaxtyping import Float


def weights(n: int, resamples: int, seed: list[int]) -> Iterator[Float[Tensor, "b n"]]:
    """Times that each of n examples is drawn: first once each, then in ``resamples`` resamples."""
    yield torch.ones(1, n, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counted = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield torch.from_numpy(counted).double()


def resampled(
    population: Population, resamples: int, seed: list[int]
) -> tuple[Forms, Float[Tensor, "c d"]]:
    """Forms in the whole space of ``population``, and the mean of all examples, over resamples.

    The first case is the examples as they are. Each stratum is resampled on its own, with the same
    draws for the same seed, whatever subspace the population has been taken onto.
    """
    centre = population.mean
    within, means = [], []
    apart, offset = torch.zeros_like(centre[:1]), torch.zeros_like(centre)
    for i, rows in enumerate(population.residuals.split(population.counts)):
        n, squares = len(rows), rows.square().sum(1)
        sums, shifts = [], []
        for drawn in weights(n, resamples, [*seed, i]):
            drawn = drawn.to(rows.device)
            sums.append(drawn @ squares)
            shifts.append(drawn @ rows / n)
        shift = torch.cat(shifts)
        within.append(torch.cat(sums) - n * shift.square().sum(1))
        means.append((population.means[i] + shift).square().sum(1))
        from_centre = population.means[i] - centre + shift
        apart = apart + n * from_centre.square().sum(1)
        offset = offset + n / population.n * from_centre
    mean = centre + offset
    between = apart - population.n * offset.square().sum(1)
    if len(population.counts) == 1:
        between = torch.zeros_like(between)  # but for rounding
    forms = Forms(
        population.sizes,
        torch.stack(within, 1),
        torch.stack(means, 1),
        between,
        mean.square().sum(1),
    )
    return forms, mean


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of one number per example, for c resamples or c directions.

    Attributes:
        counts: (g,) examples of each stratum.
        mean: (c, g) of each stratum.
        variance: (c, g) of each stratum, dividing by n.
    """

    counts: Float[Tensor, " g"]
    mean: Float[Tensor, "c g"]
    variance: Float[Tensor, "c g"]

    @classmethod
    def of(cls, values: Float[Tensor, "n c"], counts: tuple[int, ...]) -> Moments:
        """Of c columns of numbers, one stratum after the other."""
        parts = values.split(counts)
        sizes = torch.tensor(counts, dtype=torch.float64, device=values.device)
        means = torch.stack([part.mean(0) for part in parts], 1)
        return cls(sizes, means, torch.stack([part.var(0, correction=0) for part in parts], 1))

    @classmethod
    def resampled(
        cls, values: Float[Tensor, " n"], counts: tuple[int, ...], resamples: int, seed: list[int]
    ) -> Moments:
        """Of one column (n,) over resamples, with the draws of ``resampled``."""
        means, variances = [], []
        for i, part in enumerate(values.split(counts)):
            n, centre = len(part), part.mean()
            columns = torch.stack([part - centre, (part - centre).square()], 1)
            drawn = weights(n, resamples, [*seed, i])
            sums = torch.cat([each.to(part.device) @ columns for each in drawn]) / n
            means.append(centre + sums[:, 0])
            variances.append(sums[:, 1] - sums[:, 0].square())
        sizes = torch.tensor(counts, dtype=torch.float64, device=values.device)
        return cls(sizes, torch.stack(means, 1), torch.stack(variances, 1))

    @classmethod
    def join(cls, parts: list[Moments]) -> Moments:
        """The cases of several in one."""
        means, variances = (
            [getattr(part, name) for part in parts] for name in ("mean", "variance")
        )
        return cls(parts[0].counts, torch.cat(means), torch.cat(variances))

    def only(self, i: int | None) -> Moments:
        """Stratum i alone; all of them without an index."""
        if i is None:
            return self
        part = slice(i, i + 1)
        return Moments(self.counts[part], self.mean[:, part], self.variance[:, part])

    @property
    def overall(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Mean and standard deviation of all examples."""
        share = self.counts / self.counts.sum()
        mean = self.mean @ share
        variance = (self.variance + (self.mean - mean[:, None]).square()) @ share
        return mean, variance.sqrt()
