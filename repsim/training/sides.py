"""Statistics of batch normalisation for each side of an adversarial network: real and generated.

Training shows a critic real and generated images apart, each batch normalised by its own
statistics; the running statistics of torch mix both. Here they are taken after training, over many
batches of each side, so that a layer is a function of the example and its side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from repsim.ambient import full_precision
from repsim.batch_statistics import BatchMeans, Statistics
from repsim.training.adversarial import GeneratorConfig, noise_for
from repsim.training.loaders import Feed
from repsim.training.method import Method

#: Kinds of images that a critic sees.
Side = Literal["real", "generated"]
SIDES: tuple[Side, ...] = ("real", "generated")

#: Statistics that a network may be run with: of the side that its images are of, of one side
#: whatever the images, or the running ones of training, which mix both.
Choice = Literal["own", "real", "generated", "mixed"]
CHOICES: tuple[Choice, ...] = ("own", "real", "generated", "mixed")

#: Statistics by network and side.
Sides = Mapping[str, Mapping[Side, Statistics]]


@full_precision()
def measure_sides(method: Method, feed: Feed, names: Iterable[str] | None = None) -> Sides:
    """Statistics over batches of each side, of the size that networks see in training.

    There are ``statistics_batches`` of the configuration. The order of the images and the noise of
    generated ones are a function of its seed. Torch's global random numbers and the networks are
    left as they were.

    Args:
        method: its networks in evaluation mode, all on the device of ``feed``.
        feed: the images that it is trained on.
        names: of the networks that are measured; by default its extractors.

    Returns:
        Statistics by network and side; those of both are the same where they pass together.
    """
    networks = {name: method.networks[name] for name in names or method.extractors}
    means: dict[str, dict[str, BatchMeans]] = {name: {} for name in networks}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(method.config.seed_for("batch statistics"))
        for batch in feed.batches(_rows(len(feed), method.config)):
            for side, images in method.shown(batch.images).items():
                for name, network in networks.items():
                    means[name].setdefault(side, BatchMeans(network)).update(images)
    return {name: _of_sides(found) for name, found in means.items()}


@full_precision()
@torch.no_grad()
def measure_generator(method: Method) -> Statistics:
    """Statistics of a method's generator over batches of noise, of the size that training has.

    As ``measure_sides``, of as many batches.
    """
    config, generator = method.config, method.networks["generator"]
    means, home = BatchMeans(generator), next(generator.parameters()).device
    random = torch.Generator().manual_seed(config.seed_for("batch statistics of noise"))
    for _ in range(config.statistics_batches):
        n = config.batch_size // config.accumulate
        means.update(noise_for(config, n, generator=random).to(home))
    return means.statistics()


def _rows(images: int, config: GeneratorConfig) -> Tensor:
    """Batches of indices, (batches, size): passes over shuffled images, as in training."""
    size = min(config.batch_size // config.accumulate, images)
    each = images // size
    passes = -(-config.statistics_batches // each)
    orders = [torch.randperm(images)[: each * size].view(each, size) for _ in range(passes)]
    return torch.cat(orders)[: config.statistics_batches]


def _of_sides(means: Mapping[str, BatchMeans]) -> dict[Side, Statistics]:
    found = {side: each.statistics() for side, each in means.items()}
    # Those of a network without batch normalisation are empty.
    return {side: found[side if side in found else "both"] for side in SIDES}
