"""Layers of a network reduced by pooling, one batch after the other."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.batches import batch_size, without
from repsim.activations.capture.faults import At
from repsim.activations.capture.layer_masks import LayerMasks
from repsim.activations.capture.pooling import Pooling, PoolingRules
from repsim.activations.capture.tokens import named_masks
from repsim.activations.capture.tracing import TracedRows
from repsim.errors import RepsimWarning, ShapeError


def reduced_shape(
    layer: str, traced: TracedRows, pooling: PoolingRules
) -> tuple[tuple[int, ...], int]:
    """The shape of a layer after its pooling, and the rows that each example gives."""
    # Shapes are all that is asked for, and a tensor without numbers has those.
    given = torch.empty(traced.shape, dtype=traced.dtype, device="meta")
    given = traced.axes.examples_first(given)
    reduced = pooling.of(layer)(given, axes=traced.axes, layer=layer)
    return tuple(reduced.shape), len(reduced) // len(given)


def other_size(
    layer: str, now: Sequence[int], before: Sequence[int], remedy: str = ""
) -> ShapeError:
    """The error where a layer has another shape for the examples of a later batch."""
    remedy = remedy or "reduce the layer with --pooling avg, cls or last (pooling='avg')"
    return ShapeError(
        f"layer {layer!r} gives {tuple(now)} for an example of this batch, {tuple(before)} before; "
        f"bring the inputs to one size, or {remedy}"
    )


def check_single(layer: str, values: Tensor, n: int) -> None:
    """Raise ``ShapeError`` for a layer that has lost its row, of a batch of n = 1 examples."""
    if n == 1 and values.shape[:1] != (1,):
        raise ShapeError(
            f"layer {layer!r} gives {tuple(values.shape)} for a batch of one example, and no row "
            "for it, as squeeze() in forward does; choose a batch size that leaves no example "
            "alone, such as one that divides their number (batch_size of the loader, "
            "--batch-size), or name the axis in forward, as in squeeze(-1)"
        )


class Reducer:
    """The pooling of layers, with the masks of each batch.

    Args:
        pooling: of the layers.
        masks: of the layers.
        axes: of the output of each layer.
        beside: entries of a batch that choose tokens, and are no arguments of the network.
        seed: of ``project``.
        counted: texts may have another number of rows each, where positions become rows.
    """

    def __init__(
        self,
        pooling: PoolingRules,
        masks: LayerMasks,
        axes: Mapping[str, LayerAxes],
        beside: Collection[str],
        seed: str,
        *,
        counted: bool,
    ) -> None:
        self._pooling, self._masks, self._axes = pooling, masks, axes
        self._beside, self._seed, self._counted = beside, seed, counted
        self._named: dict[str, Tensor] = {}
        self._warned = False
        self._examples = 0

    def see(self, batch: Any, at: At) -> None:
        """Take the masks of a batch that the network is about to run on, and its place."""
        self._examples = batch_size(batch)
        self._masks.show(without(batch, self._beside), at)
        self._named = named_masks(batch, self._pooling.masks, at)

    def __call__(self, layer: str, values: Tensor) -> Tensor:
        """Reduce a layer (n, ...), whose examples come first, by its pooling.

        Raises:
            ShapeError: it has no row for the only example of a batch, or pooling does not fit.

        Warns:
            RepsimWarning: once, of padding that is kept.
        """
        check_single(layer, values, self._examples)
        pooling = self._pooling.of(layer)
        self._look_for_padding(layer, values, pooling)
        return pooling(
            values,
            axes=self._axes[layer],
            mask=self._mask(layer, values, pooling),
            named=self._named,
            layer=layer,
            seed=self._seed,
        )

    def _mask(self, layer: str, values: Tensor, pooling: Pooling) -> Tensor | None:
        """The mask of a layer, where its pooling asks for one."""
        mask = self._masks.of(layer, values) if pooling.asks_for_mask else None
        if mask is None or self._counted or not pooling.splits:
            return mask
        if not bool(mask.all()):
            raise ShapeError(
                f"layer {layer!r}: positions would make examples of padding, and how many are none "
                "is known only when the layer is; choose avg, first or last"
            )
        return None

    def _look_for_padding(self, layer: str, values: Tensor, pooling: Pooling) -> None:
        if self._warned or pooling.asks_for_mask:
            return
        if self._masks.shows_padding(layer, values):
            self._warned = True
            warnings.warn(
                f"layer {layer!r} is kept with the tokens that are padding; pooling avg, first, "
                "last, token:K or positions leaves them out",
                RepsimWarning,
                stacklevel=2,
            )
