"""One layer of one batch, reduced to what the sums over batches need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repsim.dense import as_floats, as_numbers
from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.answers import Asking
from repsim.measures.kernels import Kernel, Linear
from repsim.measures.layer import Layer
from repsim.measures.prepare import preparing, uncentred_layer
from repsim.names import row_names
from repsim.sources import ArraySource


@dataclass
class BatchLayer:
    """A layer of a batch, made from its activations at once.

    A Gram matrix where the batch has fewer examples than the layer has features, the centred rows
    otherwise; the activations themselves are not kept.

    Attributes:
        name: of the layer.
        n: examples.
        features: of each example.
        row_names: the index of a data frame; None of others.
        layer: None where the layer is the same for every example of the batch.
        error: the complaint about the activations, or None.
    """

    name: str
    n: int
    features: int
    row_names: Any | None
    layer: Layer | None = None
    error: NonFiniteError | None = None


def reducing(name: str, activations: Any, kernel: Kernel, scratch: Scratch) -> Asking[BatchLayer]:
    """The layer of a batch as a computation beside others, see ``repsim.measures.answers``."""
    names = row_names(activations)
    activations = as_numbers(activations, name)
    maps = isinstance(activations, Tensor) and activations.ndim == 4
    if maps and activations.is_contiguous(memory_format=torch.channels_last):
        # In the order in which they lie in memory: CKA knows no order of features.
        activations = activations.permute(0, 2, 3, 1)
    source = ArraySource({name: activations}, name=name)
    features = math.prod(source.rows(name, 0, 0).shape[1:])
    reduced = BatchLayer(name, source.n, features, names)
    if source.n >= 4:
        try:
            reduced.layer = yield from _batch_layer(source, kernel, scratch)
        except DegenerateError:
            pass
        except NonFiniteError as error:
            reduced.error = error
    return reduced


def _batch_layer(source: ArraySource, kernel: Kernel, scratch: Scratch) -> Asking[Layer]:
    """The only layer of ``source``, which is not needed afterwards."""
    (name,), n = source.layers, source.n
    x = as_floats(source.rows(name, 0, n)).flatten(1)
    layer = None
    if isinstance(kernel, Linear) and n < x.shape[1]:
        layer = yield from uncentred_layer(x, name)
    for dtype in (x.dtype, torch.float64):
        if layer is None or (layer.delicate and layer.dtype != torch.float64):
            del layer  # what it holds, before the same in float64
            layer = yield from preparing(source, name, kernel, source.device, dtype, keep=True)
    assert layer is not None
    if layer.gram is None and n < layer.features:
        layer.hold_gram(scratch.of(layer), n)
    elif layer.gram is None:
        layer.held = layer.rows(0, n)
    del layer.source
    return layer


class Scratch:
    """Memory for the rows of one layer after another: fresh memory is slow."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def of(self, layer: Layer) -> Tensor:
        """Room for the rows of ``layer``."""
        needed, memory = layer.n * layer.features, self._memory
        alike = (memory.dtype, memory.device) == (layer.dtype, layer.device)
        if not alike or memory.numel() < needed:
            self._memory = torch.empty(needed, dtype=layer.dtype, device=layer.device)
        return self._memory
