"""From a network and images to per-layer activations: captured, harvested, stored."""

from repsim.activations.capture import Capture, trace
from repsim.activations.compare import compare, compare_classes, invariance
from repsim.activations.harvest import harvest, plan_harvest
from repsim.activations.heads import generated_images, head_features, linear_head
from repsim.activations.joined import JoinedStore, open_store
from repsim.activations.layer_null_space import layer_null_spaces
from repsim.activations.layers import unwrap
from repsim.activations.loaders import ShuffledLoader
from repsim.activations.null_space import null_space_of_run
from repsim.activations.runs import ImageLoader, harvest_run
from repsim.activations.store import ActivationStore

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
