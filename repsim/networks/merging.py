"""Batch normalisation merged into the layer before it, for evaluation.

Donahue et al. (2017, section 4.2) normalise while features are learned, and give what is judged the
plain convolutions that compute the same.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def merge_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch normalisations are in the weights before them.

    Where a batch normalisation follows a convolution or a linear layer inside ``nn.Sequential``,
    the layer takes its scale, shift and running statistics, and ``nn.Identity`` its place.
    Addresses and the values of all layers after it stay. Other normalisations, as before a
    convolution, are left as they are.
    """
    twin = copy.deepcopy(network).eval()
    for stack in [each for each in twin.modules() if isinstance(each, nn.Sequential)]:
        for (_, layer), (name, norm) in pairwise(list(stack.named_children())):
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None and _takes(layer):
                _absorb(layer, norm)
                setattr(stack, name, nn.Identity())
    return twin


def _takes(layer: nn.Module) -> bool:
    """True if each output channel of a layer has weights of its own along one axis."""
    whole = isinstance(layer, nn.Linear | _ConvNd)
    return whole and not (isinstance(layer, _ConvTransposeNd) and layer.groups > 1)


@torch.no_grad()
def _absorb(layer: nn.Module, norm: _BatchNorm) -> None:
    """Let a layer compute what it and the normalisation after it do."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = layer.get_parameter("weight"), layer.bias
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double()
    if isinstance(bias, Tensor):
        shift = shift + bias.double()
    shift = shift * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    axis = 1 if isinstance(layer, _ConvTransposeNd) else 0
    along = [-1 if k == axis else 1 for k in range(weight.ndim)]
    weight.copy_(weight.double() * scale.view(along))
    layer.bias = nn.Parameter(shift.to(weight.dtype))
