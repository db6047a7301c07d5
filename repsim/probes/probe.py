"""One call for every probe: train on frozen features, score on held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError, choices
from repsim.probes.knn import knn_predict
from repsim.probes.logistic import fit_logistic
from repsim.probes.rows import Rows
from repsim.sources import as_tensor

Solver = Literal["lbfgs", "knn"]


@dataclass(frozen=True)
class ProbeResult:
    """How well a probe reads the labels off features.

    Attributes:
        accuracy: share of held-out examples classified correctly, 0 to 1.
        train_accuracy: the same on the training examples; None for nearest neighbours.
        classes: number of classes.
        n_train: training examples.
        n_test: held-out examples.
        predictions: (n_test,) int64 predicted classes of the held-out examples.
        converged: whether the solver met its tolerance.
    """

    accuracy: float
    train_accuracy: float | None
    classes: int
    n_train: int
    n_test: int
    predictions: Tensor
    converged: bool


def probe(
    features: Any,
    labels: Any,
    *,
    test_features: Any | None = None,
    test_labels: Any | None = None,
    solver: Solver = "lbfgs",
    l2: float = 1e-3,
    k: int = 1,
    seed: int = 0,
) -> ProbeResult:
    """Train a probe on ``features`` and score it on held-out ones.

    Args:
        features: (n, ...) array or tensor; dimensions after the first are flattened.
        labels: (n,) integers from 0.
        test_features: (m, ...) held-out features; without them a stratified fifth of ``features``
            is held out.
        test_labels: (m,) their labels.
        solver: ``"lbfgs"`` is multinomial logistic regression, converged; ``"knn"`` the k nearest
            neighbours.
        l2: penalty of the logistic regression, on standardised features.
        k: neighbours.
        seed: of the held-out split.

    Raises:
        ShapeError: features and labels that do not fit.
        NonFiniteError: NaN or infinity in the features.
        DegenerateError: fewer than two classes.
    """
    if solver not in ("lbfgs", "knn"):
        raise UsageError(f"unknown solver {solver!r}; {choices(solver, ['lbfgs', 'knn'])}")
    x, y = _checked(features, labels, "features", "labels")
    if test_features is None:
        train, test = stratified_split(y, fraction=0.2, seed=seed)
        x, y, x_test, y_test = x[train], y[train], x[test], y[test]
    elif test_labels is None:
        raise ShapeError("test_features came without test_labels")
    else:
        x_test, y_test = _checked(test_features, test_labels, "test_features", "test_labels")
    if x.shape[1] != x_test.shape[1]:
        raise ShapeError(
            f"features have {x.shape[1]} columns, test_features {x_test.shape[1]}; "
            "were both reduced in the same way?"
        )
    classes = int(torch.cat([y, y_test]).max()) + 1
    if len(y.unique()) < 2:
        raise DegenerateError("the training labels hold fewer than two classes")
    train_accuracy, converged = None, True
    if solver == "knn":
        if not 1 <= k <= len(x):
            raise UsageError(f"k is {k}; expected 1 to {len(x)}, the number of training examples")
        predictions = knn_predict(Rows.of(x), y, Rows.of(x_test), classes, k=k)
    else:
        tolerance = 1e-5
        fitted = fit_logistic(x, y, classes, l2=l2, tolerance=tolerance)
        predictions = fitted.predict(x_test)
        train_accuracy = float((fitted.predict(x) == y).double().mean())
        converged = fitted.gradient <= tolerance
    return ProbeResult(
        accuracy=float((predictions == y_test).double().mean()),
        train_accuracy=train_accuracy,
        classes=classes,
        n_train=len(x),
        n_test=len(x_test),
        predictions=predictions,
        converged=converged,
    )


def stratified_split(labels: Tensor, *, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (kept, held out) with ``fraction`` of every class held out, at least one of each."""
    generator = torch.Generator().manual_seed(seed)
    kept, held = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1).cpu()
        members = members[torch.randperm(len(members), generator=generator)]
        out = max(1, round(fraction * len(members)))
        held.append(members[:out])
        kept.append(members[out:])
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def _checked(features: Any, labels: Any, what: str, of: str) -> tuple[Tensor, Tensor]:
    x, y = as_tensor(features), as_tensor(labels)
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise ShapeError(
            f"{what} have shape {tuple(x.shape)}, {of} {tuple(y.shape)}; expected (n, ...) and (n,)"
        )
    if y.is_floating_point() or int(y.min()) < 0:
        raise ShapeError(f"{of} must be integers from 0, without gaps for missing labels")
    if not bool(torch.isfinite(x).all()):
        raise NonFiniteError(f"{what} hold NaN or infinity")
    return x.reshape(len(x), -1).double(), y.long().to(x.device)
