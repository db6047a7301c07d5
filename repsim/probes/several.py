"""Several labels at once: average precision, and linear classifiers chosen by it.

Donahue et al. (2017), Table 3, judge features by the mean average precision of the classes of
PASCAL VOC: each column of rows of zeros and ones is a class that an image shows or not.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.errors import UsageError
from repsim.probes.features import Features
from repsim.probes.logistic import LADDER, Logistic, fit_path

if TYPE_CHECKING:
    from jaxtyping import Float, Integer

#: Tolerance of the fits among which a validation part chooses.
_COARSE = 1e-4


def average_precisions(scores: Float[Tensor, "n k"], labels: Integer[Tensor, "n k"]) -> list[float]:
    """The average precision of each column by scikit-learn; NaN of one without a positive."""
    from sklearn.metrics import average_precision_score

    columns = zip(labels.T.numpy(), scores.T.double().numpy(), strict=True)
    return [float(average_precision_score(y, s)) if y.any() else float("nan") for y, s in columns]


def mean_average_precision(scores: Float[Tensor, "n k"], labels: Integer[Tensor, "n k"]) -> float:
    """The mean of the average precisions of the columns that have a positive."""
    return float(np.nanmean(average_precisions(scores, labels)))


def check_labels(labels: Integer[Tensor, "n k"], classes: Sequence[str], part: str) -> None:
    """Raise ``UsageError`` unless each column has a one and a zero."""
    share = labels.double().mean(0)
    for name, value in zip(classes, share.tolist(), strict=True):
        if value in (0.0, 1.0):
            found = "none" if value == 0 else "all"
            raise UsageError(
                f"{found} of {len(labels)} images of {part} have {name!r}; expected at least one "
                "with it and one without: take more images, or leave the column out"
            )


@dataclass(frozen=True)
class Chosen:
    """A linear classifier, and its mean average precision on the part that chose it."""

    fitted: Logistic
    score: float


def fit_several(
    x: Features,
    labels: Integer[Tensor, "n k"],
    validation: Features,
    validation_labels: Integer[Tensor, "m k"],
    *,
    l2: float | None = None,
) -> Chosen:
    """Logistic regressions of all columns, of the strength that judges a validation part best.

    The path of strengths ends where the score has fallen twice: weaker penalties overfit more.

    Args:
        x: features (n, p) to learn from.
        labels: their zeros and ones (n, k).
        validation: features of the part that chooses.
        validation_labels: its zeros and ones.
        l2: a strength; by default the best of ``LADDER``.
    """
    rows, classes = validation.held(), labels.shape[1]
    strengths = LADDER if l2 is None else (l2,)
    found: list[Chosen] = []
    for fitted in fit_path(x, labels, classes, strengths, tolerance=_COARSE):
        logits = torch.cat([fitted.logits(block) for _, block in rows.blocks()]).cpu()
        found.append(Chosen(fitted, mean_average_precision(logits, validation_labels)))
        if len(found) > 2 and all(a.score > b.score for a, b in pairwise(found[-3:])):
            break
    best = max(found, key=lambda each: each.score)  # of equal ones the strongest penalty
    (fitted,) = fit_path(x, labels, classes, [best.fitted.l2], start=best.fitted)
    return Chosen(fitted, best.score)


class Reading(nn.Module):
    """A network with a new linear classifier on one of its layers, flattened.

    Args:
        network: any that takes images; a copy of it is used.
        layer: address of the layer.
        features: values of the layer for an image.
        columns: of the classifier.
        seed: of its weights.
    """

    def __init__(
        self, network: nn.Module, layer: str, features: int, columns: int, seed: int = 0
    ) -> None:
        super().__init__()
        self.network, self.layer = copy.deepcopy(network), layer
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.classifier = nn.Linear(features, columns)

    def forward(self, x: Tensor) -> Tensor:
        seen: list[Any] = []

        def keep(module: nn.Module, inputs: object, output: Any) -> None:
            seen.append(output)

        hook = self.network.get_submodule(self.layer).register_forward_hook(keep)
        try:
            self.network(x)
        finally:
            hook.remove()
        if not isinstance(seen[0], Tensor):
            raise UsageError(
                f"layer {self.layer!r} gives a {type(seen[0]).__name__}; expected a tensor for a "
                "linear classifier: choose another layer"
            )
        return self.classifier(seen[0].flatten(1))


class Best:
    """The weights of a network after the epoch whose score was the best."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.epoch, self.score = 0, float("-inf")
        self._state: dict[str, Tensor] = {}

    def offer(self, epoch: int, score: float) -> None:
        """Keep the weights as they are now if the score is above all before."""
        if score > self.score:
            self.epoch, self.score = epoch, score
            self._state = copy.deepcopy(self.network.state_dict())

    def restore(self) -> None:
        """Put the kept weights back."""
        self.network.load_state_dict(self._state)
