"""The augmented images that networks are shown, and the record of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.data.augment import flips, standard

if TYPE_CHECKING:
    from torch import nn

    from repsim.activations.analyses.base import Inputs
    from repsim.results import SimilarityMap

#: Augmentations by name: of the methods as they train by default, or as the network itself was.
AUGMENTATIONS = ("simclr", "supervised", "own")


def find_augmentation(name: str, inputs: Inputs) -> nn.Module | None:
    """The augmentation of a name for the images at hand; None for ``none``."""
    if name == "none":
        return None
    if name == "own":
        return (inputs.own or inputs.extractors[0]).run.augmentation()
    images = inputs.images["compared"]
    height, width = images.images.shape[-2:]
    flip = flips(inputs.data or images.name)
    return standard(name, images.channels, (height, width), flip=flip)


def describe_shown(result: SimilarityMap, inputs: Inputs, name: str, **facts: Any) -> SimilarityMap:
    """A result with the record of its networks, its images and their augmentation."""
    images = inputs.images["compared"]
    sides = [
        {**extractor_provenance(each), **data_provenance(images)} for each in inputs.extractors
    ]
    own = inputs.own or inputs.extractors[0]
    called = f"{own.label}'s own" if name == "own" else name
    about = {"a": sides[0], "b": sides[-1], **facts}
    if name != "none":
        about["augmentation"] = called
    return replace(result, provenance={**result.provenance, **about})
