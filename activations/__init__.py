"""From a network and images to per-layer activations: captured, harvested, stored."""

from repsim.activations.capture import Capture
from repsim.activations.compare import compare
from repsim.activations.harvest import harvest, harvest_run
from repsim.activations.store import ActivationStore, open_store

__all__ = ["ActivationStore", "Capture", "compare", "harvest", "harvest_run", "open_store"]
