"""Loaders: image sets in order or shuffled and augmented, images of no file, noise on any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.batches import ids_of, inputs_of, to_device
from repsim.activations.capture.reading import attribute, measuring, read
from repsim.ambient import settled
from repsim.data.imageset import slug
from repsim.data.noise import Noise
from repsim.data.preprocessing import Preprocessing
from repsim.data.size import Size, sides
from repsim.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from repsim.data import ImageSet
    from repsim.data.targets import Labels


@dataclass(frozen=True)
class ImageLoader:
    """Batches (images, labels, ids) of an image set, in order.

    Where the set has other targets than one class an example, ``labels`` is a dictionary of them.

    Attributes:
        dataset: the images.
        batch_size: images at a time.
        preprocessing: from pixels to what the network reads; by default [-1, 1].
        start: first batch.
        stop: end of the batches; None for all.
    """

    dataset: ImageSet
    batch_size: int
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}; expected at least 1")

    def __len__(self) -> int:
        whole = -(-len(self.dataset) // self.batch_size)
        return len(range(whole)[self.start : self.stop])

    def __iter__(self) -> Iterator[tuple[Tensor, Labels, list[str]]]:
        for k in range(self.start, self.start + len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            ids = [str(each) for each in self.dataset.ids[rows]]
            images = self.preprocessing(self.dataset.images[rows])
            yield images, self.dataset.labels_at(rows), ids

    @property
    def size(self) -> Size:
        """Height and width of the images that the network reads."""
        size = self.preprocessing.size
        return self.dataset.size if size is None else sides(size)

    @property
    def slug(self) -> str:
        """The name of the examples in files, with their size where it is not that of the set."""
        dataset = self.dataset
        shown = self.size if dataset.resized or self.size != dataset.size else None
        return slug(dataset.name, dataset.split, shown)

    def part(self, start: int, stop: int) -> ImageLoader:
        """The batches from ``start`` to ``stop`` only."""
        return replace(self, start=start, stop=stop)


@dataclass(frozen=True, eq=False)
class TensorLoader:
    """Batches (images, None, ids) of images that lie in memory, in order.

    Attributes:
        dataset: (n, ...) what the network reads; for images, floating point in [-1, 1].
        batch_size: images at a time.
        name: the ids are ``NAME/0``, ``NAME/1`` and so on.
        axis: of the images of a batch, for networks that do not take them first.
    """

    dataset: Tensor = field(repr=False)
    batch_size: int = 256
    name: str = "images"
    axis: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}; expected at least 1")
        if self.dataset.ndim < 2 or not self.dataset.is_floating_point():
            raise ShapeError(
                f"{self.name}: expected floating-point values of shape (n, ...), got "
                f"{self.dataset.dtype} of shape {tuple(self.dataset.shape)}"
            )

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, None, list[str]]]:
        for start in range(0, len(self.dataset), self.batch_size):
            part = self.dataset[start : start + self.batch_size]
            ids = [f"{self.name}/{start + k}" for k in range(len(part))]
            yield part.movedim(0, self.axis), None, ids


@dataclass(frozen=True, eq=False)
class ShuffledLoader:
    """Batches (images, labels, ids) of an image set, shuffled and augmented, for minibatch CKA.

    Loaders of one seed give the same images in the same batches; those that differ in ``view`` give
    independently augmented copies of them. Every pass gives the same numbers, and torch's global
    random numbers are left as they were.

    The batches are of equal size, or differ by one image: none is too small for the unbiased HSIC.

    Attributes:
        dataset: the images, as uint8.
        augment: from float32 images (n, c, size, size) in [-1, 1] to what the networks read. Draws
            from torch's random numbers of the CPU, as the transforms of ``repsim.data.augment``
            do. None leaves images as they are.
        batch_size: images at a time, at most.
        seed: of the order and of the augmentations.
        view: which of the augmented copies.
        device: where the images are augmented.

    Raises:
        UsageError: a batch size below 8, or a negative seed.
    """

    dataset: ImageSet
    augment: nn.Module | None = None
    batch_size: int = 256
    seed: int = 0
    view: int = 0
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.batch_size < 8:  # of which equal batches may have half
            raise UsageError(
                f"batch_size is {self.batch_size}; expected at least 8, for unbiased CKA of every "
                "batch"
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}; expected at least 0")

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Labels, list[str]]]:
        for k, rows in enumerate(self._batches()):
            index = torch.from_numpy(rows)
            ids = [self.dataset.ids[row] for row in rows]
            yield self._images(k, index), self.dataset.labels_at(index), ids

    def classes(self) -> Iterator[Tensor]:
        """The classes (n,) int64 of the images of each batch, of the target that was chosen.

        Raises:
            UsageError: the set has none.
        """
        labels = self.dataset.labels
        if labels is None:
            raise UsageError(f"{self.dataset.name} has no labels; expected a class for each image")
        return (labels[torch.from_numpy(rows)] for rows in self._batches())

    @property
    def axis(self) -> int | None:
        """The axis that holds the images in what ``augment`` gives; None where that is unknown.

        Looked for with a number of images that no other axis has.
        """
        for k in range(2, min(len(self.dataset), 12) + 1):
            given = self._images(0, torch.from_numpy(self.order[:k]))
            if not isinstance(given, Tensor):
                return None
            if list(given.shape).count(k) == 1:
                return list(given.shape).index(k)
        return None

    @property
    def order(self) -> np.ndarray:
        """The place in the set of each image that is given, int64 (n,)."""
        return np.random.default_rng(self.seed).permutation(len(self.dataset))

    def _batches(self) -> list[np.ndarray]:
        """The places in the set of the images of each batch."""
        return np.array_split(self.order, len(self)) if len(self) else []

    def _images(self, batch: int, index: Tensor) -> Tensor:
        images = self.dataset.inputs(index).to(self.device)
        if self.augment is None:
            return images
        (seed,) = np.random.SeedSequence((self.seed, self.view, batch)).generate_state(1)
        with settled(), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(int(seed))
            return self.augment(images)


@dataclass(frozen=True, eq=False)
class NoisyLoader:
    """The batches of a loader with noise on their images; everything else as it is.

    The noise of an image depends on its id, or without ids on its position. Ids of an image set
    count within the full split, so that a slice, another order and another batch size give an image
    the same noise.

    Attributes:
        loader: gives images in [-1, 1], alone or followed by labels and ids.
        noise: what is added.
        seed: of the run.
    """

    loader: Any = field(repr=False)
    noise: Noise
    seed: int = 0

    @property
    def dataset(self) -> Any:
        """That of the loader, without noise; for its length."""
        return self.loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return noisy(read(self.loader), self.noise, self.seed)


def noisy(batches: Iterable[Any], noise: Noise, seed: int = 0) -> Iterator[Any]:
    """Batches with noise on their images, see ``NoisyLoader``.

    Raises:
        UsageError: images that are no tensor.
    """
    positions = count()
    for batch in batches:
        images = inputs_of(batch)
        if not isinstance(images, Tensor):
            raise UsageError(
                f"{noise.name}: a batch gave {type(images).__name__} as images; expected a "
                "tensor, alone or followed by labels and ids"
            )
        numbers = list(islice(positions, len(images)))
        changed = noise(images, ids_of(batch) or numbers, seed)
        yield [changed, *batch[1:]] if isinstance(batch, (tuple, list)) else changed


def moved(loader: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """The batches of a loader, on a device."""
    return (to_device(batch, device) for batch in read(loader))


def examples_in(loader: Any) -> int | None:
    """The number of examples that a loader gives; None where it does not say."""
    return _length(attribute(loader, "dataset"))


def batches_in(loader: Any) -> int | None:
    """The number of batches that a loader gives; None where it does not say."""
    return _length(loader)


def _length(value: Any) -> int | None:
    """A length that a progress can do without."""
    with measuring():
        try:
            return len(value)
        except (AttributeError, TypeError, NotImplementedError):
            return None
