"""Every public function that computes on arrays, as a table: its inputs, and numbers out of them.

What a table of tests holds of all of them, a new measure, solver or function of ``repsim`` has to
hold as well: measures and solvers come from their registries, and ``check_complete`` names a
function that has no line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

import repsim
import repsim.activations
from repsim.measures import MEASURES
from repsim.probes import SOLVERS, measured_signal

N, P = 40, 5


@dataclass(frozen=True)
class Public:
    """A public function.

    Attributes:
        call: takes the inputs by name, returns numbers.
        inputs: names of its matrices, one row an example.
        labels: names of its labels.
    """

    call: Callable[..., Any]
    inputs: tuple[str, ...]
    labels: tuple[str, ...] = ()


def values() -> dict[str, np.ndarray]:
    """Inputs by name: float32 layers and whole labels."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(N, P)).astype(np.float32)
    y = (x[:, :4] * 2 + rng.normal(size=(N, 4))).astype(np.float32)
    labels = (x[:, 0] + 0.7 * rng.normal(size=N) > 0).astype(np.int64)
    weight = rng.normal(size=(2, P)).astype(np.float32)
    return {
        "x": x,
        "y": y,
        "labels": labels,
        "test": x + np.float32(0.4) * rng.normal(size=x.shape).astype(np.float32),
        "test_labels": labels,
        "weight": weight,
    }


def numbers(result: Any) -> np.ndarray:
    """The numbers of a map of layers."""
    return np.stack([result.unbiased, result.stderr])


def _map(x: Any, y: Any) -> Any:
    return numbers(repsim.cka_map({"l": x}, {"l": y}))


def _one_map(x: Any, y: Any) -> Any:
    return numbers(repsim.cka_map({"k": x, "l": y}, kernel="rbf"))


def _minibatch(x: Any, y: Any) -> Any:
    engine, other = repsim.MinibatchCKA(["l"], ["l"]), repsim.MinibatchCKA(["l"], ["l"])
    for k, each in enumerate((engine, other)):
        each.update({"l": x}, {"l": y}, ids=range(k * N, (k + 1) * N))
    engine.merge(other)
    return numbers(engine.compute())


def _classes(x: Any, labels: Any) -> Any:
    return numbers(repsim.class_similarity({"l": x}, labels))


def _identification(x: Any, y: Any) -> Any:
    return repsim.layer_identification({"k": x, "l": y}, {"k": x, "l": y}, measure="rsa")


def _probe(solver: str, x: Any, labels: Any, test: Any, test_labels: Any) -> Any:
    options: dict[str, Any] = {"schedule": "mlp"} if solver == "mlp" else {}
    options |= {"hidden": 8} if solver == "mlp" else {}
    found = repsim.probe(
        x, labels, test_features=test, test_labels=test_labels, solver=solver, **options
    )
    errors = [trial.cross_entropy or trial.error for trial in found.path]
    return [found.accuracy, found.train_accuracy or 0, found.l2 or 0, *found.history, *errors]


def _signal(x: Any, labels: Any, test: Any, test_labels: Any) -> Any:
    found = measured_signal(x, labels, test, test_labels)
    return [found.value, found.low, found.high, found.labels, found.before, found.after]


def _predict(x: Any, labels: Any, test: Any) -> Any:
    return repsim.probe(x, labels, solver="ridge").predict(test)


def _null_space(x: Any, labels: Any, weight: Any, test: Any, test_labels: Any) -> Any:
    report = repsim.null_space(
        x,
        weight,
        labels=labels,
        test_features=test,
        test_labels=test_labels,
        draws=20,
        resamples=20,
    )
    return [report.residual, *(entry.value for entry in report.entries)]


def network(seed: int = 0) -> nn.Module:
    """A network of the user, in float32."""
    torch.manual_seed(seed)
    layers = [nn.Linear(P, 7), nn.ReLU(), nn.Linear(7, 3)]
    return nn.Sequential(*layers).eval()


NETWORKS = network(0), network(1)

PUBLIC: dict[str, Public] = {
    **{
        f"measure {name}": Public(measure.function, ("x", "y"))
        for name, measure in MEASURES.items()
    },
    **{
        f"probe {solver}": Public(partial(_probe, solver), ("x", "test"), ("labels", "test_labels"))
        for solver in SOLVERS
    },
    "measured_signal": Public(_signal, ("x", "test"), ("labels", "test_labels")),
    "ProbeResult.predict": Public(_predict, ("x", "test"), ("labels",)),
    "cka": Public(repsim.cka, ("x", "y")),
    "cka_map": Public(_map, ("x", "y")),
    "cka_map of one network": Public(_one_map, ("x", "y")),
    "MinibatchCKA": Public(_minibatch, ("x", "y")),
    "influence": Public(repsim.influence, ("x", "y")),
    "class_similarity": Public(_classes, ("x",), ("labels",)),
    "layer_identification": Public(_identification, ("x", "y")),
    "null_space": Public(_null_space, ("x", "weight", "test"), ("labels", "test_labels")),
}


def _harvested(x: Any) -> Any:
    import tempfile

    with (
        tempfile.TemporaryDirectory() as folder,
        repsim.harvest(NETWORKS[0], [x], f"{folder}/a.h5", examples=N) as store,
    ):
        return np.asarray(store["2"][:])


def _compared(x: Any) -> Any:
    return numbers(repsim.compare(*NETWORKS, x.split(20)))


def _layer_null_spaces(x: Any) -> Any:
    found = repsim.activations.layer_null_spaces(NETWORKS[0], x)
    return [entry.value for entry in found]


#: Public functions that run a network on batches, which are tensors.
RUNNING: dict[str, Public] = {
    "harvest": Public(_harvested, ("x",)),
    "compare": Public(_compared, ("x",)),
    "layer_null_spaces": Public(_layer_null_spaces, ("x",)),
}

#: Public functions that compute nothing on arrays, or are tested where images are.
ELSEWHERE = {"open_store", "invariance", "common_examples", "signal"}


def check_complete() -> None:
    """Fail for a function of ``repsim`` that has no line in the tables."""
    functions = {name for name in repsim.__all__ if isinstance(getattr(repsim, name), FunctionType)}
    known = {*PUBLIC, *RUNNING, *ELSEWHERE, "probe"}
    assert functions <= known, f"add {functions - known} to tests/public.py"
