"""Runs and results of the first release that reproduced papers, and the settings that they had.

Its untrained networks were runs of a method ``untrained``, with the weights that the networks of a
method have before training.

The keys of its results had the image sets and few of the settings. Results are found again where
the other settings are as they were then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repsim.figures.papers.engine.keys import key_of
from repsim.figures.papers.engine.training import Training

#: Of probes, beside layers and solvers.
PROBE = {
    "component": ["full"],
    "label_fraction": [1.0],
    "seeds": 1,
    "seed": 0,
    "random_labels": False,
    "l2": None,
    "k": 1,
    "hidden": 1000,
    "dropout": 0.0,
    "pooling": "avg",
}

#: Of untrained networks, beside images, seed and network.
_UNTRAINED = {
    "epochs": 0,
    "batch_size": 128,
    "accumulate": 1,
    "lr_scaling": "none",
    "lr_batch": 256,
    "ema": 0.0,
    "precision": "32-true",
}


def untrained_then(step: Training, name: str, of: str, network: Mapping[str, Any]) -> str:
    """The name of the folder that untrained networks had.

    Args:
        step: the run that has them now.
        name: of the run, before its key.
        of: the method of the networks, or ``METHOD:EXTRACTOR``.
        network: settings of residual networks, which every such run had.
    """
    images = {key: getattr(step.config, key) for key in ("data", "split", "test", "seed")}
    settings = {"method": "untrained", "of": of, **images, **network, **_UNTRAINED}
    return f"{name}-{key_of(settings, [])}"


@dataclass(frozen=True)
class Earlier:
    """The name, settings and needs by which an earlier release found a result.

    Attributes:
        name: of the file, before its key.
        settings: that were in the key.
        runs: that it was made from.
    """

    name: str
    settings: Mapping[str, Any]
    runs: tuple[Training, ...]

    @property
    def stem(self) -> str:
        """The name of the file, without its suffix."""
        settings = {"name": self.name, **self.settings}
        return f"{self.name}-{key_of(settings, [run.earlier_key for run in self.runs])}"
