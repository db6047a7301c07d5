"""The null-space report of a run, straight from its checkpoint and images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.analyses.layer_nullspace import layer_null_spaces
from repsim.activations.harvesting.heads import (
    Generated,
    generated_images,
    head_features,
    linear_head,
)
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.data.noise import Noise
from repsim.errors import MismatchError
from repsim.nullspace import null_space
from repsim.nullspace.report import judged, with_layers
from repsim.progress import Progress, silent
from repsim.results import Alpha, NullSpaceReport

if TYPE_CHECKING:
    from repsim.data import ImageSet
    from repsim.training.run import Extractor

#: Noise that is put on held-out images, in units of their range from -1 to 1 and in shares.
NOISES = (
    *(f"gaussian:{sd}" for sd in (0.1, 0.25, 0.5, 1.0)),
    *(f"salt-and-pepper:{share}" for share in (0.02, 0.05, 0.1, 0.2)),
)

#: Images that other layers than the head are looked at with: their patches are many.
LAYER_IMAGES = 500


def null_space_of_run(
    extractor: Extractor,
    train: ImageSet,
    test: ImageSet,
    *,
    noises: Sequence[str] = NOISES,
    control: bool = True,
    layers: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> NullSpaceReport:
    """Report on the parts of images that the head of a run's network sees, and does not see.

    Images are clean, noisy and generated.

    Generated images, about as many as the held-out ones, come from the run's own generators, where
    it has some. The untrained network is the run's own before its first step, and is shown the same
    images, generated ones included.

    Args:
        extractor: a network of a run, whose ``head`` is one linear layer.
        train: images that the probes are trained on.
        test: held-out images, which every number is of.
        noises: as ``Noise.parse`` reads them.
        control: whether to compare with the untrained network; a run of the method ``untrained``
            is one, and has no other.
        layers: whether to report on the convolutions and linear layers before the head as well.
        seed: of noise, generated images, resamples and random subspaces.
        device: where the networks run.
        progress: told the steps done.

    Raises:
        UsageError: the network has no linear head, or a noise that is not understood.
        MismatchError: the two parts share images.
    """
    common = np.intersect1d(train.ids, test.ids)
    if common.size:
        raise MismatchError(
            f"{train.name} {train.split} and {test.name} {test.split} share {common.size} images; "
            "a probe must be scored on images it has not seen"
        )
    parsed = [Noise.parse(noise) for noise in noises]
    trained = extractor.load()
    linear_head(trained)  # fails before anything takes long
    networks = {"trained": trained}
    if control and extractor.run.config.epochs:
        networks["untrained"] = extractor.untrained()
    steps = done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        progress(done, steps, what)

    generated = _generated(extractor, len(test), seed, device)
    steps = 1 + len(networks) * (3 + (generated is not None) + len(parsed) + layers)
    step("generated images")
    reports = {}
    for name, network in networks.items():
        reports[name] = _report(
            network, extractor.label, train, test, generated, parsed, layers, seed, device, step
        )
    provenance = {
        "network": extractor_provenance(extractor),
        "train": data_provenance(train),
        "test": data_provenance(test),
        "noises": [str(noise) for noise in parsed],
        "generated": 0 if generated is None else len(generated.images),
        "layer_images": min(LAYER_IMAGES, len(test)) if layers else 0,
        "seed": seed,
    }
    report = judged(reports["trained"], reports.get("untrained"))
    alpha = _alpha(extractor) if len(linear_head(trained).weight) == 1 else []
    return replace(report, alpha=alpha, provenance=provenance)


def _report(
    network: nn.Module,
    name: str,
    train: ImageSet,
    test: ImageSet,
    generated: Generated | None,
    noises: Sequence[Noise],
    layers: bool,
    seed: int,
    device: torch.device | str,
    step: Callable[[str], None],
) -> NullSpaceReport:
    def features(images: Any, what: str, noise: Noise | None = None) -> Tensor:
        found = head_features(network, images, noise=noise, seed=seed, device=device)
        step(what)
        return found

    loader = ImageLoader(test, 256)
    head = linear_head(network)
    known = features(ImageLoader(train, 256), "training images")
    held = features(loader, "held-out images")
    noisy = {noise.name: features(loader, noise.name, noise) for noise in noises}
    made = None if generated is None else features(generated.images, "generated images")
    labelled = train.labels is not None and test.labels is not None
    several = generated is not None and int(generated.generator.max()) > 0
    report = null_space(
        known,
        head.weight,
        head.bias,
        labels=train.labels if labelled else None,
        test_features=held,
        test_labels=test.labels if labelled else None,
        generated=made,
        generated_labels=generated.generator if generated is not None and several else None,
        noisy=noisy,
        seed=seed,
        name=name,
    )
    step("statistics and probes")
    if layers:
        some = ImageLoader(test, 50, stop=LAYER_IMAGES // 50)
        seen = None if generated is None else _spread(generated.images, LAYER_IMAGES)
        classes = test.labels[: 50 * len(some)] if labelled and test.labels is not None else None
        found = layer_null_spaces(network, some, labels=classes, generated=seen, device=device)
        report = with_layers(report, found)
        step("other layers")
    return report


def _generated(
    extractor: Extractor, n: int, seed: int, device: torch.device | str
) -> Generated | None:
    """About ``n`` images of the run's generators, as many of each."""
    one = generated_images(extractor.run, 1, seed, epoch=extractor.epoch, device=device)
    if one is None:
        return None
    each = -(-n // len(one.images))
    return generated_images(extractor.run, each, seed, epoch=extractor.epoch, device=device)


def _spread(images: Tensor, n: int) -> Tensor:
    """At most ``n`` images, evenly from all."""
    return images[:: -(-len(images) // n)]


def _alpha(extractor: Extractor) -> list[Alpha]:
    """α after each epoch up to the epoch of the extractor, where training recorded it."""
    rows = extractor.run.metrics()
    keys = [f.name for f in fields(Alpha)]
    if not rows or any(key not in rows[0] for key in keys):
        return []
    last = math.inf if extractor.epoch is None else extractor.epoch
    return [Alpha(**{key: row[key] for key in keys}) for row in rows if row["epoch"] <= last]
