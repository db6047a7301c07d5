"""Objectives of linear probes on standardised rows: cross-entropies with a penalty of the weights.

Of one class a row that of a softmax, of rows of zeros and ones that of a sigmoid for each column.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from repsim.errors import ShapeError
from repsim.probes.curvature import Covariance, covariance
from repsim.probes.features import BLOCK, Features

#: Rows a column from which the curvature is estimated; of more, evenly spaced ones serve as well.
_ENOUGH = 16


class Problem:
    """The cross-entropy of a linear probe on standardised rows; weights are (classes, p + 1)."""

    def __init__(self, rows: Features, labels: Tensor, classes: int) -> None:
        self.rows = rows.held()
        self.labels = self._paired(labels, classes)
        self.dtype = rows.dtype  #: of the products
        self.start = torch.zeros(classes, rows.p + 1, dtype=torch.float64, device=rows.device)

    def value(self, weights: Tensor, l2: float) -> tuple[Tensor, Tensor]:
        """The objective, of no dimensions, and its gradient (classes, p + 1), in one pass."""
        loss = torch.zeros((), dtype=torch.float64, device=weights.device)
        gradient = torch.zeros_like(weights)
        for where, x, logits in self._passed(weights):
            some, residual = self.compared(logits, self.labels[where])
            loss += some
            gradient[:, :-1] += residual.to(x.dtype).T @ x
            gradient[:, -1] += residual.sum(0)
        gradient /= self.rows.n
        gradient[:, :-1] += l2 * weights[:, :-1]
        penalty = l2 / 2 * weights[:, :-1].square().sum()
        return loss / self.rows.n + penalty, gradient

    def covariance(self, weights: Tensor) -> Covariance:
        """Of rows weighted by how undecided ``weights`` are: near the Hessian for one class."""
        every = max(1, self.rows.n // max(_ENOUGH * self.rows.p, BLOCK))

        def undecided() -> Iterator[tuple[Tensor, Tensor]]:
            for _, x, logits in self._passed(weights, every):
                p = self.probabilities(logits)
                yield x, (p * (1 - p)).mean(1).to(x.dtype)

        return covariance(undecided, self.rows.p, self.rows.device)

    def compared(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy of rows, added up, and its gradient by their logits."""
        log_p, y = logits.log_softmax(1), labels[:, None]
        loss = -log_p.gather(1, y).sum()
        return loss, log_p.exp_().scatter_add_(1, y, log_p.new_full(y.shape, -1.0))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of each class, by logits of the same shape."""
        return logits.log_softmax(1).exp_()

    def _paired(self, labels: Tensor, classes: int) -> Tensor:
        return self.rows.paired(labels)

    def _passed(self, weights: Tensor, every: int = 1) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Blocks of rows, and their logits in float64: in float32, what is lost of a probability
        near 1 would be the whole loss of classes that lie apart."""
        weight, bias = weights[:, :-1].contiguous(), weights[:, -1].contiguous()
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)
        for where, block in self.rows.blocks():
            x = block[::every].to(self.dtype)
            yield where, x, torch.nn.functional.linear(x, weight, bias).double()


class SeveralLabels(Problem):
    """The same of rows of zeros and ones: the cross-entropies of all columns, added up.

    Raises:
        ShapeError: labels of another shape than (n, classes).
    """

    def compared(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        y = labels.to(logits.dtype)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
        return loss, logits.sigmoid() - y

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def _paired(self, labels: Tensor, classes: int) -> Tensor:
        wanted = (self.rows.n, classes)
        if tuple(labels.shape) != wanted:
            raise ShapeError(
                f"labels of shape {tuple(labels.shape)} came with {self.rows.n} rows; expected "
                f"zeros and ones of shape {wanted}"
            )
        return labels.to(self.rows.device)
