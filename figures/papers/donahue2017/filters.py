"""Filters of the layers beside the images (Donahue et al. 2017, Figure 3)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.configuration import Config
from repsim.errors import UsageError
from repsim.figures.panels.images import Images
from repsim.figures.papers.donahue2017.strips import pictures
from repsim.results import FigureData

#: Filters of each network: those of the largest norm.
_SHOWN = 12

#: Filters in a row.
_ACROSS = 4

#: Networks, by their names in figures, and if the layer beside the images is their last one.
NETWORKS = {"discriminator": ("D", False), "generator": ("G", True), "encoder": ("E", False)}

Shape = tuple[int, int, int]


class Filters(Analysis[Config]):
    """The weights by which a run's networks read images, or write them, as images."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {}
    result = FigureData

    def compute(self, inputs: Inputs, context: Context) -> FigureData:
        (extractor,) = inputs.extractors
        assert extractor.run is not None  # a paper trains its networks
        method = extractor.run.load_method()
        shape = method.spec.shape
        panels = [
            _panel(label, filters_of(method.networks[name], shape, last=last))
            for name, (label, last) in NETWORKS.items()
        ]
        return FigureData("Filters", "", panels, {"run": extractor.run.name})


def filters_of(network: nn.Module, shape: Shape, *, last: bool = False) -> Tensor:
    """Weights of the layer beside the images, (filters, channels, height, width).

    Of a linear layer each filter is as large as an image, of a convolution as its kernel.

    Args:
        network: reads images, or makes them.
        shape: channels, height and width of an image.
        last: take the last layer rather than the first one.

    Raises:
        UsageError: the layer has other weights.
    """
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    layers = [each for each in network.modules() if isinstance(each, kinds)]
    layer = layers[-1 if last else 0]
    weight = layer.weight.detach()
    wrong = f"weights of {tuple(weight.shape)} are not beside images of {shape}"
    if isinstance(layer, nn.Linear):
        # A generator's last layer has a row for each pixel, an encoder's first one a column.
        rows = weight.T if last else weight
        if rows.shape[1] != prod(shape):
            raise UsageError(wrong)
        return rows.reshape(-1, *shape)
    if weight.shape[1] != shape[0]:
        raise UsageError(wrong)
    return weight


def _panel(label: str, filters: Tensor) -> Images:
    """The filters of the largest norm, each with its largest weight white or black."""
    norms = filters.flatten(1).norm(dim=1)
    chosen = filters[norms.argsort(descending=True)[:_SHOWN]]
    largest = chosen.flatten(1).abs().amax(1)[:, None, None, None]
    # A filter of zeros is grey.
    scaled = torch.where(largest > 0, chosen / largest, torch.zeros_like(chosen))
    shown: list[Any] = list(pictures(scaled))
    shown += [None] * (-len(shown) % _ACROSS)
    return Images.of(label, [shown[k : k + _ACROSS] for k in range(0, len(shown), _ACROSS)])
