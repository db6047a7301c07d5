"""The features of layers, straight from a network and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run, warn_of_unused
from repsim.activations.capture.batches import batch_size, to_device
from repsim.activations.capture.faults import FIRST_BATCH, running
from repsim.activations.capture.functions import Allowed, check_function
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import place, unwrap
from repsim.activations.capture.reading import read
from repsim.activations.capture.rowwise import check_examples_first
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.loaders import as_loader, examples_in
from repsim.activations.harvesting.sampling import check_rows
from repsim.ambient import full_precision
from repsim.errors import UsageError
from repsim.progress import Progress, silent

#: Images at a time.
BATCH = 256

_NOTHING = Allowed()

T = TypeVar("T")


@full_precision()
def layer_features(
    network: nn.Module,
    images: Any,
    layers: Sequence[str],
    *,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> dict[str, Tensor]:
    """The values of layers for each image, flattened: (n, p) float32 on the CPU, by address.

    Args:
        network: runs in evaluation mode, without gradients.
        images: a loader, such as an ``ImageLoader``, or the images (n, c, h, w) themselves.
        layers: addresses.
        device: where to run; by default where the network lies.
        progress: told the images done.

    Raises:
        UsageError: no such layer, or no images.
        CaptureError: the network does not run on the images, or is no function of the image.
    """
    found = by_batch(
        network, as_loader(images, BATCH), layers, _flattened, device=device, progress=progress
    )
    return {layer: torch.cat([block[layer] for block in found]) for layer in layers}


def _flattened(layers: Mapping[str, Tensor], n: int) -> dict[str, Tensor]:
    return {layer: values.flatten(1).float().cpu() for layer, values in layers.items()}


def by_batch(
    network: nn.Module,
    loader: Any,
    layers: Sequence[str],
    take: Callable[[dict[str, Tensor], int], T],
    *,
    allowed: Allowed = _NOTHING,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> list[T]:
    """Show a network all batches, and ``take`` features from its layers.

    On the first batch, layers are checked to be functions of the image with a row for each.

    Args:
        network: runs in evaluation mode, without gradients unless these are allowed.
        loader: of the images.
        layers: addresses.
        take: gives the features of a batch from its layers, by address, and the number of images.
        allowed: dependences of the layers that are no reason to refuse.
        device: where to run; by default where the network lies.
        progress: told the images done.

    Returns:
        The features of each batch.

    Raises:
        UsageError: no such layer, no images, or images in an order that is not known.
        CaptureError: the network does not run on the images, or is no function of the image.
    """
    network = unwrap(network)
    target, grad = place(network, device), allowed.grad
    network.to(target)
    check_rows(loader)
    total, at = examples_in(loader), FIRST_BATCH
    found: list[T] = []
    with Unchanged(network) as kept:
        for batch in read(loader):
            shown, first = to_device(batch, target), not at.begin
            if first:
                warn_of_unused(network, shown)
                check_function(network, shown, layers, allowed, kept)
            with running(network, shown, at, grad=grad):
                found.append(take(_layers_of(network, shown, layers, grad), batch_size(batch)))
            if first:
                check_examples_first(network, shown, layers, kept, grad=grad)
            at = at.after(batch)
            progress(at.begin, total or at.begin, "")
    if not at.begin:
        raise UsageError("the loader gave no images; expected at least one")
    return found


def _layers_of(
    network: nn.Module, batch: Any, layers: Sequence[str], grad: bool
) -> dict[str, Tensor]:
    with Capture(network, layers, grad=grad) as capture:
        run(network, batch)
        return capture.take()
