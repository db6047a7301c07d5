"""The activation store: one HDF5 file a network and part of a data set."""

from repsim.activations.store.parts import JoinedStore, open_store
from repsim.activations.store.reader import ActivationStore

__all__ = ["ActivationStore", "JoinedStore", "open_store"]
