"""From a network and images to per-layer activations: captured, harvested, stored, analysed.

The public names. Each is imported from its home when it is first used, so that an analysis does not
need the libraries of the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim import lazy

if TYPE_CHECKING:
    from repsim.activations.analyses.classes import compare_classes as compare_classes
    from repsim.activations.analyses.invariance import invariance as invariance
    from repsim.activations.analyses.layer_nullspace import layer_null_spaces as layer_null_spaces
    from repsim.activations.analyses.nullspace import null_space_of_run as null_space_of_run
    from repsim.activations.analyses.similarity import compare as compare
    from repsim.activations.capture import Capture as Capture
    from repsim.activations.capture import trace as trace
    from repsim.activations.capture import unwrap as unwrap
    from repsim.activations.harvesting.harvest import harvest as harvest
    from repsim.activations.harvesting.harvest import plan_harvest as plan_harvest
    from repsim.activations.harvesting.heads import generated_images as generated_images
    from repsim.activations.harvesting.heads import head_features as head_features
    from repsim.activations.harvesting.heads import linear_head as linear_head
    from repsim.activations.harvesting.loaders import ImageLoader as ImageLoader
    from repsim.activations.harvesting.loaders import ShuffledLoader as ShuffledLoader
    from repsim.activations.harvesting.runs import harvest_run as harvest_run
    from repsim.activations.store import ActivationStore as ActivationStore
    from repsim.activations.store import JoinedStore as JoinedStore
    from repsim.activations.store import open_store as open_store

_HOMES = {
    "ActivationStore": "repsim.activations.store",
    "Capture": "repsim.activations.capture",
    "ImageLoader": "repsim.activations.harvesting.loaders",
    "JoinedStore": "repsim.activations.store",
    "ShuffledLoader": "repsim.activations.harvesting.loaders",
    "compare": "repsim.activations.analyses.similarity",
    "compare_classes": "repsim.activations.analyses.classes",
    "generated_images": "repsim.activations.harvesting.heads",
    "harvest": "repsim.activations.harvesting.harvest",
    "harvest_run": "repsim.activations.harvesting.runs",
    "head_features": "repsim.activations.harvesting.heads",
    "invariance": "repsim.activations.analyses.invariance",
    "layer_null_spaces": "repsim.activations.analyses.layer_nullspace",
    "linear_head": "repsim.activations.harvesting.heads",
    "null_space_of_run": "repsim.activations.analyses.nullspace",
    "open_store": "repsim.activations.store",
    "plan_harvest": "repsim.activations.harvesting.harvest",
    "trace": "repsim.activations.capture",
    "unwrap": "repsim.activations.capture",
}

__all__ = list(_HOMES)

_PARTS = ("analyses", "capture", "harvesting", "store")

__getattr__ = lazy.attach(__name__, _HOMES, _PARTS)
