"""The papers' losses."""

from __future__ import annotations

from collections.abc import Callable

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


def critic_gap(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """E f(x) - E f(G(z)) from a critic's outputs (n, 1): what it climbs (Arjovsky et al. 2017).

    Its maximum over 1-Lipschitz functions f is the Wasserstein distance (their Eq. 2).
    """
    return on_real.float().mean() - on_fake.float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (‖∇f(x)‖ - 1)² at x between real and generated images (Gulrajani et al. 2017, Eq. 3).

    Each x is drawn evenly from the line between a pair of ``real`` and ``fake`` (n, ...). The
    critic's output for an image must not depend on the others, as it would with BN.
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = torch.lerp(fake.detach(), real, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).float().sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def reconstruction_error(images: Tensor, found: Tensor, norm: str) -> Tensor:
    """Mean over images and pixels of |x - x̂| for ``l1``, or of (x - x̂)² for ``l2``."""
    difference = images - found.float()
    return difference.abs().mean() if norm == "l1" else difference.square().mean()


def reconstruction_scores(images: Tensor, found: Tensor) -> dict[str, Tensor]:
    """Sums over images of both errors, by the names of their norms."""
    return {norm: len(found) * reconstruction_error(images, found, norm) for norm in ("l1", "l2")}
