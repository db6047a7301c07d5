"""Activations that other programs made, as a store; and stores as what other programs read."""

from repsim.activations.store.exchange.exporting import export_layers
from repsim.activations.store.exchange.frames import to_dataframe, to_xarray
from repsim.activations.store.exchange.importing import import_activations

__all__ = ["export_layers", "import_activations", "to_dataframe", "to_xarray"]
