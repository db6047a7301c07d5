"""The features of layers, straight from a network and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run, warn_of_unused
from repsim.activations.capture.batches import to_device
from repsim.activations.capture.faults import FIRST_BATCH, running
from repsim.activations.capture.functions import Allowed, check_function
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import place
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
    target = place(network, device)
    network.to(target)
    loader = as_loader(images, BATCH)
    check_rows(loader)
    total, at = examples_in(loader), FIRST_BATCH
    blocks: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with Unchanged(network) as kept:
        for batch in read(loader):
            shown = to_device(batch, target)
            if not at.begin:
                warn_of_unused(network, shown)
                check_function(network, shown, list(layers), Allowed(), kept)
                check_examples_first(network, shown, list(layers), kept)
            with running(network, shown, at):
                for layer, values in _taken(network, shown, layers).items():
                    blocks[layer].append(values.flatten(1).float().cpu())
            at = at.after(batch)
            progress(at.begin, total or at.begin, "")
    if not at.begin:
        raise UsageError("the loader gave no images; expected at least one")
    return {layer: torch.cat(parts) for layer, parts in blocks.items()}


def _taken(network: nn.Module, batch: Any, layers: Sequence[str]) -> dict[str, Tensor]:
    with Capture(network, list(layers)) as capture:
        run(network, batch)
        return capture.take()
