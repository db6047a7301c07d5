"""Linear layers and perceptrons written out: initial weights, outputs and gradients."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Weights and, if there are any, biases of a layer, as ``torch.nn.Linear`` has them.
Layer = tuple[Tensor, Tensor | None]


def initial_weights(
    inputs: int, outputs: int, bias: bool, generator: torch.Generator
) -> list[Tensor]:
    """Weights, and biases if wanted, as ``torch.nn.Linear`` draws them."""
    weight = torch.empty(outputs, inputs)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    if not bias:
        return [weight]
    bound = 1 / math.sqrt(inputs)
    return [weight, torch.empty(outputs).uniform_(-bound, bound, generator=generator)]


def layers_of(vector: Tensor, sizes: list[int], bias: bool) -> list[Layer]:
    """Views of all weights in one vector, so that a step of the optimiser is a few operations."""
    layers, start = [], 0
    for inputs, outputs in pairwise(sizes):
        weight = vector[start : start + inputs * outputs].view(outputs, inputs)
        start += inputs * outputs
        layers.append((weight, vector[start : start + outputs] if bias else None))
        start += outputs * bias
    return layers


def forward(
    layers: list[Layer] | tuple[Layer, ...],
    x: Tensor,
    dropout: float = 0.0,
    noise: torch.Generator | None = None,
) -> list[Tensor]:
    """Inputs of every layer, and the logits."""
    values = [x]
    for k, (weight, bias) in enumerate(layers):
        out = x @ weight.T if bias is None else torch.addmm(bias, x, weight.T)
        if k < len(layers) - 1:
            out.relu_()
            if dropout:
                kept = torch.empty_like(out).bernoulli_(1 - dropout, generator=noise)
                out.mul_(kept.div_(1 - dropout))
        values.append(x := out)
    return values


def backward(
    layers: list[Layer],
    gradients: list[Layer],
    x: Float[Tensor, "batch p"],
    y: Int[Tensor, " batch"],
    dropout: float,
    noise: torch.Generator | None,
) -> Float[Tensor, ""]:
    """Gradients of the mean cross-entropy into ``gradients``, and its sum over the batch.

    Written out, a step of a small head takes half as long as with autograd.
    """
    *inputs, logits = forward(layers, x, dropout, noise)
    delta = logits.log_softmax(1)
    loss = -delta.gather(1, y[:, None]).sum()
    delta.exp_().scatter_add_(1, y[:, None], delta.new_full((len(y), 1), -1.0)).div_(len(y))
    for k in reversed(range(len(layers))):
        of_weight, of_bias = gradients[k]
        torch.mm(delta.T, inputs[k], out=of_weight)
        if of_bias is not None:
            torch.sum(delta, 0, out=of_bias)
        if k:
            # Positive behind ReLU and dropout: the unit was active, and kept.
            delta = (delta @ layers[k][0]).mul_(inputs[k] > 0).div_(1 - dropout)
    return loss
