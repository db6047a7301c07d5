"""Train new heads on both halves of a frozen network, or on one (the evaluation phase)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.analyses.probe import parse_solver, probe_entry
from repsim.activations.harvesting.features import BATCH, layer_features
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.configuration import Config, setting
from repsim.devices import find_device
from repsim.probes import ProbeResult, probe
from repsim.results import ProbeCurve


@dataclass(frozen=True)
class EvaluationConfig(Config):
    """Settings of the evaluation phase."""

    target: str = setting("right", "target that new heads learn")
    layers: tuple[str, ...] = setting(("features", "right"), "inputs of the heads")
    solver: tuple[str, ...] = setting(("sgd:song2017", "lbfgs"), "solvers of the heads")


class Evaluation(Analysis[EvaluationConfig]):
    """The accuracy of new heads on a frozen network, for a target that it was not trained on."""

    config_class = EvaluationConfig
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "images that heads learn from"),
        "test": Part("test", "images that they are judged on"),
    }
    result = ProbeCurve

    def compute(self, inputs: Inputs, context: Context) -> ProbeCurve:
        (extractor,) = inputs.extractors
        config, network = self.config, extractor.load()
        train, test = (inputs.images[part].choose(config.target) for part in ("train", "test"))
        seen, held = (
            layer_features(network, ImageLoader(each, BATCH), config.layers, device=context.device)
            for each in (train, test)
        )
        device = find_device(context.device)
        entries = []
        for depth, layer in enumerate(config.layers):
            x, x_test = (rows[layer].to(device) for rows in (seen, held))
            about = {"network": inputs.names[0], "layer": layer, "depth": depth}
            for solver in config.solver:
                found = _judged(solver, x, train.labels, x_test, test.labels)
                entries.append(probe_entry(found, features=x.shape[1], solver=solver, **about))
        return ProbeCurve(
            entries=entries,
            classes=len(train.classes),
            n_train=len(train),
            n_test=len(test),
            solver=", ".join(config.solver),
            provenance={
                "network": extractor_provenance(extractor),
                "target": config.target,
                "train": data_provenance(train),
                "test": data_provenance(test),
            },
        )

    def seconds(self, sizes: Mapping[str, int]) -> float:
        probes = len(self.config.layers) * len(self.config.solver)
        return 1 + probes * sizes["train"] / 2500


def _judged(
    solver: str, x: Tensor, labels: Tensor | None, x_test: Tensor, test_labels: Tensor | None
) -> ProbeResult:
    """A new head, trained by a solver with its schedule and judged on held-out rows."""
    name, schedule = parse_solver(solver)
    return probe(
        x,
        labels,
        test_features=x_test,
        test_labels=test_labels,
        solver=name,  # type: ignore[arg-type]
        schedule=schedule,
    )
