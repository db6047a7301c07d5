"""One layer of one batch, reduced to what the sums over batches need."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from repsim.dense import as_floats, as_numbers
from repsim.errors import DegenerateError, NonFiniteError
from repsim.measures.kernels import Kernel, Linear
from repsim.measures.layer import Layer
from repsim.measures.prepare import prepare_layer, prepare_together, uncentred_layer
from repsim.names import row_names
from repsim.sources import ArraySource


class BatchLayer:
    """A layer of a batch, made from its activations at once.

    A Gram matrix where the batch has fewer examples than the layer has features, the centred rows
    otherwise; the activations themselves are not kept.

    Attributes:
        name: of the layer.
        n: examples.
        features: of each example.
        layer: None where the layer is the same for every example of the batch.
        error: the complaint about the activations, or None.
        row_names: the index of a data frame; None of others.
    """

    def __init__(self, name: str, activations: Any, kernel: Kernel, scratch: Scratch) -> None:
        self.name = name
        self.row_names = row_names(activations)
        activations = as_numbers(activations, name)
        maps = isinstance(activations, Tensor) and activations.ndim == 4
        if maps and activations.is_contiguous(memory_format=torch.channels_last):
            # In the order in which they lie in memory: CKA knows no order of features.
            activations = activations.permute(0, 2, 3, 1)
        source = ArraySource({name: activations}, name=name)
        self.n = source.n
        self.features = math.prod(source.rows(name, 0, 0).shape[1:])
        self.layer: Layer | None = None
        self.error: NonFiniteError | None = None
        if self.n >= 4:
            try:
                self.layer = _batch_layer(source, kernel, scratch)
            except DegenerateError:
                pass
            except NonFiniteError as error:
                self.error = error


def _batch_layer(source: ArraySource, kernel: Kernel, scratch: Scratch) -> Layer:
    """The only layer of ``source``, which is not needed afterwards."""
    (name,), n = source.layers, source.n
    x = as_floats(source.rows(name, 0, n)).flatten(1)
    layer = None
    if isinstance(kernel, Linear) and n < x.shape[1]:
        layer = uncentred_layer(x, name)
    if layer is None:
        (layer,) = prepare_together(
            x.dtype,
            lambda dtype: [prepare_layer(source, name, kernel, source.device, dtype, keep=True)],
        )
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
