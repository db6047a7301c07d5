"""The features of layers, straight from a network and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from repsim.activations.capture.batch_axis import BatchAxisLike
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import place, unwrap
from repsim.activations.capture.reducing import other_size
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.passes import BATCH, Passes
from repsim.activations.harvesting.sampling import check_rows
from repsim.ambient import full_precision
from repsim.errors import UsageError
from repsim.progress import Progress, silent

_NOTHING = Allowed()

T = TypeVar("T")


@full_precision()
def layer_features(
    network: nn.Module,
    images: Any,
    layers: str | Sequence[str],
    *,
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """The values of layers for each image, flattened: (n, p) float32 on the CPU.

    By address: a module that runs several times, or returns several tensors, has several.

    Args:
        network: runs in evaluation mode, without gradients.
        images: a loader, such as an ``ImageLoader``, or the images (n, c, h, w) themselves.
        layers: addresses or patterns, as for ``repsim.harvest``.
        device: where to run; by default where the network lies.
        allow_random: take a network that is random; otherwise it is refused.
        allow_batch: take a network whose layers depend on the batch of an image, or on batches
            before it; otherwise it is refused.
        allow_grad: let the network compute gradients in its forward.
        batch_axis: axis that holds the images, as for ``repsim.harvest``.
        progress: told the images done.

    Raises:
        UsageError: no such layer, or no images.
        CaptureError: the network does not run on the images, or is no function of the image.
        ShapeError: a layer has another shape for other images.
    """
    found = by_batch(
        network,
        images,
        layers,
        _on_cpu,
        allowed=Allowed(allow_random, allow_batch, allow_grad),
        batch_axis=batch_axis,
        device=device,
        progress=progress,
    )
    return {layer: _joined(layer, [block[layer] for block in found]) for layer in found[0]}


def _joined(layer: str, blocks: Sequence[Tensor]) -> Tensor:
    """The rows of a layer, flattened; refused unless all batches have them in one shape."""
    first = blocks[0].shape[1:]
    for each in blocks:
        if each.shape[1:] != first:
            remedy = "harvest it with --pooling avg, cls or last (pooling='avg')"
            raise other_size(layer, each.shape[1:], first, remedy)
    return torch.cat([each.flatten(1) for each in blocks])


def _on_cpu(layers: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    return {layer: values.float().cpu() for layer, values in layers.items()}


def by_batch(
    network: nn.Module,
    images: Any,
    layers: str | Sequence[str],
    take: Callable[[dict[str, Tensor], int], T],
    *,
    allowed: Allowed = _NOTHING,
    batch_axis: BatchAxisLike | None = None,
    size: int = BATCH,
    change: Callable[[Iterator[Any]], Iterator[Any]] = iter,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> list[T]:
    """Show a network all batches, and ``take`` features from its layers.

    Args:
        network: runs in evaluation mode, without gradients unless these are allowed.
        images: a loader of them, or the images themselves.
        layers: addresses or patterns, as for ``repsim.harvest``.
        take: gives the features of a batch from its layers, by address and with the images first,
            and the number of images.
        allowed: as for ``Passes``, and so on.
        device: where to run; by default where the network lies.
        progress: told the images done.

    Returns:
        The features of each batch.

    Raises:
        UsageError: no such layer, no images, or images in an order that is not known.
        CaptureError: the network does not run on the images, a layer has no row for each, or the
            network is no function of the image.
    """
    network = unwrap(network)
    target = place(network, device)
    network.to(target)
    passes = Passes(
        network,
        images,
        layers,
        target,
        allowed=allowed,
        batch_axis=batch_axis,
        size=size,
        change=change,
    )
    check_rows(passes.loader)
    total = passes.examples
    found: list[T] = []
    with Unchanged(network):
        for rows, values in passes.batches(_copy):
            found.append(take(values, len(rows)))
            progress(rows.stop, total or rows.stop, "")
    if not found:
        raise UsageError("the loader gave no images; expected at least one")
    return found


def _copy(layer: str, values: Tensor, rows: range) -> Tensor:
    return values.clone()
