"""Images beside their nearest neighbours in feature space (Donahue et al. 2017, Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.harvesting.features import BATCH, layer_features
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.configuration import Config as Settings
from repsim.configuration import setting
from repsim.devices import find_device
from repsim.figures.panels.images import Images
from repsim.figures.papers.donahue2017.strips import pictures
from repsim.probes.features import Features
from repsim.probes.knn import neighbours
from repsim.results import FigureData

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.training.run import Extractor


@dataclass(frozen=True)
class Config(Settings):
    """Settings of a sheet of neighbours."""

    layers: str = setting("features", "the layer whose values are compared", metavar="LAYER")
    k: int = setting(4, "neighbours of each image", ge=1, le=20)


class Sheet(Analysis[Config]):
    """Columns of images, each above its nearest ones of another part, by Euclidean distance."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "shown": Part("test[:12]", "images to show"),
        "among": Part("train", "images to find neighbours in"),
    }
    result = FigureData

    def compute(self, inputs: Inputs, context: Context) -> FigureData:
        (extractor,) = inputs.extractors
        asked, among = (inputs.images[part] for part in ("shown", "among"))
        queries, rows = (self._features(extractor, each, context) for each in (asked, among))
        k = self.config.k
        found = torch.empty(len(asked), k, dtype=torch.int64)
        for part, _, places in neighbours(rows, queries, k=k):
            found[part] = places.cpu()
        names = ("x", *map(str, range(1, k + 1)))
        shown = [asked.inputs(), *(among.inputs(places) for places in found.T)]
        panel = Images.of(inputs.names[0], [pictures(each) for each in shown], rows=names)
        return FigureData("Neighbours", "", [panel], {"network": inputs.names[0]})

    def _features(
        self, extractor: Extractor | Brought, images: ImageSet, context: Context
    ) -> Features:
        layer = self.config.layers
        found = layer_features(
            extractor.load(),
            ImageLoader(images, BATCH),
            [layer],
            device=find_device(context.device),
            progress=context.progress,
        )
        return Features.of(found[layer])
