"""Quadratic forms of features on subspaces: what every statistic of a split is made of.

With an orthonormal basis B of a subspace, the scatter of features in it is tr BᵀSB, and a squared
mean in it is |Bᵀm|². Both are linear in the projector BBᵀ: what lies in the null space is what lies
in the whole space less what lies in the row space. The same few sums serve for one subspace over
many resamples of the examples, and for the examples as they are over many random subspaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from repsim.nullspace.subspace import BLOCK

#: What remains of a form below this share of the whole space's is rounding of the subtraction.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Population:
    """Features in strata, such as classes, which resampling keeps as large as they are.

    Attributes:
        labels: of the strata, in rising order.
        counts: examples of each.
        means: of each, (g, d).
        residuals: (n, d) features less the mean of their stratum, one stratum after the other.
        order: (n,) the example that each row of ``residuals`` was.
    """

    labels: tuple[int, ...]
    counts: tuple[int, ...]
    means: Float[Tensor, "g d"]
    residuals: Float[Tensor, "n d"]
    order: Tensor

    @classmethod
    def of(cls, features: Float[Tensor, "n d"], labels: Tensor | None = None) -> Population:
        """The strata of ``features`` (n, d) by ``labels`` (n,); one stratum without them."""
        if labels is None:
            labels = torch.zeros(len(features), dtype=torch.int64)
        labels = labels.to(features.device)
        order = torch.argsort(labels, stable=True)
        names, sizes = labels.unique(return_counts=True)
        counts = tuple(sizes.tolist())
        residuals = features[order].double()  # indexing copies: what follows is in place
        means = []
        for part in residuals.split(counts):
            means.append(part.mean(0))
            part -= means[-1]
        return cls(tuple(names.tolist()), counts, torch.stack(means), residuals, order)

    @property
    def n(self) -> int:
        """Number of examples."""
        return sum(self.counts)

    @property
    def sizes(self) -> Tensor:
        """``counts`` as float64, (g,)."""
        return torch.tensor(self.counts, dtype=torch.float64, device=self.means.device)

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean of all examples."""
        return self.sizes @ self.means / self.n

    def along(self, directions: Float[Tensor, "d k"]) -> Float[Tensor, "n k"]:
        """<f, u> of each example with each direction, one stratum after the other."""
        offset = (self.means @ directions).repeat_interleave(self.sizes.long(), 0)
        return self.residuals @ directions + offset

    def onto(self, basis: Float[Tensor, "d r"]) -> Population:
        """The same examples in the coordinates of a subspace."""
        return replace(self, means=self.means @ basis, residuals=self.residuals @ basis)

    def condensed(self) -> Population:
        """The same scatter of each stratum in at most d rows: R of a QR decomposition, RᵀR = S.

        Their number is no longer that of the examples; ``counts`` still is.
        """
        parts = [
            torch.linalg.qr(part, mode="r").R if len(part) > part.shape[1] else part
            for part in self.residuals.split(self.counts)
        ]
        return replace(self, residuals=torch.cat(parts))


@dataclass(frozen=True, eq=False)
class Forms:
    """The forms of a population on a subspace, for c resamples or c subspaces.

    Attributes:
        counts: (g,) examples of each stratum.
        within: (c, g) Σ|Bᵀ(f - m_g)|² over the examples of stratum g, with m_g their mean.
        means: (c, g) |Bᵀm_g|².
        between: (c,) Σ n_g |Bᵀ(m_g - m)|², with m the mean of all examples.
        mean: (c,) |Bᵀm|².
    """

    counts: Float[Tensor, " g"]
    within: Float[Tensor, "c g"]
    means: Float[Tensor, "c g"]
    between: Float[Tensor, " c"]
    mean: Float[Tensor, " c"]

    @property
    def n(self) -> float:
        """Number of examples."""
        return float(self.counts.sum())

    @property
    def scatter_within(self) -> Float[Tensor, " c"]:
        """tr BᵀS_wB."""
        return self.within.sum(1)

    @property
    def scatter(self) -> Float[Tensor, " c"]:
        """tr BᵀSB about the mean of all examples."""
        return self.scatter_within + self.between

    @property
    def energy(self) -> Float[Tensor, " c"]:
        """Σ|Bᵀf|²."""
        return self.scatter_within + self.means @ self.counts

    def only(self, i: int) -> Forms:
        """Stratum i as a population of its own."""
        within, means = self.within[:, i : i + 1], self.means[:, i : i + 1]
        between = torch.zeros_like(self.between)
        return Forms(self.counts[i : i + 1], within, means, between, means[:, 0])

    def first(self) -> Forms:
        """The first case alone: of resamples, the examples as they are."""
        return Forms(self.counts, *(form[:1] for form in self._cases()))

    def without(self, part: Forms) -> Forms:
        """The forms on the orthogonal complement, within this subspace, of the subspace of part."""
        rest = [whole - some for whole, some in zip(self._cases(), part._cases(), strict=True)]
        return Forms(self.counts, *rest).cleared(self)

    def cleared(self, whole: Forms) -> Forms:
        """Zero where a form is so small beside that of the whole space that it is rounding."""
        pairs = zip(self._cases(), whole._cases(), strict=True)
        return Forms(
            self.counts,
            *(torch.where(form.abs() <= ROUNDING * all_of, 0.0, form) for form, all_of in pairs),
        )

    def _cases(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.within, self.means, self.between, self.mean

    @classmethod
    def join(cls, parts: list[Forms]) -> Forms:
        """The cases of several in one."""
        cases = zip(*(part._cases() for part in parts), strict=True)
        return cls(parts[0].counts, *(torch.cat(forms) for forms in cases))


def weights(n: int, resamples: int, seed: list[int]) -> Iterator[Float[Tensor, "b n"]]:
    """How often each of n examples is drawn: first each once, then in ``resamples`` resamples."""
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


def on_subspaces(
    population: Population, bases: Float[Tensor, "c d r"]
) -> tuple[Forms, Float[Tensor, "c r"]]:
    """Forms of a ``condensed`` population on each of c subspaces, and its mean there."""
    rows, stratum, sizes = population.residuals, _strata(population), population.sizes
    parts, means = [], []
    for some in bases.to(rows.device).split(max(1, BLOCK // (len(rows) * bases.shape[2] + 1))):
        c, d, r = some.shape
        flat = some.transpose(0, 1).reshape(d, c * r)
        within = torch.zeros(len(sizes), c, dtype=rows.dtype, device=rows.device)
        within.index_add_(0, stratum, (rows @ flat).view(-1, c, r).square_().sum(2))
        of_strata = (population.means @ flat).view(-1, c, r)
        mean = (population.mean @ flat).view(c, r)
        between = sizes @ (of_strata - mean).square().sum(2)
        square, total = of_strata.square().sum(2), mean.square().sum(1)
        parts.append(Forms(sizes, within.T, square.T, between, total))
        means.append(mean)
    return Forms.join(parts), torch.cat(means)


def _strata(population: Population) -> Tensor:
    """The stratum of each row of residuals, condensed or not."""
    d = population.residuals.shape[1]
    if len(population.residuals) == population.n:
        rows = population.counts
    else:
        rows = tuple(min(n, d) for n in population.counts)
    index = torch.arange(len(rows)).repeat_interleave(torch.tensor(rows))
    return index.to(population.residuals.device)


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
