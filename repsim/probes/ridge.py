"""Ridge regression on class indicators, in closed form: the quickest linear probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.probes.rows import Rows

#: Strengths to choose from: two a decade, around the mean eigenvalue of the correlations, which
#: is 1.
STRENGTHS = tuple(10.0 ** (k / 2) for k in range(-12, 7))


@dataclass(frozen=True)
class Ridge:
    """A fitted probe on standardised features.

    Attributes:
        mean: (p,) of the training rows, float64.
        scale: (p,) their standard deviations; 1 for constant columns.
        weight: (classes, p) for standardised features.
        bias: (classes,) the share of each class.
        strength: the chosen one.
        strengths: (s,) those that were tried.
        loo_error: (s,) squared error of the left-out example, summed over classes, mean over
            examples.
        loo_accuracy: (s,) share of examples classified correctly while left out.
    """

    mean: Float[Tensor, " p"]
    scale: Float[Tensor, " p"]
    weight: Float[Tensor, "classes p"]
    bias: Float[Tensor, " classes"]
    strength: float
    strengths: Float[Tensor, " s"]
    loo_error: Float[Tensor, " s"]
    loo_accuracy: Float[Tensor, " s"]

    def predict(self, block: Float[Tensor, "n p"]) -> Int[Tensor, " n"]:
        """The class with the largest output for each row."""
        return (_standardised(block, self.mean, self.scale) @ self.weight.T + self.bias).argmax(1)


def fit_ridge(
    train: Rows,
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
    if len(labels) != train.n:
        raise ShapeError(f"{len(labels)} labels came with {train.n} training rows")
    if train.n < 2:
        raise DegenerateError("one training row arrived; leaving it out leaves none")
    ladder = torch.tensor(strengths, dtype=torch.float64, device=train.device)
    targets = torch.nn.functional.one_hot(labels.to(train.device).long(), classes).double()
    return (_primal if train.p < train.n else _dual)(train, targets, ladder)


def standardisation(rows: Rows) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Mean and standard deviation of every column in one pass, float64; 1 for constant columns."""
    moments = _moments(rows, torch.zeros(rows.n, 0, dtype=torch.float64, device=rows.device), False)
    return moments.mean, moments.scale


def _standardised(block: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (block.double() - mean) / scale


# --- more rows than columns


def _primal(train: Rows, targets: Tensor, ladder: Tensor) -> Ridge:
    moments = _moments(train, targets, True)
    mean, scale, n = moments.mean, moments.scale, train.n
    eigenvalues, basis = torch.linalg.eigh(moments.products / scale / scale[:, None])
    shrunk = 1 / (eigenvalues[:, None] + n * ladder)  # (p, strengths)
    along = basis.T @ (moments.cross / scale[:, None])  # (p, classes)
    share = targets.mean(0)
    solutions = torch.einsum("ps,pc->psc", shrunk, along).flatten(1)
    scores = ladder.new_zeros(2, len(ladder))
    for rows, block in train.blocks():
        z = _standardised(block, mean, scale) @ basis
        fitted = (z @ solutions).unflatten(1, (len(ladder), -1)) + share
        leverage = 1 / n + z.square() @ shrunk
        residual = targets[rows, None] - fitted
        scores += _scores(targets[rows], residual / (1 - leverage)[:, :, None])
    best = int(scores[0].argmin())
    weight = (basis @ solutions.unflatten(1, (len(ladder), -1))[:, best]).T
    return Ridge(mean, scale, weight, share, float(ladder[best]), ladder, *(scores / n))


@dataclass(frozen=True)
class _Moments:
    mean: Tensor  #: (p,)
    scale: Tensor  #: (p,)
    products: Tensor  #: (p, p) Σ (x - mean) (x - mean)ᵀ, or (p,) its diagonal
    cross: Tensor  #: (p, q) Σ (x - mean) (y - mean)ᵀ


def _moments(rows: Rows, y: Tensor, full: bool) -> _Moments:
    """Means and centred sums in one pass, as Chan, Golub and LeVeque (1979) join those of parts."""
    p, q = rows.p, y.shape[1]
    mean, y_mean, cross = y.new_zeros(p), y.new_zeros(q), y.new_zeros(p, q)
    products = y.new_zeros(p, p) if full else y.new_zeros(p)
    low, high = torch.full_like(mean, torch.inf), torch.full_like(mean, -torch.inf)
    n = 0
    for part, block in rows.blocks():
        x, some = block.double(), y[part]
        low, high = torch.minimum(low, x.amin(0)), torch.maximum(high, x.amax(0))
        of_x, of_y = x.mean(0), some.mean(0)
        x, some = x - of_x, some - of_y
        step, y_step = of_x - mean, of_y - y_mean
        weight = n * len(x) / (n + len(x))
        products += x.T @ x if full else x.square().sum(0)
        products += weight * (step.outer(step) if full else step.square())
        cross += x.T @ some + weight * step.outer(y_step)
        n += len(x)
        mean += step * (len(x) / n)
        y_mean += y_step * (len(x) / n)
    variance = (products.diagonal() if full else products) / n
    if not bool(torch.isfinite(variance).all()):
        raise NonFiniteError("the squares of the features are infinite; divide the features first")
    # Rounding leaves a constant column a variance, unless all its values are compared.
    scale = torch.where((low < high) & (variance > 0), variance.sqrt(), 1.0)
    return _Moments(mean, scale, products, cross)


# --- more columns than rows


def _dual(train: Rows, targets: Tensor, ladder: Tensor) -> Ridge:
    train = train.held()
    mean, scale = standardisation(train)
    n, share = train.n, targets.mean(0)
    products = torch.empty(n, n, dtype=torch.float64, device=train.device)

    def blocks(first: int = 0) -> Iterator[tuple[int, slice, Tensor]]:
        for k in range(first, train.count):
            rows = slice(train.starts[k], train.starts[k + 1])
            if rows.stop > rows.start:
                yield k, rows, _standardised(train.block(k), mean, scale)

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
    return Ridge(
        mean, scale, weight, share, float(ladder[best]), ladder, *(torch.stack(scores, 1) / n)
    )


# --- both


def _scores(targets: Tensor, residual: Tensor) -> Tensor:
    """Squared error and number of correct classes of left-out examples, (2, strengths).

    ``targets`` is (rows, classes), ``residual`` under each strength (rows, strengths, classes).
    """
    correct = (targets[:, None] - residual).argmax(2) == targets.argmax(1)[:, None]
    return torch.stack([residual.square().sum((0, 2)), correct.double().sum(0)])
