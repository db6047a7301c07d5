"""Measure the bits of a half as the critic itself reads it: by its share of the critic's logit."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from repsim.activations.analyses.base import Context, Inputs
from repsim.activations.analyses.signal import (
    Shown,
    SignalOf,
    measured,
    shown_of_run,
    table_of,
)
from repsim.devices import find_device
from repsim.results import Table


class Readings(SignalOf):
    """Bits about real and generated images that a critic's reading of the right half adds.

    The logit of a critic is the sum of a reading of each half: its features by their weights in the
    head. Probes learn from the readings, one number each, and not from the features. With ``given``
    as ``none`` the reading of the right half stands alone.
    """

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,) = inputs.extractors
        weights = extractor.load().get_parameter("head.weight").detach().cpu()
        shown = shown_of_run(
            extractor,
            inputs.images["train"],
            inputs.images["test"],
            replace(self.config, given="left"),
            device=find_device(context.device),
            progress=context.progress,
        )
        alone = self.config.given == "none"
        known, held = (read(each, weights, alone=alone) for each in shown)
        return table_of(measured(known, held, self.config.seed), self.config, inputs)


def read(shown: Shown, weights: Tensor, *, alone: bool) -> Shown:
    """The readings (n, 1) of the right half, and of the left one before it, by a head's weights.

    Args:
        shown: features of the right half, and as ``given`` those of the left.
        weights: (1, q + p), of the left half and of the right.
        alone: leave out the left half.
    """
    assert shown.given is not None
    left, right = weights.split([shown.given.shape[1], shown.layers.shape[1]], dim=1)
    given = None if alone else shown.given @ left.T
    return replace(shown, layers=shown.layers @ right.T, given=given)
