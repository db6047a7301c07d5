"""Quadratic forms of features on subspaces: what every statistic of a split is made of.

With an orthonormal basis B of a subspace, the scatter of features in it is tr BᵀSB, and a squared
mean in it is |Bᵀm|². Both are linear in the projector BBᵀ: what lies in the null space is what lies
in the whole space less what lies in the row space. The same few sums serve for one subspace over
many resamples of the examples, and for the examples as they are over many random subspaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.nullspace.population import Population
from repsim.nullspace.subspace import BLOCK

if TYPE_CHECKING:
    from jaxtyping import Float

#: A form below this share of the whole space's is rounding of the subtraction.
ROUNDING = 1e-12


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
        """Zero where a form is rounding, so small beside the whole space's."""
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


def on_subspaces(
    population: Population, bases: Float[Tensor, "c d r"]
) -> tuple[Forms, Float[Tensor, "c r"]]:
    """Forms of a ``condensed`` population on each of c subspaces, and its mean there."""
    rows, stratum, sizes = population.residuals, population.strata(), population.sizes
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
