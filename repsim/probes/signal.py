"""Information that features add about labels, by the held-out cross-entropy of linear probes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from repsim.ambient import settled
from repsim.confidence import normal_quantile
from repsim.dense import as_labels
from repsim.errors import DegenerateError, ShapeError
from repsim.names import check_columns, check_rows, column_names, row_names
from repsim.probes.features import Features
from repsim.probes.logistic import LADDER, fit_path
from repsim.probes.splits import check_seed, stratified_split

#: Share of the training examples on which the strength of a penalty is chosen.
_VALIDATION = 0.2

#: Convergence of fits that are only compared with each other.
_COARSE = 1e-4


@dataclass(frozen=True)
class Signal:
    """Bits that features add about labels, beyond those that came before them.

    Each entropy is the cross-entropy of a probe on held-out examples, which on average is no less
    than the entropy itself.

    Attributes:
        value: ``before`` - ``after``.
        low: lower end of its 95 % interval, over draws of the held-out examples.
        high: upper end.
        labels: entropy of the labels, from their shares among the training examples.
        before: entropy of the labels given the earlier features; ``labels`` where there are none.
        after: entropy of the labels given the earlier features and these.
        n_train: training examples.
        n_test: held-out examples.
        converged: both probes met their tolerance.
    """

    value: float
    low: float
    high: float
    labels: float
    before: float
    after: float
    n_train: int
    n_test: int
    converged: bool


@settled()
def measured_signal(
    features: Any,
    labels: Any,
    test_features: Any,
    test_labels: Any,
    *,
    given: Any | None = None,
    test_given: Any | None = None,
    seed: int = 0,
) -> Signal:
    """Estimate I(y; features | given) = H(y | given) - H(y | given, features) in bits.

    Both entropies are cross-entropies on held-out examples, of converged logistic regressions on
    standardised features; the strength of the penalty has the smallest cross-entropy on a fifth of
    the training examples. What a linear probe cannot read does not count.

    Args:
        features: (n, ...) features that are added.
        labels: (n,) integers from 0: classes, or 1 for real and 0 for generated images.
        test_features: (m, ...) of held-out examples.
        test_labels: (m,) their labels.
        given: (n, ...) earlier features; None for none.
        test_given: (m, ...) those of the held-out examples.
        seed: of the fifth.

    Raises:
        ShapeError: features and labels that do not fit, or ``given`` for one part only.
        DegenerateError: fewer than two classes, a held-out one that no training example is of,
            fewer than five training examples a class, or a single held-out one.
    """
    check_seed(seed)
    if (given is None) != (test_given is None):
        raise ShapeError("given and test_given come together, or not at all")
    _check_names(features, labels, given, "")
    _check_names(test_features, test_labels, test_given, "test_")
    check_columns(
        {"features": column_names(features), "test_features": column_names(test_features)}
    )
    check_columns({"given": column_names(given), "test_given": column_names(test_given)})
    parts = (as_labels(labels, "labels"), as_labels(test_labels, "test_labels"))
    names = parts[0].unique()
    if len(names) < 2:
        raise DegenerateError("the training labels hold fewer than two classes")
    if unknown := sorted(set(parts[1].tolist()) - set(names.tolist())):
        raise DegenerateError(f"no training example has label {unknown[0]}, which is held out")
    if len(parts[0]) < 5 * len(names):
        raise DegenerateError(
            f"{len(parts[0])} training examples of {len(names)} classes; expected at least "
            f"{5 * len(names)}, of which a fifth chooses the strength of the penalty"
        )
    if len(parts[1]) < 2:
        raise DegenerateError("a single held-out example has no interval; expected two at least")
    y, y_test = (torch.searchsorted(names, part.contiguous()) for part in parts)
    base = _of_shares(y, y_test, len(names))
    x, x_test = Features.of(features, "features"), Features.of(test_features, "test_features")
    before, first = base, True
    if given is not None:
        earlier = Features.of(given, "given"), Features.of(test_given, "test_given")
        before, first = _bits(*earlier, y, y_test, len(names), seed)
        x, x_test = _beside(earlier[0], x), _beside(earlier[1], x_test)
    after, second = _bits(x, x_test, y, y_test, len(names), seed)
    gain = before - after
    value = float(gain.mean())
    reach = normal_quantile(0.95) * float(gain.std()) / math.sqrt(len(gain))
    return Signal(
        value=value,
        low=value - reach,
        high=value + reach,
        labels=float(base.mean()),
        before=float(before.mean()),
        after=float(after.mean()),
        n_train=len(y),
        n_test=len(y_test),
        converged=first and second,
    )


def _check_names(features: Any, labels: Any, given: Any, part: str) -> None:
    """Check that frames of one part name their rows in one order."""
    arrived = {"features": features, "labels": labels, "given": given}
    check_rows({f"{part}{name}": row_names(each) for name, each in arrived.items()})


def _beside(a: Features, b: Features) -> Features:
    """The columns of both."""
    return Features.of(torch.cat([_whole(a), _whole(b)], dim=1))


def _whole(rows: Features) -> Tensor:
    return torch.cat([block for _, block in rows.blocks()]).double()


def _of_shares(y: Tensor, y_test: Tensor, classes: int) -> Tensor:
    """Bits of each held-out label (m,) by the shares of labels among the training examples."""
    shares = torch.bincount(y, minlength=classes).double() / len(y)
    return -shares.log2()[y_test]


def _bits(
    x: Features, x_test: Features, y: Tensor, y_test: Tensor, classes: int, seed: int
) -> tuple[Tensor, bool]:
    """Bits of each held-out label (m,) by a probe, and True where the probe converged."""
    if x.p != x_test.p:
        raise ShapeError(f"training features have {x.p} columns, held-out ones {x_test.p}")
    y, y_test = x.paired(y), x_test.paired(y_test, "held-out")
    strength = _strength(x, y, classes, seed)
    (fitted,) = fit_path(x, y, classes, [strength])
    logits = torch.cat([fitted.logits(block) for _, block in x_test.blocks()])
    return cross_entropy(logits, y_test, reduction="none").cpu() / math.log(2), fitted.converged


def _strength(x: Features, y: Tensor, classes: int, seed: int) -> float:
    """The penalty of the smallest cross-entropy; the path ends where that has risen twice."""
    kept, held = stratified_split(y, fraction=_VALIDATION, seed=seed)
    rows, labels = x.take(held).held(), y[held.to(y.device)]
    losses: list[float] = []
    fits = fit_path(x.take(kept), y[kept.to(y.device)], classes, LADDER, tolerance=_COARSE)
    for fitted in fits:
        logits = torch.cat([fitted.logits(block) for _, block in rows.blocks()])
        losses.append(float(cross_entropy(logits, labels)))
        if len(losses) > 2 and all(a < b for a, b in pairwise(losses[-3:])):
            break
    return LADDER[min(range(len(losses)), key=losses.__getitem__)]
