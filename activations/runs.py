"""Where the activations of a run lie, and how they get there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from repsim.activations.harvest import harvest
from repsim.activations.store import ActivationStore
from repsim.data import ImageSet
from repsim.data.preprocessing import Preprocessing
from repsim.errors import UsageError
from repsim.files import sha256
from repsim.training.run import Run


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
    return harvest(
        run.load_extractor(name),
        ImageLoader(images, batch_size),
        store_path(run, images.slug, name) if path is None else path,
        provenance={**run_provenance(run, name), **data_provenance(images)},
        **options,
    )


def run_provenance(run: Run, extractor: str) -> dict[str, Any]:
    """What a store says of the run that its network is from."""
    return {
        "network": f"{run.name}:{extractor}" if len(run.extractors) > 1 else run.name,
        "run": run.name,
        "extractor": extractor,
        "method": run.describe()["method"],
        "config": run.config.model_dump(),
        "checkpoint_sha256": run.digest(),
    }


def data_provenance(examples: Any) -> dict[str, Any]:
    """What a store says of its examples: an ``ImageSet`` or a ``TextSet``."""
    return {
        "data": examples.name,
        "split": examples.split,
        "example_ids_sha256": sha256("\n".join(examples.ids).encode()),
    }


def store_path(run: Run, slug: str, extractor: str | None = None) -> Path:
    """Where a run's activations of an image set lie: ``activations/[EXTRACTOR.]DATA-SPLIT.h5``."""
    name = run.extractor_name(extractor)
    prefix = f"{name}." if len(run.extractors) > 1 else ""
    return run.path / "activations" / f"{prefix}{slug}.h5"


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
