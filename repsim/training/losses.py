"""The papers' losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised-temperature cross-entropy over two views (Chen et al. 2020, Eq. 1).

    For each of the 2n views, the other view of its image is the positive and the remaining 2n - 2
    are negatives; similarities are cosines over ``temperature``.

    Args:
        z1: (n, d) projections of the first views.
        z2: (n, d) of the second views of the same images.
        temperature: above 0.

    Returns:
        The mean over all 2n views, float32.
    """
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    n = len(z1)
    partner = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(logits, partner)


def real_logits(logits: Tensor) -> Tensor:
    """-E log D(x) from logits (n, 1): the loss of calling these images real."""
    return F.softplus(-logits.float()).mean()


def fake_logits(logits: Tensor) -> Tensor:
    """-E log(1 - D(x)) from logits (n, 1): the loss of calling these images generated."""
    return F.softplus(logits.float()).mean()
