"""Features of examples in strata, such as classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


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

        There are fewer rows than examples then; ``counts`` still counts examples.
        """
        parts = [
            torch.linalg.qr(part, mode="r").R if len(part) > part.shape[1] else part
            for part in self.residuals.split(self.counts)
        ]
        return replace(self, residuals=torch.cat(parts))

    def strata(self) -> Tensor:
        """The stratum of each row of residuals, condensed or not."""
        d = self.residuals.shape[1]
        if len(self.residuals) == self.n:
            rows = self.counts
        else:
            rows = tuple(min(n, d) for n in self.counts)
        index = torch.arange(len(rows)).repeat_interleave(torch.tensor(rows))
        return index.to(self.residuals.device)
