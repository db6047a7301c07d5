"""Two networks compared on the same images, without storing anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture import Capture
from repsim.activations.layers import addresses, default_layers
from repsim.devices import find_device
from repsim.errors import DegenerateError
from repsim.layers import select_layers
from repsim.measures import MinibatchCKA
from repsim.measures.kernels import KernelLike
from repsim.progress import Progress, silent
from repsim.results import SimilarityMap


def compare(
    model_a: nn.Module,
    model_b: nn.Module,
    loader: Iterable[Any],
    *,
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    name_a: str | None = None,
    name_b: str | None = None,
    kernel: KernelLike = "linear",
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> SimilarityMap:
    """Minibatch CKA of all pairs of layers (Nguyen et al. 2021), in one pass over the images.

    Both networks see each batch once, and each layer is reduced to its Gram matrix as it comes, so
    nothing is stored. Shuffle the loader: batches sorted by class are not samples of the whole set,
    and the value would depend on the batch size; the map has a note where they seem to be.

    Args:
        model_a: any module that takes the loader's images.
        model_b: the other one; may be the same object.
        loader: gives batches: images (n, ...), or tuples or lists that begin with them.
        layers_a: module addresses or globs, ``"odd"``, ``"even"``; by default the layers the
            network names itself, or its leaf modules.
        layers_b: the same of ``model_b``.
        name_a: what to call ``model_a`` in tables and figures; by default its class.
        name_b: the same of ``model_b``.
        kernel: as in ``repsim.cka``; an RBF bandwidth is taken from each batch.
        device: where to run; by default where ``model_a`` lies.
        progress: told the batches done, where their number is known.

    Raises:
        UsageError: a layer that a network does not have.
        CaptureError: a layer that is never called, or gives no tensor.
        DegenerateError: no batch of at least four images.
    """
    first = next(iter(model_a.parameters()), torch.empty(0))
    target = first.device if device is None else find_device(device)
    total = len(loader) if isinstance(loader, Sized) else 0
    models, chosen = (model_a.to(target), model_b.to(target)), []
    for model, layers in zip(models, (layers_a, layers_b), strict=True):
        known = default_layers(model) if layers is None else addresses(model)
        chosen.append(select_layers(known, layers))
    engine = MinibatchCKA(*chosen, kernel=kernel)
    taken: list[dict[str, Any]] = []
    for done, batch in enumerate(loader, start=1):
        images = images_of(batch).to(target)
        taken = []
        for model, layers in zip(models, chosen, strict=True):
            with Capture(model, layers, reduce=engine.reduce) as capture:
                model(images)
                taken.append(capture.take())
        engine.update(*taken)
        progress(done, max(total, done), "")
    if not taken:
        raise DegenerateError("the loader gave no batch; expected at least one of 4 images")
    result = engine.compute(
        name_a=name_a or type(model_a).__name__, name_b=name_b or type(model_b).__name__
    )
    return result.select(tuple(taken[0]), tuple(taken[1]))  # in order of execution


def images_of(batch: Any) -> Tensor:
    """The images of a batch: a tensor, or the first of a tuple or list."""
    images = batch[0] if isinstance(batch, (tuple, list)) else batch
    if not isinstance(images, Tensor):
        raise TypeError(
            f"a batch gave {type(images).__name__} as images; expected a tensor, or a tuple or "
            "list that begins with one"
        )
    return images
