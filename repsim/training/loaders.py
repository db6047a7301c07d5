"""Images on their way to the training step.

A set that fits lies as uint8 on the device, where batches are cut out of it. An image folder that
does not fit into memory goes through processes that decode while the device computes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from repsim.data import ImageSet, Split, find_set, load, to_input
from repsim.data.augment import flips
from repsim.data.folder import ImageFiles, find
from repsim.data.size import Wanted, parse_size
from repsim.devices import default_memory
from repsim.files import sha256, utf8
from repsim.networks.image_spec import ImageSpec
from repsim.training.method import Batch


def open_images(
    data: str,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    memory: int | None = None,
    *,
    image_size: Wanted = None,
    target: str = "",
) -> ImageSet | ImageFiles:
    """The images of a split and any labels: in memory, or files where they do not fit.

    Args:
        data: a named set, an ``.npz`` file or a folder.
        split: part of it.
        data_dir: where named sets lie.
        memory: bytes that the images of a folder may take; by default a quarter of free memory.
        image_size: height and width, as for ``repsim.data.load``.
        target: the one that is trained on, or looked at.

    Raises:
        UsageError, DataError: as of ``repsim.data.load``.
    """
    path = Path(data).expanduser()
    if find_set(data) is not None or not path.is_dir():
        return load(data, split, data_dir=data_dir, image_size=image_size, target=target)
    files = find(Split.parse(split), path, parse_size(image_size)).choose(target)
    limit = default_memory(torch.device("cpu")) if memory is None else memory
    return files if files.nbytes > limit else files.read()


def spec_of(images: ImageSet | ImageFiles, data: str) -> ImageSpec:
    """The facts of opened images that networks and augmentations are built for.

    Args:
        images: from ``open_images``.
        data: the set that they are part of.
    """
    return ImageSpec(
        channels=images.channels,
        classes=len(images.classes) if images.has_labels else 0,
        height=images.size[0],
        width=images.size[1],
        flips=flips(data),
    )


def feed(images: ImageSet | ImageFiles, device: torch.device, workers: int) -> Feed:
    """The way to ``device`` that fits a set."""
    if isinstance(images, ImageFiles):
        return Streamed(images, device, workers)
    return Resident(images, device)


class Feed(ABC):
    """Batches of a set, on a device."""

    def __init__(self, images: ImageSet | ImageFiles, device: torch.device) -> None:
        self.images = images
        self.device = device
        #: -1 for all images of a set without labels
        self.labels: Tensor = torch.full((len(images),), -1)
        if images.has_labels and images.labels is not None:
            self.labels = images.labels

    def __len__(self) -> int:
        return len(self.images)

    @abstractmethod
    def batches(self, rows: Tensor) -> Iterator[Batch]:
        """One batch for each row of ``rows``, int64 of shape (batches, n): indices of images."""

    def in_order(self, size: int) -> Iterator[Batch]:
        """Every image once, ``size`` at a time; a last one alone joins those before it."""
        indices = torch.arange(len(self))
        whole = len(self) // size * size
        if whole and len(self) == whole + 1:  # a batch of one has nothing to compare it with
            whole -= size
        if whole:
            yield from self.batches(indices[:whole].view(-1, size))
        if whole < len(self):
            yield from self.batches(indices[None, whole:])

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """A digest that tells the images apart from others."""


class Resident(Feed):
    """A set in memory: on the device where it fits, else beside it."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        super().__init__(images, device)
        fits = images.images.nbytes <= default_memory(device)
        home = device if fits else torch.device("cpu")
        self._pixels, self.labels = images.images.to(home), self.labels.to(home)

    def batches(self, rows: Tensor) -> Iterator[Batch]:
        for chosen in rows.to(self._pixels.device):
            pixels = self._pixels[chosen].to(self.device)
            yield Batch(to_input(pixels), self.labels[chosen].to(self.device))

    def fingerprint(self) -> dict[str, str]:
        return {"sha256": sha256(self._pixels.cpu().numpy().tobytes())}


class _Decoded(Dataset[Any]):
    def __init__(self, images: ImageFiles, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images.decode(index), self.labels[index]


class Streamed(Feed):
    """Image files, decoded by ``workers`` processes while they are needed."""

    def __init__(self, images: ImageFiles, device: torch.device, workers: int) -> None:
        super().__init__(images, device)
        self._decoded = _Decoded(images, self.labels)
        self._workers = workers

    def batches(self, rows: Tensor) -> Iterator[Batch]:
        loader: DataLoader[Any] = DataLoader(
            self._decoded,
            batch_sampler=rows.tolist(),
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the numbers of augmentation
        )
        for pixels, labels in loader:
            pixels = pixels.to(self.device, non_blocking=True)
            yield Batch(to_input(pixels), labels.to(self.device, non_blocking=True))

    def fingerprint(self) -> dict[str, str]:
        return {"ids_sha256": sha256(utf8("\n".join(self.images.ids)))}


def rows_of_epoch(order: Tensor, batch_size: int, parts: int, world: int, rank: int) -> Tensor:
    """The images that one process sees in an epoch, part by part.

    Args:
        order: all images, shuffled; the same in every process.
        batch_size: images a step, over all processes.
        parts: of a batch, one after the other.
        world: processes, which share each part in order.
        rank: the process.

    Returns:
        Indices, shape (steps * parts, images a part and process). The last, smaller batch is left
        out.
    """
    steps = len(order) // batch_size
    share = batch_size // (parts * world)
    return order[: steps * batch_size].view(steps * parts, world, share)[:, rank]
