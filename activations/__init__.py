"""From a network and images to per-layer activations: captured, harvested, stored."""

from repsim.activations.analyses.compare import compare, compare_classes, invariance
from repsim.activations.analyses.layer_null_space import layer_null_spaces
from repsim.activations.analyses.null_space import null_space_of_run
from repsim.activations.capture import Capture, trace, unwrap
from repsim.activations.harvesting import (
    ImageLoader,
    ShuffledLoader,
    generated_images,
    harvest,
    harvest_run,
    head_features,
    linear_head,
    plan_harvest,
)
from repsim.activations.store import ActivationStore, JoinedStore, open_store

__all__ = [
    "ActivationStore",
    "Capture",
    "ImageLoader",
    "JoinedStore",
    "ShuffledLoader",
    "compare",
    "compare_classes",
    "generated_images",
    "harvest",
    "harvest_run",
    "head_features",
    "invariance",
    "layer_null_spaces",
    "linear_head",
    "null_space_of_run",
    "open_store",
    "plan_harvest",
    "trace",
    "unwrap",
]
