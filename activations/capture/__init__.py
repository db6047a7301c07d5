"""Activations of a network's modules, taken as it runs: addresses, hooks, batches, pooling."""

from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import unwrap
from repsim.activations.capture.tracing import trace

__all__ = ["Capture", "trace", "unwrap"]
