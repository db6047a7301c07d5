"""From a network and images to a store of every layer's activations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim._version import __version__
from repsim.activations.capture import Capture
from repsim.activations.compare import images_of
from repsim.activations.layers import addresses
from repsim.activations.pooling import Pooling, check_pooling, pool
from repsim.activations.store import ActivationStore, part_path, write_store
from repsim.data import ImageSet
from repsim.devices import find_device
from repsim.errors import NonFiniteError, StoreError, UsageError
from repsim.files import refuse_existing, sha256
from repsim.layers import select_layers
from repsim.progress import Progress, silent
from repsim.training.run import Run


def harvest(
    model: nn.Module,
    loader: Iterable[Any],
    path: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: Pooling = "none",
    examples: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> ActivationStore:
    """Run a network over a loader and store the activations of its layers.

    Rows are committed batch by batch. A harvest that was stopped continues with ``resume``, with
    the same loader, and gives the same bytes as one that was not.

    Args:
        model: any module that takes the loader's images. It runs in evaluation mode.
        loader: gives batches: images (n, ...), (images, labels) or (images, labels, ids), in the
            same order every time. Without ids the examples are numbered; a loader that shuffles
            must give ids.
        path: of the store; the file appears when it is whole.
        layers: addresses or globs, ``"odd"``, ``"even"``; by default the layers the network names
            itself, or its leaf modules.
        pooling: ``"none"`` stores every value, ``"avg"`` averages over positions or tokens.
        examples: how many the loader gives, where ``len(loader.dataset)`` does not say.
        provenance: what to record about the network and the data; JSON values.
        device: where to run; by default where the network lies.
        overwrite: replace an existing store.
        resume: continue an unfinished one; leave a finished one of the same harvest as it is.
        progress: told the examples done.

    Raises:
        UsageError: the file exists, a layer does not, or the loader shuffles without ids.
        CaptureError: a layer that is never called, or gives no tensor.
        StoreError: no room, or an unfinished store of another harvest.
    """
    path = Path(path)
    check_pooling(pooling)
    refuse_existing(path, overwrite or resume)
    if part_path(path).is_file() and not (resume or overwrite):
        raise UsageError(f"{path} has an unfinished harvest; pass --resume or --overwrite")
    n = _count(loader) if examples is None else examples
    target = _device_of(model) if device is None else find_device(device)
    chosen = None if layers is None else select_layers(addresses(model), layers)
    recorded = {
        "repsim": __version__,
        "torch": torch.__version__,
        "device": target.type,
        "pooling": pooling,
        "n": n,
        **(provenance or {}),
    }
    if path.exists() and not overwrite:
        return _finished(path, recorded, chosen)
    with Capture(model.to(target), chosen, reduce=lambda _, x: pool(x, pooling)) as capture:
        batches = _normalised(loader)
        first = next(batches, None)
        if first is None:
            raise UsageError("the loader gave no batch; expected at least one")
        taken = _run(capture, model, first[0], target)
        recorded["batch_size"] = len(first[0])
        modules = dict(model.named_modules())
        with write_store(
            path,
            n=n,
            layers={
                name: (type(modules[name]).__name__, values.shape[1:], str(values.dtype))
                for name, values in taken.items()
            },
            labelled=first[1] is not None,
            heads=_linear_heads(model, list(taken)),
            provenance=recorded,
            resume=resume and not overwrite,
        ) as writer:
            begin = 0
            for images, labels, ids in _chain(first, batches):
                end = begin + len(images)
                if begin >= writer.done:
                    if begin:
                        taken = _run(capture, model, images, target)
                    writer.append(taken, ids or list(map(str, range(begin, end))), labels)
                elif end > writer.done:
                    raise StoreError(
                        f"{part_path(path)} was written in other batches; pass --overwrite"
                    )
                begin = end
                progress(end, n, "")
    return ActivationStore(path)


def harvest_run(
    run: Run,
    images: ImageSet,
    *,
    extractor: str | None = None,
    path: str | os.PathLike[str] | None = None,
    batch_size: int = 256,
    **options: Any,
) -> ActivationStore:
    """Harvest a run's extractor on an image set, into the run's own folder by default.

    Args:
        run: a finished run.
        images: what to show it.
        extractor: which network, of a run that has several.
        path: of the store; by default ``store_path(run, images.slug, extractor)``.
        batch_size: images at a time.
        **options: as for ``harvest``.
    """
    name = run.extractor_name(extractor)
    model = run.load_extractor(name)
    config = run.config
    provenance = {
        "network": f"{run.name}:{name}" if len(run.extractors) > 1 else run.name,
        "run": run.name,
        "extractor": name,
        "method": run.describe()["method"],
        "config": config.model_dump(),
        "checkpoint_sha256": run.digest(),
        "data": images.name,
        "split": images.split,
        "example_ids_sha256": sha256("\n".join(images.ids).encode()),
    }
    target = Path(path) if path is not None else store_path(run, images.slug, name)
    loader = ImageLoader(images, batch_size)
    return harvest(model, loader, target, provenance=provenance, **options)


def store_path(run: Run, slug: str, extractor: str | None = None) -> Path:
    """Where a run's activations of an image set lie: ``activations/[EXTRACTOR.]DATA-SPLIT.h5``."""
    name = run.extractor_name(extractor)
    prefix = f"{name}." if len(run.extractors) > 1 else ""
    return run.path / "activations" / f"{prefix}{slug}.h5"


class ImageLoader:
    """Batches (images, labels, ids) of an image set, in order."""

    def __init__(self, images: ImageSet, batch_size: int) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; expected at least 1")
        self.dataset = images
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None, list[str]]]:
        for indices in torch.arange(len(self.dataset)).split(self.batch_size):
            labels = None if self.dataset.labels is None else self.dataset.labels[indices]
            ids = [str(self.dataset.ids[i]) for i in indices.tolist()]
            yield self.dataset.inputs(indices), labels, ids


def _finished(
    path: Path, recorded: Mapping[str, Any], layers: Sequence[str] | None
) -> ActivationStore:
    """The store at ``path``, if it is what this harvest would make."""
    store = ActivationStore(path)
    before = store.provenance()
    changed = [key for key in recorded if before.get(key) != recorded[key]]
    if layers is not None and set(layers) != set(store.layers):
        changed.append("layers")
    if changed:
        store.close()
        raise StoreError(
            f"{path} is of another harvest: {', '.join(changed)} differ; pass --overwrite to "
            "replace it"
        )
    return store


def _run(
    capture: Capture, model: nn.Module, images: Tensor, device: torch.device
) -> dict[str, np.ndarray]:
    model(images.to(device))
    taken = {}
    for layer, values in capture.take().items():
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteError(
                f"layer {layer!r} gives NaN or infinity; check the network and its input, or leave "
                "the layer out with --layers"
            )
        values = values.float() if values.dtype == torch.bfloat16 else values
        taken[layer] = values.cpu().contiguous().numpy()
    return taken


def _normalised(
    loader: Iterable[Any],
) -> Iterator[tuple[Tensor, np.ndarray | None, list[str] | None]]:
    """Batches as (images, labels or None, ids or None)."""
    for batch in loader:
        images = images_of(batch)
        extra = list(batch[1:3]) if isinstance(batch, (tuple, list)) else []
        labels, ids = (*extra, None, None)[:2]
        yield (
            images,
            None if labels is None else np.asarray(labels, dtype=np.int64),
            None if ids is None else [str(each) for each in ids],
        )


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _count(loader: Any) -> int:
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, torch.utils.data.RandomSampler):
        raise UsageError(
            "the loader shuffles, so its rows could not be matched with another harvest's; pass "
            "shuffle=False, or batches (images, labels, ids) and examples=N"
        )
    if getattr(loader, "drop_last", False):
        return len(loader) * loader.batch_size
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        raise UsageError(
            "the loader does not say how many examples it gives; pass examples=N"
        ) from None


def _device_of(model: nn.Module) -> torch.device:
    return next(iter(model.parameters()), torch.empty(0)).device


def _linear_heads(model: nn.Module, layers: list[str]) -> dict[str, dict[str, Any]]:
    """The linear head of a network that says which layer feeds it, for null-space work."""
    source = getattr(model, "head_input", None)
    head = getattr(model, "head", None)
    if source not in layers or not isinstance(head, nn.Linear):
        return {}
    bias = None if head.bias is None else head.bias.detach().cpu().numpy()
    weight = head.weight.detach().cpu().numpy()
    return {"head": {"weight": weight, "bias": bias, "input": source}}
