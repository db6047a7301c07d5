"""The activations of a run: harvested, and kept in its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from repsim.activations.harvesting.harvest import harvest
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.activations.store.reader import ActivationStore
from repsim.data import ImageSet
from repsim.training.run import Extractor, Run
from repsim.training.sides import Choice


def harvest_run(
    run: Run,
    images: ImageSet,
    *,
    extractor: str | None = None,
    epoch: int | None = None,
    statistics: Choice = "own",
    path: str | os.PathLike[str] | None = None,
    batch_size: int = 256,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> ActivationStore:
    """Harvest a run's extractor on an image set, into the run's own folder by default.

    Args:
        run: a finished run.
        images: what to show it.
        extractor: which network, of a run that has several.
        epoch: of its series of checkpoints; by default the end of training.
        statistics: of batch normalisation, as of ``Run.extractor``; by default those of real
            images, which an image set has.
        path: of the store; by default that of ``store_path``.
        batch_size: images at a time.
        data_dir: where the image sets lie, should statistics have to be made.
        **options: as for ``harvest``.
    """
    chosen = run.extractor(extractor, epoch, statistics=statistics, data_dir=data_dir)
    return harvest(
        chosen.load(),
        ImageLoader(images, batch_size),
        store_path(chosen, images.slug) if path is None else path,
        provenance={**extractor_provenance(chosen), **data_provenance(images)},
        **options,
    )


def store_path(extractor: Extractor, slug: str) -> Path:
    """The file of an extractor's activations of an image set, in its run's folder.

    ``activations/[EXTRACTOR.][epoch-0003.][mixed-statistics.]DATA-SPLIT.h5``.
    """
    run = extractor.run
    name = f"{extractor.name}." if len(run.extractors) > 1 else ""
    epoch = "" if extractor.epoch is None else f"epoch-{extractor.epoch:04d}."
    chosen = extractor.statistics
    under = "" if chosen == "own" else f"{chosen}-statistics."
    return run.path / "activations" / f"{name}{epoch}{under}{slug}.h5"
