"""Probes and null spaces on a simulated device; run by test_on_a_device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated_device
import torch
from simulated_device import logged, on_device, without_float64

from repsim import null_space, probe
from repsim.nullspace import row_space
from repsim.probes import SCHEDULES
from repsim.probes.features import Features
from repsim.probes.logistic import fit_logistic
from repsim.probes.sgd import fit_sgd

simulated_device.start()

SOLVERS = ["lbfgs", "sgd", "mlp", "ridge", "knn"]
random = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 3, (90,), generator=random)
FEATURES = torch.randn(90, 6, generator=random) + 2 * torch.eye(3, 6)[LABELS]
OTHERS = torch.randn(30, 6, generator=random)
WEIGHT = torch.randn(3, 6, generator=random)


def options(solver: str) -> dict[str, Any]:
    return {"solver": solver, "hidden": 8} if solver == "mlp" else {"solver": solver}


@pytest.mark.parametrize("solver", SOLVERS)
def test_probes_are_those_of_the_cpu(solver: str) -> None:
    expected = probe(FEATURES, LABELS, **options(solver))
    for labels in (LABELS, on_device(LABELS), LABELS.numpy()):
        found = probe(on_device(FEATURES), labels, **options(solver))
        assert found.accuracy == expected.accuracy
        assert found.predictions.cpu().tolist() == expected.predictions.tolist()
        assert found.per_class.tolist() == pytest.approx(expected.per_class.tolist())


@pytest.mark.parametrize("solver", SOLVERS)
def test_held_out_features_may_lie_elsewhere(solver: str) -> None:
    expected = probe(
        FEATURES, LABELS, test_features=OTHERS, test_labels=LABELS[:30], **options(solver)
    )
    for first, second in ((on_device, np.asarray), (np.asarray, on_device)):
        found = probe(
            first(FEATURES),
            LABELS,
            test_features=second(OTHERS),
            test_labels=second(LABELS[:30]),
            **options(solver),
        )
        assert found.predictions.cpu().tolist() == expected.predictions.tolist()


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "knn"])
def test_a_probe_predicts_what_lies_elsewhere(solver: str) -> None:
    expected = probe(FEATURES, LABELS, **options(solver)).predict(OTHERS)
    of_device = probe(on_device(FEATURES), LABELS, **options(solver))
    of_cpu = probe(FEATURES, LABELS, **options(solver))
    for fitted in (of_device, of_cpu):
        for where in (on_device, torch.clone, np.asarray):
            others = where(OTHERS)
            found = fitted.predict(others)
            assert str(found.device) == str(getattr(others, "device", "cpu"))
            assert found.cpu().tolist() == expected.tolist()


def test_a_step_of_lbfgs_takes_one_transfer_each_way() -> None:
    x, y = Features.of(on_device(FEATURES)), on_device(LABELS)
    counts = []
    for steps in (2, 6):
        with logged() as log:
            fitted = fit_logistic(x, y, 3, l2=1e-4, tolerance=1e-15, max_iterations=steps)
        assert fitted.iterations == steps
        counts.append([log.count(kind) for kind in ("to device", "to host", "sync")])
    # The first stage has eight steps: all these are within it.
    assert [more - few for few, more in zip(*counts, strict=True)] == [4, 4, 0], log


@pytest.mark.parametrize("solver", ["sgd", "mlp"])
def test_a_step_of_sgd_takes_no_transfer(solver: str) -> None:
    x, y = Features.of(on_device(FEATURES)), on_device(LABELS)
    schedule = replace(SCHEDULES["kolesnikov2019"], epochs=3)
    hidden = 8 if solver == "mlp" else None
    counts = []
    for size in (90, 10):
        with logged() as log:
            fit_sgd(x, y, 3, replace(schedule, batch_size=size), hidden=hidden)
        counts.append(log.count())
    assert counts[0] == counts[1], log


def test_probes_without_float64_are_those_of_the_cpu() -> None:
    for solver in SOLVERS:
        expected = probe(FEATURES, LABELS, **options(solver))
        features, others = on_device(FEATURES), on_device(OTHERS)
        with without_float64():
            found = probe(features, on_device(LABELS), **options(solver))
            if solver != "knn":
                found.predict(others)
        assert found.predictions.tolist() == expected.predictions.tolist()


def test_null_spaces_are_those_of_the_cpu() -> None:
    few: dict[str, Any] = {"draws": 50, "resamples": 20}
    expected = null_space(FEATURES, WEIGHT, labels=LABELS, **few)
    for features, weight in (
        (on_device(FEATURES), on_device(WEIGHT)),
        (on_device(FEATURES), WEIGHT.numpy()),
        (FEATURES.numpy(), on_device(WEIGHT)),
    ):
        found = null_space(features, weight, labels=LABELS, **few)
        for mine, theirs in zip(found.entries, expected.entries, strict=True):
            assert mine.value == pytest.approx(theirs.value, abs=1e-6, nan_ok=True)
    assert row_space(on_device(WEIGHT)).rank == row_space(WEIGHT).rank
