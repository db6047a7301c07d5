"""Probes of frozen networks: linear ones at every tap, and others of the representation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.analyses.probe import probe_entry
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.pooling import Pooling
from repsim.activations.harvesting.features import BATCH, by_batch
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.configuration import Config, setting
from repsim.data import ImageSet
from repsim.devices import find_device
from repsim.probes import probe
from repsim.results import ProbeCurve, ProbeEntry

#: The layers that are read in every network, in order of execution; tasks are judged by the last.
TAPS = ("block1", "block2", "block3", "block4", "pre_logits")
LAST = TAPS[-1]

#: Logistic regression to convergence, and a perceptron with one hidden layer.
SOLVERS: tuple[Literal["lbfgs"], Literal["mlp"]] = ("lbfgs", "mlp")

#: The networks of this paper are functions of each image; a check of it takes longer than all else
#: at small scales.
_UNCHECKED = Allowed(random=True, batch=True)

#: Features (n, p) and labels (n,).
Rows = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class EvaluationConfig(Config):
    """Settings of the evaluation of a representation."""

    features: int = setting(9000, "features of a tap that maxima over cells leave", ge=1)
    hidden: int = setting(1000, "hidden units of the perceptron", ge=1)
    fractions: tuple[float, ...] = setting((0.1, 0.05), "shares of the labels, stratified")


class Evaluation(Analysis[EvaluationConfig]):
    """Accuracy of logistic regression by L-BFGS at every tap of a frozen network.

    Of its representation also that of a perceptron, and of logistic regression on some labels.
    """

    config_class = EvaluationConfig
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "images that probes learn from"),
        "test": Part("test", "images that they are judged on"),
    }
    result = ProbeCurve

    def compute(self, inputs: Inputs, context: Context) -> ProbeCurve:
        (extractor,) = inputs.extractors
        train, test = (inputs.images[part] for part in self.parts)
        network, device = extractor.load(), find_device(context.device)
        size = self.config.features
        seen, held = (
            tap_features(network, each, TAPS, size, context.device) for each in (train, test)
        )
        entries: list[ProbeEntry] = []
        for depth, tap in enumerate(TAPS):
            x, x_test = (rows[tap].to(device) for rows in (seen, held))
            about = {"network": inputs.names[0], "layer": tap, "depth": depth}
            entries += self._probed((x, train.labels), (x_test, test.labels), about)
            context.progress(depth + 1, len(TAPS), tap)
        return ProbeCurve(
            entries=entries,
            classes=len(train.classes),
            n_train=len(train),
            n_test=len(test),
            solver=", ".join(SOLVERS),
            provenance={
                "network": extractor_provenance(extractor),
                "train": data_provenance(train),
                "test": data_provenance(test),
            },
        )

    def _probed(self, train: Rows, test: Rows, about: Mapping[str, Any]) -> Iterator[ProbeEntry]:
        """The probes of a tap."""
        linear, perceptron = SOLVERS
        asked: list[tuple[Literal["lbfgs", "mlp"], float]] = [(linear, 1.0)]
        if about["layer"] == LAST:
            shares = [(linear, share) for share in self.config.fractions]
            asked += [(perceptron, 1.0), *shares]
        for solver, share in asked:
            found = probe(
                *train,
                test_features=test[0],
                test_labels=test[1],
                solver=solver,
                label_fraction=share,
                hidden=self.config.hidden,
            )
            kind = {"features": train[0].shape[1], "solver": solver, "label_fraction": share}
            yield probe_entry(found, **kind, **about)

    def seconds(self, sizes: Mapping[str, int]) -> float:
        return sizes["train"] / 50


def tap_features(
    network: nn.Module, images: ImageSet, taps: Sequence[str], features: int, device: str
) -> dict[str, Tensor]:
    """The values of taps, (n, at most ``features``) on the CPU, by maxima over cells."""
    reduce = Pooling.parse(f"max:{features}")

    def take(values: dict[str, Tensor], n: int) -> dict[str, Tensor]:
        return {tap: reduce(each.float()).flatten(1).cpu() for tap, each in values.items()}

    loader = ImageLoader(images, BATCH)
    blocks = by_batch(network, loader, taps, take, allowed=_UNCHECKED, device=device)
    return {tap: torch.cat([block[tap] for block in blocks]) for tap in taps}
