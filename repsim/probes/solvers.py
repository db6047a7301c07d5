"""Solvers of probes behind one signature: each gives a fitted probe and a record of its fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from repsim.probes.features import Features
from repsim.probes.logistic import LADDER, Logistic, fit_logistic, fit_path
from repsim.probes.ridge import fit_ridge
from repsim.probes.sgd import fit_sgd
from repsim.probes.splits import stratified_split
from repsim.results.records import Record

#: Share of the training examples on which the strength of a penalty is chosen.
_VALIDATION = 0.2

#: Convergence of fits that are only compared with each other.
_COARSE = 1e-4


@dataclass(frozen=True)
class Trial(Record):
    """A strength of a penalty that was tried, on a validation split or on examples left out.

    Attributes:
        l2: the strength.
        accuracy: on the examples that it was tried on.
        cross_entropy: on the same, of a logistic probe; None of a ridge probe.
        error: on the same, squared and summed over classes, of a ridge probe; else None.
    """

    l2: float
    accuracy: float
    cross_entropy: float | None = None
    error: float | None = None


@runtime_checkable
class Fitted(Protocol):
    """A probe after training."""

    def predict(self, features: Tensor, /) -> Tensor:
        """The class of each row."""


@dataclass(frozen=True)
class Options:
    """Settings of the solvers; each reads those that concern it."""

    l2: float | None
    k: int
    schedule: str | None
    hidden: int
    dropout: float
    seed: int
    held_out: tuple[Features, Tensor]  #: with classes, for accuracies after each epoch


def _lbfgs(x: Features, y: Tensor, classes: int, options: Options) -> tuple[Fitted, dict[str, Any]]:
    path: list[Trial] = []
    if options.l2 is not None:
        fitted = fit_logistic(x, y, classes, l2=options.l2)
    else:
        chosen, path = _choose(x, y, classes, options.seed)
        (fitted,) = fit_path(x, y, classes, [chosen.l2], start=chosen)
    return fitted, {"l2": fitted.l2, "converged": fitted.converged, "path": path}


def _choose(x: Features, y: Tensor, classes: int, seed: int) -> tuple[Logistic, list[Trial]]:
    """The strength that classifies best a stratified fifth; of equal ones that of the smallest
    cross-entropy. The path ends where that has risen twice: weaker penalties overfit more."""
    kept, held = stratified_split(y, fraction=_VALIDATION, seed=seed)
    if not len(held) or len(y[kept.to(y.device)].unique()) < 2:
        return fit_logistic(x, y, classes), []
    rows, labels = x.take(held).held(), y[held.to(y.device)]
    path: list[Trial] = []
    losses: list[float] = []
    best: tuple[tuple[float, float], Logistic] | None = None
    fits = fit_path(x.take(kept), y[kept.to(y.device)], classes, LADDER, tolerance=_COARSE)
    for fitted in fits:
        logits = torch.cat([fitted.logits(block) for _, block in rows.blocks()])
        loss = float(torch.nn.functional.cross_entropy(logits, labels))
        accuracy = float((logits.argmax(1) == labels).double().mean())
        path.append(Trial(fitted.l2, accuracy, cross_entropy=loss))
        if best is None or (accuracy, -loss) > best[0]:
            best = (accuracy, -loss), fitted
        losses.append(loss)
        if len(losses) > 2 and all(a < b for a, b in pairwise(losses[-3:])):
            break
    assert best is not None
    return best[1], path


def _sgd(x: Features, y: Tensor, classes: int, options: Options) -> tuple[Fitted, dict[str, Any]]:
    return _by_epochs(x, y, classes, options, "kolesnikov2019")


def _mlp(x: Features, y: Tensor, classes: int, options: Options) -> tuple[Fitted, dict[str, Any]]:
    sizes = {"hidden": options.hidden, "dropout": options.dropout}
    return _by_epochs(x, y, classes, options, "mlp", **sizes)


def _by_epochs(
    x: Features, y: Tensor, classes: int, options: Options, default: str, **sizes: Any
) -> tuple[Fitted, dict[str, Any]]:
    """A head on the schedule asked for, or the ``default`` one."""
    schedule = options.schedule or default
    fitted = fit_sgd(x, y, classes, schedule, held_out=options.held_out, seed=options.seed, **sizes)
    return fitted, {"converged": True, "history": fitted.history}


def _ridge(x: Features, y: Tensor, classes: int, options: Options) -> tuple[Fitted, dict[str, Any]]:
    fitted = fit_ridge(x, y, classes, strengths=None if options.l2 is None else [options.l2])
    path = [
        Trial(float(l2), float(accuracy), error=float(error))
        for l2, accuracy, error in zip(
            fitted.strengths, fitted.loo_accuracy, fitted.loo_error, strict=True
        )
    ]
    return fitted, {"l2": fitted.strength, "converged": True, "path": path}


FITS: dict[str, Callable[[Features, Tensor, int, Options], tuple[Fitted, dict[str, Any]]]] = {
    "lbfgs": _lbfgs,
    "sgd": _sgd,
    "mlp": _mlp,
    "ridge": _ridge,
}
