"""Triplets of an anchor, another view of its image and a view of another image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Triplets:
    """Squared distances of all views of a batch of n images, v views each.

    Attributes:
        within: (n v, v), from each view to the views of its image.
        others: (n v, v), True but for a view and itself.
        between: (n v, n v - v), from each view to those of other images, ascending.
    """

    within: Tensor
    others: Tensor
    between: Tensor

    @classmethod
    def of(cls, z: Tensor) -> Triplets:
        """The distances between embeddings (n, v, d), float32 or float64."""
        n, v, _ = z.shape
        flat = z.flatten(0, 1)
        flat = flat - flat.mean(0)  # else embeddings that are nearly alike lose their digits
        squares = flat.square().sum(1)
        distances = squares[:, None] + squares - 2 * flat @ flat.T
        own = torch.eye(n, dtype=torch.bool, device=z.device)
        own = own.repeat_interleave(v, 0).repeat_interleave(v, 1)
        between = distances.masked_fill(own, torch.inf).sort(1).values[:, : n * v - v]
        within = distances.view(n, v, n, v).diagonal(dim1=0, dim2=2)
        others = ~torch.eye(v, dtype=torch.bool, device=z.device).repeat(n, 1)
        return cls(within.permute(2, 0, 1).reshape(n * v, v), others, between.contiguous())

    @property
    def nearer(self) -> Tensor:
        """For each pair of ``within``, the number of ``between`` that are no longer; (n v, v)."""
        return torch.searchsorted(self.between.detach(), self.within.detach(), right=True)

    def semi_hard_loss(self, margin: float) -> Tensor:
        """The mean over pairs of views of an image of max(0, margin + D(a, p) - D(a, n)).

        The negative n of a pair is the nearest one that lies further from the anchor a than the
        positive p; where none does, the furthest (Schroff et al. 2015, section 3.2).
        """
        last = self.between.shape[1] - 1
        negative = self.between.gather(1, self.nearer.clamp(max=last))
        return self._mean(F.relu(margin + self.within - negative))

    def share_right(self) -> Tensor:
        """The share of all triplets whose positive is nearer to the anchor than the negative."""
        return 1 - self._mean(self.nearer / self.between.shape[1])

    def _mean(self, values: Tensor) -> Tensor:
        return (values * self.others).sum() / self.others.sum()
