"""Networks compared as they run, without storing anything: with each other on the same images, with
themselves on augmented copies of them, and with their classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.functional import one_hot

from repsim.activations.capture.batches import run, to_device
from repsim.activations.capture.hooks import Capture, planned
from repsim.activations.capture.modules import unwrap
from repsim.activations.harvesting.loaders import ShuffledLoader
from repsim.data import ImageSet
from repsim.devices import find_device
from repsim.errors import DegenerateError
from repsim.measures import MinibatchCKA
from repsim.measures.classes import CLASSES, checked_labels
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
    and the value would depend on the batch size; the map has a note where they seem to be. A
    ``ShuffledLoader`` shows both networks the same augmented images (Grigg et al. 2021, Figure 5).

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
    target = _place(model_a, device)
    a, b = _Network(model_a, layers_a, target, name_a), _Network(model_b, layers_b, target, name_b)
    pairs = ((batch, batch) for batch in _moved(loader, target))
    total = len(loader) if isinstance(loader, Sized) else 0
    return _stream([a, b], pairs, total, [a.name, b.name], kernel, progress)


def invariance(
    model: nn.Module,
    images: ImageSet,
    augment: nn.Module,
    *,
    layers: str | Sequence[str] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    name: str | None = None,
    kernel: KernelLike = "linear",
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> SimilarityMap:
    """CKA between two augmented copies of the same images (Grigg et al. 2021, Figure 3).

    The diagonal of the map is the invariance of each layer: 1 where the layer does not see what the
    augmentation changes, near 0 where two copies of an image are no more alike than two images.

    In minibatches of shuffled images, as ``compare``. Order and augmentations follow from ``seed``
    and ``batch_size``, whatever the layers; torch's global random numbers are left as they were.

    Args:
        model: any module that takes images (n, c, size, size), float32.
        images: at least four.
        augment: from images in [-1, 1] to what the network reads, at random; each copy of an image
            is a draw of its own. See ``ShuffledLoader``.
        layers: as ``layers_a`` of ``compare``.
        batch_size: images at a time, at least 8.
        seed: of the order and of the augmentations.
        name: what to call the network; by default its class.
        kernel: as in ``compare``.
        device: where to run and to augment; by default where the network lies.
        progress: told the batches done.

    Returns:
        A map whose rows are layers that see one copy, and whose columns those that see the other.

    Raises:
        UsageError: a layer that the network does not have, too small a batch size, a negative seed.
        CaptureError: as from ``compare``.
        DegenerateError: fewer than four images.
    """
    target = _place(model, device)
    side = _Network(model, layers, target, name)
    copies = [ShuffledLoader(images, augment, batch_size, seed, view, target) for view in (0, 1)]
    pairs = zip(*(_moved(copy, target) for copy in copies), strict=True)
    names = [side.name, f"{side.name} (other copy)"]
    result = _stream([side, side], pairs, len(copies[0]), names, kernel, progress)
    return _about(result, "views", seed=seed)


def compare_classes(
    model: nn.Module,
    images: ImageSet,
    augment: nn.Module | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    name: str | None = None,
    kernel: KernelLike = "linear",
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> SimilarityMap:
    """CKA of every layer with the classes of the images, from minibatches.

    ``repsim.measures.class_similarity`` of a network whose activations are not stored; otherwise as
    ``invariance``.

    Args:
        model: as for ``invariance``.
        images: with labels.
        augment: None shows the images as they are.
        layers: as for ``invariance``, and so on.

    Returns:
        A map with one column, ``classes``.

    Raises:
        UsageError: images without labels, or as from ``invariance``.
        CaptureError: as from ``compare``.
        DegenerateError: fewer than four images, or images of one class.
    """
    checked_labels(images.labels, len(images), images.name)
    target = _place(model, device)
    side, classes = _Network(model, layers, target, name), _Classes(len(images.classes), target)
    loader = ShuffledLoader(images, augment, batch_size, seed, device=target)
    pairs = ((batch, batch[1]) for batch in _moved(loader, target))
    names = [side.name, CLASSES]
    result = _stream([side, classes], pairs, len(loader), names, kernel, progress)
    return _about(result, "classes", seed=seed)


class _Side(Protocol):
    """What gives layers (n, ...) of every batch."""

    def layers_of(self, batch: Any) -> list[str]:
        """The layers that it will give, from the first batch."""

    def take(self, batch: Any, reduce: Callable[[str, Any], Any]) -> Mapping[str, Any]:
        """The layers of a batch, each reduced at once."""


class _Network:
    """The layers of a network."""

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] | None,
        device: torch.device,
        name: str | None,
    ) -> None:
        self._model = unwrap(model).to(device)
        self.name = name or type(self._model).__name__
        self._chosen = layers
        self._layers: list[str] = []

    def layers_of(self, batch: Any) -> list[str]:
        if not self._layers:
            self._layers = list(planned(self._model, batch, self._chosen))
        return self._layers

    def take(self, batch: Any, reduce: Callable[[str, Any], Any]) -> Mapping[str, Any]:
        with Capture(self._model, self._layers, reduce=reduce) as capture:
            run(self._model, batch)
            return capture.take(self._layers)


class _Classes:
    """Labels (n,) int64 as the one layer ``classes``."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes, self._device = classes, device

    def layers_of(self, batch: Any) -> list[str]:
        return [CLASSES]

    def take(self, batch: Any, reduce: Callable[[str, Any], Any]) -> Mapping[str, Any]:
        return {CLASSES: reduce(CLASSES, one_hot(batch, self._classes).float().to(self._device))}


def _stream(
    sides: Sequence[_Side],
    pairs: Iterable[tuple[Any, Any]],
    total: int,
    names: Sequence[str],
    kernel: KernelLike,
    progress: Progress,
) -> SimilarityMap:
    """The map of two sides, from what each is shown of every batch."""
    engine: MinibatchCKA | None = None
    for done, pair in enumerate(pairs, start=1):
        shown = list(zip(sides, pair, strict=True))
        if engine is None:
            engine = MinibatchCKA(*(side.layers_of(part) for side, part in shown), kernel=kernel)
        engine.update(*(side.take(part, engine.reduce) for side, part in shown))
        progress(done, max(total, done), "")
    if engine is None:
        raise DegenerateError("the loader gave no batch; expected at least one of 4 images")
    return engine.compute(name_a=names[0], name_b=names[1])


def _place(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """``device``, or where the network lies."""
    first = next(iter(model.parameters()), torch.empty(0))
    return first.device if device is None else find_device(device)


def _moved(loader: Iterable[Any], device: torch.device) -> Iterator[Any]:
    return (to_device(batch, device) for batch in loader)


def _about(result: SimilarityMap, comparison: str, **facts: Any) -> SimilarityMap:
    return replace(result, provenance={**result.provenance, "comparison": comparison, **facts})
