"""The activation store: one HDF5 file a network and part of a data set.

The public names. Each is imported from its home when it is first used, so that code beside them
does not need HDF5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim import lazy

if TYPE_CHECKING:
    from repsim.activations.store.parts import JoinedStore as JoinedStore
    from repsim.activations.store.parts import open_store as open_store
    from repsim.activations.store.reader import ActivationStore as ActivationStore

_HOMES = {
    "ActivationStore": "repsim.activations.store.reader",
    "JoinedStore": "repsim.activations.store.parts",
    "open_store": "repsim.activations.store.parts",
}

__all__ = list(_HOMES)

__getattr__ = lazy.attach(__name__, _HOMES, ("exchange",))
