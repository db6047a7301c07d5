"""Multinomial logistic regression by L-BFGS, the converged linear probe."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Logistic:
    """A fitted probe on standardised features."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    weight: Float[Tensor, "classes d"]
    bias: Float[Tensor, " classes"]
    gradient: float  #: largest absolute entry of the objective's gradient at the solution
    iterations: int

    def predict(self, features: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The most likely class of each row."""
        return (((features - self.mean) / self.scale) @ self.weight.T + self.bias).argmax(1)


def fit_logistic(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    l2: float = 1e-3,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> Logistic:
    """Minimise mean cross-entropy + l2/2 |W|² over W (classes, d) and b, in float64.

    Features are standardised first, so that one ``l2`` suits layers of any scale. The objective is
    strictly convex in W: the result does not depend on a start, and no seed is needed.

    Args:
        features: training rows.
        labels: their classes, 0 to classes - 1.
        classes: number of classes.
        l2: strength of the penalty; scikit-learn's C is 1 / (n l2).
        tolerance: stop once no entry of the gradient is larger.
        max_iterations: stop then at the latest; ``Logistic.gradient`` shows how far it came.
    """
    x = features.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)  # a constant column carries nothing either way
    x = (x - mean) / scale
    weight = x.new_zeros(classes, x.shape[1], requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=max_iterations,
        history_size=20,
        tolerance_grad=tolerance,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, labels)
        loss = loss + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    objective()
    assert weight.grad is not None
    assert bias.grad is not None
    largest = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
    iterations = int(optimizer.state[weight]["n_iter"])
    return Logistic(mean, scale, weight.detach(), bias.detach(), largest, iterations)
