"""The record that stores and results keep of the network and the examples they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repsim.data import ImageSet
from repsim.data.size import size_record
from repsim.files import sha256

if TYPE_CHECKING:
    from repsim.data.text import TextSet
    from repsim.training.run import Extractor
    from repsim.training.sides import Side


def extractor_provenance(extractor: Extractor, shown: Side = "real") -> dict[str, Any]:
    """The record of the network that a store was harvested from.

    Method and settings stand as in the run's own file, whatever the version that wrote it, so that
    harvests of earlier versions are resumed. ``batch_statistics`` is there for networks that treat
    real and generated images each in their own way.

    Args:
        extractor: the network.
        shown: the side of the images that it was shown.
    """
    run = extractor.run
    written = run.written()
    statistics = extractor.statistics_for(shown)
    return {
        "network": extractor.label,
        "run": run.name,
        "extractor": extractor.name,
        "epoch": run.config.epochs if extractor.epoch is None else extractor.epoch,
        "method": written["method"],
        "config": written["config"],
        "checkpoint_sha256": extractor.digest(),
        **({} if statistics is None else {"batch_statistics": statistics}),
    }


def data_provenance(examples: ImageSet | TextSet) -> dict[str, Any]:
    """The record of the examples of a store: their set, split and ids, sizes and files."""
    record: dict[str, Any] = {
        "data": examples.name,
        "split": examples.split,
        "example_ids_sha256": sha256("\n".join(examples.ids).encode()),
    }
    if isinstance(examples, ImageSet):
        record["image_size"] = size_record(examples.size)
    if examples.files is not None:
        record["files"] = examples.files.record()
    return record
