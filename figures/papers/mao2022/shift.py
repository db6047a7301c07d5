"""Shift the features of a head, and see its probabilities change (Mao et al., Proposition 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.harvesting.heads import head_features, linear_head
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.configuration import Config, setting
from repsim.results import Table


@dataclass(frozen=True)
class ShiftConfig(Config):
    """Settings of the shifts."""

    shifts: tuple[float, ...] = setting(
        (0.01, 0.1, 1.0, 10.0), "lengths of the shifts, in norms of the mean feature"
    )
    images: int = setting(1000, "images whose features are shifted, from the first on", ge=1)


class SoftmaxShift(Analysis[ShiftConfig]):
    """The largest change of a probability by shifts of the features, along two directions."""

    config_class = ShiftConfig
    parts: ClassVar[Mapping[str, Part]] = {
        "shown": Part("test", "images whose features are shifted")
    }
    result = Table

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,) = inputs.extractors
        assert extractor.run is not None  # a paper trains its networks
        network, loader = extractor.load(), ImageLoader(inputs.images["shown"], 256)
        features = head_features(network, loader, device=context.device, progress=context.progress)
        changes = probability_changes(
            features[: self.config.images].double(),
            linear_head(network).weight.double(),
            self.config.shifts,
        )
        records = [
            {"shift": shift, **{direction: found[k] for direction, found in changes.items()}}
            for k, shift in enumerate(self.config.shifts)
        ]
        return Table.of(
            "shift",
            records,
            units={"shift": "norms of the mean feature"},
            descriptions=dict.fromkeys(changes, "largest change of a probability"),
            provenance={"run": extractor.run.name},
        )

    def seconds(self, sizes: Mapping[str, int]) -> float:
        return 2.0


#: The directions: along A⁺1, which changes all logits alike, and within the rest of the row space.
ALONG, ACROSS = "along A⁺1", "at right angles to it"


def probability_changes(
    features: torch.Tensor, weight: torch.Tensor, shifts: tuple[float, ...]
) -> dict[str, list[float]]:
    """Largest changes of the softmax of a head (k, d) by shifts of features (n, d), both float64.

    Along A⁺1, which changes all logits alike, and along a direction of the row space at right
    angles to it; each for shifts of some norms of the mean feature.
    """
    before = torch.softmax(features @ weight.T, dim=1)
    ones = torch.linalg.pinv(weight).sum(dim=1)
    ones /= ones.norm()
    other = weight[0] - (weight[0] @ ones) * ones
    other /= other.norm()
    unit = features.mean(dim=0).norm()
    return {
        label: [
            float((torch.softmax((features + s * unit * along) @ weight.T, 1) - before).abs().max())
            for s in shifts
        ]
        for label, along in ((ALONG, ones), (ACROSS, other))
    }
