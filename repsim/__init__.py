"""repsim: from networks to a paper's figures.

The public names. Each is imported from its home when it is first used, so that ``import repsim``
stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim import checkout, lazy, moved, namesake
from repsim._version import __version__

if TYPE_CHECKING:
    from repsim import figures as figures
    from repsim.activations import ActivationStore as ActivationStore
    from repsim.activations import compare as compare
    from repsim.activations import harvest as harvest
    from repsim.activations import invariance as invariance
    from repsim.activations import open_store as open_store
    from repsim.common import common_examples as common_examples
    from repsim.errors import RepsimError as RepsimError
    from repsim.information import signal as signal
    from repsim.measures import RBF as RBF
    from repsim.measures import MinibatchCKA as MinibatchCKA
    from repsim.measures import cka as cka
    from repsim.measures import cka_map as cka_map
    from repsim.measures import class_similarity as class_similarity
    from repsim.measures import influence as influence
    from repsim.measures import layer_identification as layer_identification
    from repsim.nullspace import null_space as null_space
    from repsim.probes import ProbeResult as ProbeResult
    from repsim.probes import probe as probe
    from repsim.results import FigureData as FigureData
    from repsim.results import NullSpaceReport as NullSpaceReport
    from repsim.results import ProbeCurve as ProbeCurve
    from repsim.results import SimilarityMap as SimilarityMap

checkout.install()
moved.install()
namesake.warn_of_namesake()

_HOMES = {
    "ActivationStore": "repsim.activations",
    "FigureData": "repsim.results",
    "MinibatchCKA": "repsim.measures",
    "NullSpaceReport": "repsim.results",
    "ProbeCurve": "repsim.results",
    "ProbeResult": "repsim.probes",
    "RBF": "repsim.measures",
    "RepsimError": "repsim.errors",
    "SimilarityMap": "repsim.results",
    "cka": "repsim.measures",
    "cka_map": "repsim.measures",
    "class_similarity": "repsim.measures",
    "common_examples": "repsim.common",
    "compare": "repsim.activations",
    "harvest": "repsim.activations",
    "influence": "repsim.measures",
    "invariance": "repsim.activations",
    "layer_identification": "repsim.measures",
    "null_space": "repsim.nullspace",
    "open_store": "repsim.activations",
    "probe": "repsim.probes",
    "signal": "repsim.information",
}

#: Packages, each an attribute when it is first used.
_PARTS = (
    "activations",
    "data",
    "errors",
    "figures",
    "measures",
    "networks",
    "nullspace",
    "probes",
    "results",
    "training",
)

__all__ = ["__version__", "figures", *_HOMES]


__getattr__ = lazy.attach(__name__, _HOMES, _PARTS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PARTS})
