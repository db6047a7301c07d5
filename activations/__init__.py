"""From a network and images to per-layer activations: captured, harvested, stored."""

from repsim.activations.capture import Capture, trace
from repsim.activations.compare import compare
from repsim.activations.harvest import harvest, plan_harvest
from repsim.activations.joined import JoinedStore, open_store
from repsim.activations.layers import unwrap
from repsim.activations.runs import ImageLoader, harvest_run
from repsim.activations.store import ActivationStore

__all__ = [
    "ActivationStore",
    "Capture",
    "ImageLoader",
    "JoinedStore",
    "compare",
    "harvest",
    "harvest_run",
    "open_store",
    "plan_harvest",
    "trace",
    "unwrap",
]
