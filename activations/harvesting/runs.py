"""Where the activations of a run lie, and how they get there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from repsim.activations.harvesting.harvest import harvest
from repsim.activations.store.reader import ActivationStore
from repsim.data import ImageSet
from repsim.data.preprocessing import Preprocessing
from repsim.errors import UsageError
from repsim.files import sha256
from repsim.training.run import Extractor, Run


def harvest_run(
    run: Run,
    images: ImageSet,
    *,
    extractor: str | None = None,
    epoch: int | None = None,
    path: str | os.PathLike[str] | None = None,
    batch_size: int = 256,
    **options: Any,
) -> ActivationStore:
    """Harvest a run's extractor on an image set, into the run's own folder by default.

    Args:
        run: a finished run.
        images: what to show it.
        extractor: which network, of a run that has several.
        epoch: of its series of checkpoints; by default the end of training.
        path: of the store; by default that of ``store_path``.
        batch_size: images at a time.
        **options: as for ``harvest``.
    """
    chosen = run.extractor(extractor, epoch)
    return harvest(
        chosen.load(),
        ImageLoader(images, batch_size),
        store_path(chosen, images.slug) if path is None else path,
        provenance={**extractor_provenance(chosen), **data_provenance(images)},
        **options,
    )


def extractor_provenance(extractor: Extractor) -> dict[str, Any]:
    """What a store says of the network that it was harvested from."""
    run = extractor.run
    return {
        "network": extractor.label,
        "run": run.name,
        "extractor": extractor.name,
        "epoch": run.config.epochs if extractor.epoch is None else extractor.epoch,
        "method": run.describe()["method"],
        "config": run.config.model_dump(),
        "checkpoint_sha256": extractor.digest(),
    }


def data_provenance(examples: Any) -> dict[str, Any]:
    """What a store says of its examples: an ``ImageSet`` or a ``TextSet``."""
    return {
        "data": examples.name,
        "split": examples.split,
        "example_ids_sha256": sha256("\n".join(examples.ids).encode()),
    }


def store_path(extractor: Extractor, slug: str) -> Path:
    """Where an extractor's activations of an image set lie in its run's folder.

    ``activations/[EXTRACTOR.][epoch-0003.]DATA-SPLIT.h5``.
    """
    run = extractor.run
    name = f"{extractor.name}." if len(run.extractors) > 1 else ""
    epoch = "" if extractor.epoch is None else f"epoch-{extractor.epoch:04d}."
    return run.path / "activations" / f"{name}{epoch}{slug}.h5"


@dataclass(frozen=True)
class ImageLoader:
    """Batches (images, labels, ids) of an image set, in order.

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

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None, list[str]]]:
        for k in range(self.start, self.start + len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            labels = None if self.dataset.labels is None else self.dataset.labels[rows]
            ids = [str(each) for each in self.dataset.ids[rows]]
            yield self.preprocessing(self.dataset.images[rows]), labels, ids

    def part(self, start: int, stop: int) -> ImageLoader:
        """The batches from ``start`` to ``stop`` only."""
        return replace(self, start=start, stop=stop)
