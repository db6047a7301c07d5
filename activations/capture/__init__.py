"""Activations of a network's modules, taken as it runs: addresses, hooks, batches, pooling."""

from repsim.activations.capture.hooks import Capture, trace
from repsim.activations.capture.modules import unwrap

__all__ = ["Capture", "trace", "unwrap"]
