"""The record that stores and results keep of the network and the examples they are about."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from repsim.activations.harvesting.brought import Brought
from repsim.data import ImageSet
from repsim.data.size import size_record
from repsim.files import sha256, utf8
from repsim.training.methods import find_method, method_names

if TYPE_CHECKING:
    from repsim.data.text import TextSet
    from repsim.training.run import Extractor
    from repsim.training.sides import Side


def extractor_provenance(extractor: Extractor | Brought, shown: Side = "real") -> dict[str, Any]:
    """The record of the network that a store was harvested from.

    Method and settings stand as in the run's own file, whatever the version that wrote it, so that
    harvests of earlier versions are resumed. ``batch_statistics`` is there for networks that treat
    real and generated images each in their own way, ``patches`` for those that give the mean over
    patches of an image.

    Args:
        extractor: the network.
        shown: the side of the images that it was shown.
    """
    if isinstance(extractor, Brought):
        return extractor.provenance()
    run = extractor.run
    written = run.written()
    statistics, patches = extractor.statistics_for(shown), run.patches
    return {
        "network": extractor.label,
        "run": run.name,
        "extractor": extractor.name,
        "epoch": run.config.epochs if extractor.epoch is None else extractor.epoch,
        "method": written["method"],
        "config": written["config"],
        "checkpoint_sha256": extractor.digest(),
        **({} if statistics is None else {"batch_statistics": statistics}),
        **({"patches": patches} if patches else {}),
    }


def batch_statistics(record: Mapping[str, Any]) -> str | None:
    """The batch statistics of a store, by its record; None of a network that has one kind.

    Earlier versions did not record them: networks that have sides ran with the mixed ones.
    """
    if "batch_statistics" in record:
        return str(record["batch_statistics"])
    method, config = record.get("method"), record.get("config")
    if method not in method_names() or not isinstance(config, dict):
        return None
    return "mixed" if find_method(method).has_sides(SimpleNamespace(**config)) else None


def data_provenance(examples: ImageSet | TextSet) -> dict[str, Any]:
    """The record of the examples of a store: their set, part and ids, sizes and files."""
    record: dict[str, Any] = {
        "data": examples.name,
        "split": examples.split,
        "example_ids_sha256": sha256(utf8("\n".join(examples.ids))),
    }
    if isinstance(examples, ImageSet):
        record["image_size"] = size_record(examples.size)
    if examples.whole:
        record["part"] = {"examples": len(examples), "whole": examples.whole}
    if examples.files is not None:
        record["files"] = examples.files.record()
    return record
