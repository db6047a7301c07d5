"""Images beside what a run makes of them again (Donahue et al. 2017, Figures 2 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.analyses.inversion import made_again
from repsim.configuration import Config
from repsim.figures.panels.images import Images
from repsim.results import FigureData


class Strips(Analysis[Config]):
    """Rows of images: generated ones, real ones, and what the encoder and the generator make of
    each."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {"shown": Part("test[:12]", "images to show")}
    result = FigureData

    def compute(self, inputs: Inputs, context: Context) -> FigureData:
        (extractor,) = inputs.extractors
        assert extractor.run is not None  # a paper trains its networks
        found = made_again(extractor, inputs.images["shown"], device=context.device)
        rows = {
            "G(z)": found.generated,
            "G(E(G(z)))": found.generated_again,
            "x": found.images,
            "G(E(x))": found.again,
        }
        there = {name: pictures(images) for name, images in rows.items() if images is not None}
        panel = Images.of("", list(there.values()), rows=list(there))
        return FigureData("Strips", "", [panel], {"run": extractor.run.name})


def pictures(images: Tensor) -> np.ndarray:
    """Images (n, c, h, w) in [-1, 1] as (n, h, w) or (n, h, w, 3) uint8."""
    values = ((images + 1) * 127.5).round().byte().numpy()
    return values[:, 0] if values.shape[1] == 1 else values.transpose(0, 2, 3, 1)
