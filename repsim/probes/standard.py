"""Features with mean 0 and standard deviation 1, so that one penalty suits layers of any scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from repsim.probes.rows import Rows


@dataclass(frozen=True)
class Standard:
    """Mean and scale of the training features; called on rows, it standardises them in float64."""

    mean: Float[Tensor, " p"]
    scale: Float[Tensor, " p"]

    def __call__(self, features: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        return (features.double() - self.mean) / self.scale


def standardise(rows: Rows) -> Standard:
    """Mean and standard deviation (denominator n) of every column, in two passes of float64.

    The scale of a column that is constant, up to the rounding of its numbers, is 1.
    """
    total = torch.zeros(rows.p, dtype=torch.float64, device=rows.device)
    for _, x in rows.blocks():
        total += x.sum(0, dtype=torch.float64)
    mean = total / rows.n
    squares = torch.zeros_like(mean)
    for _, x in rows.blocks():
        squares += (x.double() - mean).square().sum(0)
    scale = (squares / rows.n).sqrt()
    rounding = torch.finfo(rows.dtype).eps * mean.abs()
    return Standard(mean, torch.where(scale > rounding, scale, 1.0))
