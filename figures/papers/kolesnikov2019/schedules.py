"""Logistic regression by SGD on schedules of several lengths, beside L-BFGS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.activations.analyses.probe import parse_solver, probe_entry
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.configuration import Config, setting
from repsim.devices import find_device
from repsim.figures.papers.kolesnikov2019.evaluation import LAST, tap_features
from repsim.probes import probe
from repsim.probes.schedules import schedule_named
from repsim.results import ProbeCurve

#: Solvers by the epoch of the first fall of the rate; the last has converged.
SGD = {30: "sgd:kolesnikov2019", 120: "sgd:kolesnikov2019-120", 480: "sgd:kolesnikov2019-480"}
CONVERGED = "lbfgs"


@dataclass(frozen=True)
class SchedulesConfig(Config):
    """Settings of the probes by SGD."""

    solver: tuple[str, ...] = setting((CONVERGED, *SGD.values()), "solvers of the probes")
    features: int = setting(9000, "features of the tap that maxima over cells leave", ge=1)


class Schedules(Analysis[SchedulesConfig]):
    """Accuracy of linear probes of the representation by each solver, by epoch."""

    config_class = SchedulesConfig
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "images that probes learn from"),
        "test": Part("test", "images that they are judged on"),
    }
    result = ProbeCurve

    def compute(self, inputs: Inputs, context: Context) -> ProbeCurve:
        (extractor,) = inputs.extractors
        network, device = extractor.load(), find_device(context.device)
        train, test = (inputs.images[part] for part in self.parts)
        x, x_test = (
            tap_features(network, each, [LAST], self.config.features, context.device)[LAST]
            for each in (train, test)
        )
        entries = []
        for solver in self.config.solver:
            name, schedule = parse_solver(solver)
            found = probe(
                x.to(device),
                train.labels,
                test_features=x_test.to(device),
                test_labels=test.labels,
                solver=name,  # type: ignore[arg-type]
                schedule=schedule,
            )
            about = {"network": inputs.names[0], "layer": LAST, "depth": 0}
            entries.append(probe_entry(found, features=x.shape[1], solver=solver, **about))
            context.progress(len(entries), len(self.config.solver), solver)
        return ProbeCurve(
            entries=entries,
            classes=len(train.classes),
            n_train=len(train),
            n_test=len(test),
            solver=", ".join(self.config.solver),
            provenance={
                "network": extractor_provenance(extractor),
                "train": data_provenance(train),
                "test": data_provenance(test),
            },
        )

    def seconds(self, sizes: Mapping[str, int]) -> float:
        schedules = (parse_solver(each)[1] for each in self.config.solver)
        epochs = sum(schedule_named(each).epochs for each in schedules if each)
        return 2 + epochs * sizes["train"] / 100_000
