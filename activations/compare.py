"""Two networks compared on the same images, without storing anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import torch
from torch import nn

from repsim.activations.batches import run, to_device
from repsim.activations.capture import Capture, plan
from repsim.activations.layers import unwrap
from repsim.devices import find_device
from repsim.errors import DegenerateError
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
        model_a: any module that takes the loader's batches.
        model_b: the other one; may be the same object.
        loader: gives batches: images (n, ...) as tensors or arrays, tuples or lists that begin with
            them, or dictionaries by the names of the networks' arguments.
        layers_a: addresses or patterns, as for ``repsim.activations.Capture``; by default the
            layers the network names itself, or its leaf modules.
        layers_b: the same of ``model_b``.
        name_a: what to call ``model_a`` in tables and figures; by default its class.
        name_b: the same of ``model_b``.
        kernel: as in ``repsim.cka``; an RBF bandwidth is taken from each batch.
        device: where to run; by default where ``model_a`` lies.
        progress: told the batches done, where their number is known.

    Raises:
        UsageError: a layer that a network does not have, or a batch it cannot take.
        CaptureError: a layer that was named and is never called, or has no row for each example.
        DegenerateError: no batch of at least four images.

    Warns:
        RepsimWarning: of layers that were not named and are left out for these reasons.
    """
    first = next(iter(model_a.parameters()), torch.empty(0))
    target = first.device if device is None else find_device(device)
    total = len(loader) if isinstance(loader, Sized) else 0
    models = [unwrap(model).to(target) for model in (model_a, model_b)]
    names: list[list[str]] = []
    engine: MinibatchCKA | None = None
    for done, batch in enumerate(loader, start=1):
        moved = to_device(batch, target)
        if engine is None:
            names = [
                list(plan(model, moved, layers))
                for model, layers in zip(models, (layers_a, layers_b), strict=True)
            ]
            engine = MinibatchCKA(*names, kernel=kernel)
        taken = []
        for model, layers in zip(models, names, strict=True):
            with Capture(model, layers, reduce=engine.reduce) as capture:
                run(model, moved)
                taken.append(capture.take(layers))
        engine.update(*taken)
        progress(done, max(total, done), "")
    if engine is None:
        raise DegenerateError("the loader gave no batch; expected at least one of 4 images")
    return engine.compute(
        name_a=name_a or type(models[0]).__name__, name_b=name_b or type(models[1]).__name__
    )
