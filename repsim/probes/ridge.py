"""Ridge regression on class indicators, in closed form: the quickest linear probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.errors import DegenerateError, UsageError
from repsim.probes.features import Features
from repsim.probes.standardisation import Standard, moments, standardise

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Strengths to choose from: two a decade, around the mean eigenvalue of the correlations, which
#: is 1.
STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-12, 7))


@dataclass(frozen=True)
class Ridge:
    """A fitted probe on standardised features.

    Attributes:
        standard: mean and scale of the training features.
        weight: (classes, p) for standardised features.
        bias: (classes,) the share of each class.
        strength: the chosen one.
        strengths: (s,) those that were tried.
        loo_error: (s,) squared error of the left-out example, summed over classes, mean over
            examples.
        loo_accuracy: (s,) share of examples classified correctly while left out.
    """

    standard: Standard
    weight: Float[Tensor, "classes p"]
    bias: Float[Tensor, " classes"]
    strength: float
    strengths: Float[Tensor, " s"]
    loo_error: Float[Tensor, " s"]
    loo_accuracy: Float[Tensor, " s"]

    def predict(self, block: Float[Tensor, "n p"]) -> Int[Tensor, " n"]:
        """The class with the largest output for each row."""
        return (self.standard(block) @ self.weight.T + self.bias).argmax(1)


@settled()
def fit_ridge(
    train: Features,
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    strengths: Sequence[float] | None = None,
) -> Ridge:
    """Minimise mean |y - W z - b|² + strength |W|², at the strength of the least error left out.

    z are the features, standardised; y is 1 at the class and 0 elsewhere. With a free b, codes of 1
    and -1 give the same classes and the same choice. scikit-learn's alpha is n times the strength.

    The error of each example under the fit to all others is its residual over 1 - its leverage
    (Golub, Heath and Wahba 1979), exactly, except that the features are standardised once, with
    all examples. One eigendecomposition serves all strengths. With p < n it is of the covariances,
    (p, p), and the rows are read twice; else of the products of rows, (n, n), and each block of
    rows that do not fit in memory is read again for every other. All sums are in float64.

    Args:
        train: training rows (n, p).
        labels: (n,) their classes, 0 to classes - 1.
        classes: number of classes.
        strengths: positive numbers; ``STRENGTHS`` if None.

    Raises:
        ShapeError: ``labels`` do not fit ``train``.
        DegenerateError: fewer than two rows.
        UsageError: no strengths, or one that is not positive.
        NonFiniteError: features whose squares are too large for float64.
    """
    strengths = STRENGTHS if strengths is None else tuple(strengths)
    if not strengths or not all(0 < s < float("inf") for s in strengths):
        raise UsageError(f"strengths are {strengths}; expected positive numbers")
    labels = train.paired(labels)
    if train.n < 2:
        raise DegenerateError("one training row arrived; leaving it out leaves none")
    ladder = torch.tensor(strengths, dtype=torch.float64, device=train.device)
    targets = torch.nn.functional.one_hot(labels, classes).double()
    return (_primal if train.p < train.n else _dual)(train, targets, ladder)


# --- more rows than columns


def _primal(train: Features, targets: Tensor, ladder: Tensor) -> Ridge:
    n, p = train.n, train.p
    joint = moments(
        (torch.cat([block.double(), targets[rows]], 1) for rows, block in train.blocks()),
        full=True,
    )
    mean, scale = joint.standard.mean, joint.standard.scale[:p]
    standard, share = Standard(mean[:p], scale), mean[p:]
    products, cross = joint.products[:p].split([p, targets.shape[1]], 1)
    eigenvalues, basis = torch.linalg.eigh(products / scale / scale[:, None])
    shrunk = 1 / (eigenvalues[:, None] + n * ladder)  # (p, strengths)
    along = basis.T @ (cross / scale[:, None])  # (p, classes)
    solutions = torch.einsum("ps,pc->psc", shrunk, along).flatten(1)
    scores = ladder.new_zeros(2, len(ladder))
    for rows, block in train.blocks():
        z = standard(block) @ basis
        fitted = (z @ solutions).unflatten(1, (len(ladder), -1)) + share
        leverage = 1 / n + z.square() @ shrunk
        residual = targets[rows, None] - fitted
        scores += _scores(targets[rows], residual / (1 - leverage)[:, :, None])
    best = int(scores[0].argmin())
    weight = (basis @ solutions.unflatten(1, (len(ladder), -1))[:, best]).T
    return Ridge(standard, weight, share, float(ladder[best]), ladder, *(scores / n))


# --- more columns than rows


def _dual(train: Features, targets: Tensor, ladder: Tensor) -> Ridge:
    train = train.held()
    standard = standardise(train)
    n, share = train.n, targets.mean(0)
    products = torch.empty(n, n, dtype=torch.float64, device=train.device)

    def blocks(first: int = 0) -> Iterator[tuple[int, slice, Tensor]]:
        for k in range(first, train.count):
            rows = slice(train.starts[k], train.starts[k + 1])
            if rows.stop > rows.start:
                yield k, rows, standard(train.block(k))

    for k, rows, z in blocks():
        products[rows, rows] = z @ z.T
        for _, others, y in blocks(k + 1):
            products[rows, others] = z @ y.T
            products[others, rows] = products[rows, others].T
    # The columns of z sum to 0, so that 1 is an eigenvector with eigenvalue 0. Lifted above the
    # others, it comes last, and without it what remains is what b leaves to the features.
    products += (2 * products.trace() + 1) / n
    eigenvalues, basis = torch.linalg.eigh(products)
    eigenvalues, basis = eigenvalues[:-1], basis[:, :-1]
    shrunk = 1 / (eigenvalues[:, None] + n * ladder)  # (n - 1, strengths)
    along = basis.T @ targets
    squared = basis.square()
    scores = []
    for k in range(len(ladder)):
        # Residual and 1 - leverage, both divided by n times the strength.
        residual = basis @ (shrunk[:, k, None] * along)
        error = residual / (squared @ shrunk[:, k])[:, None]
        scores.append(_scores(targets, error[:, None])[:, 0])
    best = int(torch.stack(scores)[:, 0].argmin())
    dual = basis @ (shrunk[:, best, None] * along)
    weight = torch.zeros(targets.shape[1], train.p, dtype=torch.float64, device=train.device)
    for _, rows, z in blocks():
        weight += dual[rows].T @ z
    errors = torch.stack(scores, 1) / n
    return Ridge(standard, weight, share, float(ladder[best]), ladder, *errors)


# --- both


def _scores(targets: Tensor, residual: Tensor) -> Tensor:
    """Squared error and number of correct classes of left-out examples, (2, strengths).

    ``targets`` is (rows, classes), ``residual`` under each strength (rows, strengths, classes).
    """
    correct = (targets[:, None] - residual).argmax(2) == targets.argmax(1)[:, None]
    return torch.stack([residual.square().sum((0, 2)), correct.double().sum(0)])
