"""The augmented images that networks are shown, and the record of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.data.augment import flips, standard
from repsim.devices import find_device
from repsim.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from repsim.activations.analyses.base import Context, Inputs
    from repsim.results import SimilarityMap

#: Augmentations by name: of the methods as they train by default, or as the network itself was.
AUGMENTATIONS = ("simclr", "supervised", "own")


def find_augmentation(name: str, inputs: Inputs) -> nn.Module | None:
    """The augmentation of a name for the images at hand; None for ``none``."""
    if name == "none":
        return None
    if name == "own":
        run = (inputs.own or inputs.extractors[0]).run
        if run is None:
            raise UsageError(
                f"own is how a run was trained, and {inputs.names[0]!r} is none; say simclr or "
                "supervised"
            )
        return run.augmentation()
    images = inputs.images["compared"]
    height, width = images.images.shape[-2:]
    flip = flips(inputs.data or images.name)
    return standard(name, images.channels, (height, width), flip=flip)


def run_shown(
    compute: Callable[..., SimilarityMap], inputs: Inputs, context: Context, config: Any
) -> SimilarityMap:
    """Compute a map of one network while it is shown augmented images, with the record of them.

    Args:
        compute: ``invariance`` or ``compare_classes``.
        inputs: of the analysis.
        context: of the analysis.
        config: of the analysis, with ``augmentation``, ``layers``, ``kernel``, ``batch_size`` and
            ``seed``.
    """
    (extractor,) = inputs.extractors
    result = compute(
        extractor.load(),
        inputs.images["compared"],
        find_augmentation(config.augmentation, inputs),
        layers=config.layers,
        batch_size=config.batch_size,
        seed=config.seed,
        name=inputs.names[0],
        kernel=config.kernel,
        device=find_device(context.device),
        progress=context.progress,
    )
    return describe_shown(result, inputs, config)


def describe_shown(result: SimilarityMap, inputs: Inputs, config: Any) -> SimilarityMap:
    """A result with the record of its networks, its images, their augmentation and order."""
    images = inputs.images["compared"]
    sides = [
        {**extractor_provenance(each), **data_provenance(images)} for each in inputs.extractors
    ]
    own, name = inputs.own or inputs.extractors[0], config.augmentation
    order = {"batch_size": config.batch_size, "seed": config.seed}
    about: dict[str, Any] = {"a": sides[0], "b": sides[-1], **order}
    if name != "none":
        about["augmentation"] = f"{own.label}'s own" if name == "own" else name
    return replace(result, provenance={**result.provenance, **about})
