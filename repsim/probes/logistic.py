"""Multinomial logistic regression by preconditioned L-BFGS, the converged linear probe.

The objective is the mean cross-entropy plus l2/2 |W|² over W (classes, p) and b. With rows of zeros
and ones in place of labels it is logistic regression of each column. Its Hessian has
the features' covariance in it, whose eigenvalues span many orders of magnitude in a layer of a
network: plain L-BFGS needs hundreds of passes over the data. Here the covariance, weighted by how
undecided the probe is about each example, is taken out beforehand, and again as the probe learns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from repsim.ambient import settled
from repsim.probes.curvature import Covariance, Curvature
from repsim.probes.features import Features
from repsim.probes.problems import Problem, SeveralLabels
from repsim.probes.standardisation import Standard, standardise

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Integer

#: Iterations after which the curvature is taken anew, soon at first, while it changes; then each
#: stage is twice as long as the one before.
_STAGES = (8, 12, 16, 24)

#: Steps that L-BFGS remembers.
_MEMORY = 30

#: Strengths among which a validation split chooses, from strong to weak, as warm starts go.
LADDER = tuple(float(f"{10**exponent:.3g}") for exponent in np.linspace(0, -6, 10))


@dataclass(frozen=True)
class Logistic:
    """A fitted probe on standardised features.

    Attributes:
        standard: mean and scale of the training features, each (p,).
        weight: (classes, p) float64, of standardised features.
        bias: (classes,) float64.
        l2: strength of the penalty.
        objective: mean cross-entropy + l2/2 |W|² at the solution.
        gap: estimate of how far the objective lies above its minimum, relative to it.
        gradient: largest absolute entry of the objective's gradient.
        iterations: of L-BFGS.
        converged: whether ``gap`` met the tolerance.
    """

    standard: Standard
    weight: Float[Tensor, "classes p"]
    bias: Float[Tensor, " classes"]
    l2: float
    objective: float
    gap: float
    gradient: float
    iterations: int
    converged: bool

    def logits(self, features: Float[Tensor, "n p"]) -> Float[Tensor, "n classes"]:
        """Of raw features, in float64."""
        return self.standard(features).double() @ self.weight.T + self.bias

    def predict(self, features: Float[Tensor, "n p"]) -> Int[Tensor, " n"]:
        """The most likely class of each row."""
        return self.logits(features).argmax(1)


@settled()
def fit_logistic(
    features: Features,
    labels: Integer[Tensor, "n ..."],
    classes: int,
    *,
    l2: float = 1e-3,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
) -> Logistic:
    """Minimise mean cross-entropy + l2/2 |W|² over W (classes, p) and b.

    Features are standardised first, so that one ``l2`` suits layers of any scale. The objective is
    strictly convex in W: the result does not depend on a start, and no seed is needed.

    Args:
        features: training rows (n, p).
        labels: their classes, 0 to classes - 1; or (n, classes) zeros and ones.
        classes: number of classes.
        l2: strength of the penalty, above 0; scikit-learn's C is 1 / (n l2).
        tolerance: stop once half the squared gradient, in the metric of the curvature, is at most
            this share of the objective: an estimate of how far it lies above its minimum. Features
            in float32 allow for 1e-7, those in float64 for much less.
        max_iterations: stop then at the latest.
    """
    (fitted,) = fit_path(
        features, labels, classes, [l2], tolerance=tolerance, max_iterations=max_iterations
    )
    return fitted


def fit_path(
    features: Features,
    labels: Integer[Tensor, "n ..."],
    classes: int,
    strengths: Sequence[float],
    *,
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
    start: Logistic | None = None,
) -> Iterator[Logistic]:
    """A fit for each strength, every one from where the last ended; see ``fit_logistic``.

    Args:
        features: training rows (n, p).
        labels: their classes, or (n, classes) zeros and ones.
        classes: number of classes.
        strengths: of the penalty, best from strong to weak.
        tolerance: as for ``fit_logistic``.
        max_iterations: of each fit.
        start: a probe of other rows of the same features, to begin from.
    """
    standard = standardise(features)
    rows = features.map(lambda x: standard(x).to(x.dtype))
    problem = (Problem if labels.ndim == 1 else SeveralLabels)(rows, labels, classes)
    weights = problem.start if start is None else torch.cat([start.weight, start.bias[:, None]], 1)
    spread = problem.covariance(weights)
    for l2 in strengths:
        solution, spread = _minimise(problem, weights, spread, l2, tolerance, max_iterations)
        weights = solution.weights
        yield Logistic(
            standard,
            weights[:, :-1],
            weights[:, -1],
            l2,
            solution.objective,
            solution.gap / solution.objective if solution.objective > 0 else 0.0,
            float(solution.gradient.abs().max()),
            solution.iterations,
            solution.gap <= tolerance * solution.objective,
        )


@dataclass
class _Point:
    """The state of the minimisation; ``gap`` as the curvature of its stage estimates it."""

    weights: Tensor
    objective: float
    gradient: Tensor
    gap: float = np.inf
    iterations: int = 0


def _point(problem: Problem, weights: Tensor, l2: float) -> _Point:
    """The state at ``weights``."""
    objective, gradient = problem.value(weights, l2)
    return _Point(weights, float(objective), gradient)


def _minimise(
    problem: Problem,
    weights: Tensor,
    spread: Covariance,
    l2: float,
    tolerance: float,
    max_iterations: int,
) -> tuple[_Point, Covariance]:
    """L-BFGS in stages, each in coordinates v in which the curvature is near the identity.

    The first stage takes the curvature from ``spread``; the others take it anew where they begin.
    Where classes lie far apart, float32 can be too coarse for the tolerance; float64 goes on then.
    """
    at = _point(problem, weights, l2)
    for stage in count():
        length = _STAGES[stage] if stage < len(_STAGES) else _STAGES[-1] << (stage - 3)
        if stage:
            spread = problem.covariance(at.weights)
        before = at.iterations
        steps = min(length, max_iterations - before)
        at = _stage(problem, at, spread.curvature(l2), l2, tolerance, steps)
        if at.gap <= tolerance * at.objective or at.iterations >= max_iterations:
            return at, spread
        if at.iterations == before:  # no step leads down, beyond rounding
            if problem.dtype == torch.float64:
                return at, spread
            problem.dtype = torch.float64
            anew = _point(problem, at.weights, l2)
            at = replace(at, objective=anew.objective, gradient=anew.gradient)
    raise AssertionError("the stages never end")


def _stage(
    problem: Problem, start: _Point, metric: Curvature, l2: float, tolerance: float, steps: int
) -> _Point:
    """At most ``steps`` of L-BFGS from ``start``.

    Its first step has length 1, and only later ones the length of Newton's. So v is measured in the
    length of Newton's first step: one that is far too long can end where no line search leads back.
    """
    slope = metric.to_gradient(start.gradient)
    unit = float(slope.norm())
    at = last = replace(start, gap=unit**2 / 2)
    if not unit or at.gap <= tolerance * at.objective:
        return at

    def value(v: Any) -> tuple[float, Any]:
        nonlocal last
        v = torch.as_tensor(v).view_as(problem.start).to(problem.start)
        weights = metric.to_weights(unit * v)
        objective, gradient = problem.value(weights, l2)
        slope = metric.to_gradient(gradient)
        # All that Python looks at comes from the device at once.
        numbers = torch.stack([objective, slope.square().sum()])
        found = torch.cat([numbers, (unit * slope).flatten()]).cpu().numpy()
        last = _Point(weights, float(found[0]), gradient, float(found[1]) / 2)
        return last.objective, found[2:]

    def accept(_: Any) -> None:
        nonlocal at
        at = last
        if at.gap <= tolerance * at.objective:
            raise StopIteration

    found = minimize(
        value,
        (metric.from_weights(start.weights) / unit).flatten().cpu().numpy(),
        jac=True,
        method="L-BFGS-B",
        callback=accept,
        options={"maxiter": steps, "maxcor": _MEMORY, "ftol": 0.0, "gtol": 0.0},
    )
    return replace(at, iterations=start.iterations + int(found.nit))
