"""The axes of stored layers, also of those that were stored before axes were inferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim.activations.capture.axes import LayerAxes, by_class
from repsim.activations.capture.pooling import PoolingRules

if TYPE_CHECKING:
    from repsim.activations.store.parts import JoinedStore
    from repsim.activations.store.reader import ActivationStore


def stored_axes(store: ActivationStore | JoinedStore) -> dict[str, LayerAxes]:
    """The axes of the layers of a store, the examples first.

    They are as the file names them. Stores without a record of unusual axes may be of before axes
    were inferred, when every layer of three dimensions was called tokens and every one of four a
    map; in these the class of the module decides, where it says.
    """
    provenance = store.provenance()
    rules = PoolingRules(str(provenance.get("pooling", "none")))
    found = {}
    for record in store.describe():
        layer, named = record["layer"], LayerAxes.named(record["axes"])
        whole = rules.of(layer).text == "none" and "axes" not in provenance
        channels = by_class(record["module"], named.ndim) if whole and named.ndim > 2 else None
        found[layer] = named if channels is None else LayerAxes(named.ndim, channels)
    return found
