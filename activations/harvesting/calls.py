"""Logits of a discriminator: as it is reported, and with batches normalised as in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from repsim.ambient import full_precision
from repsim.batch_statistics import by_batch
from repsim.devices import find_device

if TYPE_CHECKING:
    from repsim.training.sides import Side


@full_precision()
def logits_both_ways(
    networks: Mapping[Side, nn.Module],
    images: Mapping[Side, Tensor],
    batch_size: int,
    *,
    together: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[Side, tuple[Tensor, Tensor]]:
    """Logits of images by the statistics that reports use, and by the statistics of their batches.

    Batches are drawn at random, and images beyond the last whole one are left out; fewer images
    than a batch are one.

    Args:
        networks: a network with one logit for each side, in evaluation mode, alike in all but the
            statistics of batch normalisation.
        images: (n, c, h, w) of each side.
        batch_size: images of a side that training shows at once.
        together: whether training shows a batch of both sides in one pass.
        seed: of the batches.
        device: where the networks run.

    Returns:
        By side two tensors (n,) on the CPU: the logits as reported, and by batch.
    """
    target = find_device(device)
    for network in networks.values():
        network.to(target)
    found: dict[Side, list[tuple[Tensor, Tensor]]] = {side: [] for side in images}
    with torch.no_grad():
        for shown in _passes(images, batch_size, together, seed):
            moved = {side: each.to(target) for side, each in shown.items()}
            for side, logits in _by_batch(networks, moved).items():
                found[side].append((networks[side](moved[side]).flatten().cpu(), logits))
    pairs = {side: list(zip(*each, strict=True)) for side, each in found.items()}
    return {side: (torch.cat(each[0]), torch.cat(each[1])) for side, each in pairs.items()}


def _by_batch(
    networks: Mapping[Side, nn.Module], shown: Mapping[Side, Tensor]
) -> dict[Side, Tensor]:
    """Logits of what passes at once, by its own statistics."""
    network = networks[next(iter(shown))]
    with by_batch(network):
        logits = network(torch.cat(list(shown.values()))).flatten().cpu()
    parts = logits.split([len(each) for each in shown.values()])
    return dict(zip(shown, parts, strict=True))


def _passes(
    images: Mapping[Side, Tensor], batch_size: int, together: bool, seed: int
) -> Iterator[dict[Side, Tensor]]:
    """The images of each pass, by side."""
    generator = torch.Generator().manual_seed(seed)
    batches = {side: _batches(each, batch_size, generator) for side, each in images.items()}
    if together:
        for both in zip(*batches.values(), strict=False):
            yield dict(zip(batches, both, strict=True))
    else:
        for side, each in batches.items():
            for some in each:
                yield {side: some}


def _batches(images: Tensor, size: int, generator: torch.Generator) -> list[Tensor]:
    whole = len(images) - len(images) % min(size, len(images))
    order = torch.randperm(len(images), generator=generator)[:whole]
    return [images[some] for some in order.split(size)]
