"""Loaders beside ``ImageLoader``: images that no file holds, and noise on those of any loader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from torch import Tensor

from repsim.activations.batches import ids_of, inputs_of
from repsim.data.noise import Noise
from repsim.errors import ShapeError, UsageError


@dataclass(frozen=True, eq=False)
class TensorLoader:
    """Batches (images, None, ids) of images that lie in memory, in order.

    Attributes:
        dataset: (n, ...) what the network reads; for images, floating point in [-1, 1].
        batch_size: images at a time.
        name: the ids are ``NAME/0``, ``NAME/1`` and so on.
    """

    dataset: Tensor = field(repr=False)
    batch_size: int = 256
    name: str = "images"

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
            yield part, None, [f"{self.name}/{start + k}" for k in range(len(part))]


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
        positions = count()
        for batch in self.loader:
            images = inputs_of(batch)
            if not isinstance(images, Tensor):
                raise UsageError(
                    f"{self.noise.name}: a batch gave {type(images).__name__} as images; expected "
                    "a tensor, alone or followed by labels and ids"
                )
            numbers = list(islice(positions, len(images)))
            noisy = self.noise(images, ids_of(batch) or numbers, self.seed)
            yield [noisy, *batch[1:]] if isinstance(batch, (tuple, list)) else noisy


def as_loader(images: Any, batch_size: int = 256, name: str = "images") -> Any:
    """A loader of ``images`` where they are a tensor; else themselves, which are a loader."""
    return TensorLoader(images, batch_size, name) if isinstance(images, Tensor) else images


def examples_in(loader: Any) -> int | None:
    """How many examples a loader gives; None where it does not say."""
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        return None
