"""The folders of the runs of the first release that had this paper, by which they are found again.

Its results were of running batch statistics, which mix real and generated images; they are made
again.
"""

from __future__ import annotations

from repsim.figures.papers.engine.earlier import untrained_then
from repsim.figures.papers.engine.training import Training

#: Settings of residual networks that untrained discriminators had too, without a meaning.
_RESNET = {"stem": "cifar", "representation": 0, "zero_init": False}
_DEPTHS = {"tiny": 10, "small": 18, "long": 18, "paper": 50}


def earlier_run(step: Training, scale: str) -> str:
    """The name of the folder that untrained discriminators had; empty of every other run."""
    kind, _, seed = step.name.rpartition("-")
    if kind != "untrained":
        return ""
    network = {"width": step.config.model_dump()["width"], "depth": _DEPTHS[scale], **_RESNET}
    return untrained_then(step, f"untrained-discriminator-{seed}", "mgan:discriminator", network)
