"""The record that stores and results keep of the network and the examples they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repsim.files import sha256

if TYPE_CHECKING:
    from repsim.training.run import Extractor


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
