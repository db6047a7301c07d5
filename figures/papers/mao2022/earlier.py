"""The keys of results of the first release that had this paper, by which they are found again.

Its keys had the image sets and few of the settings. A result is found where the other settings are
those of that time.
"""

from __future__ import annotations

import re
from typing import Any

from repsim.figures.papers.engine.computation import Computation
from repsim.figures.papers.engine.earlier import PROBE, Earlier, untrained_then
from repsim.figures.papers.engine.paper import Splits
from repsim.figures.papers.engine.training import Training

#: The settings of that time that its keys left out.
_THEN: dict[str, dict[str, Any]] = {
    "probe": {**PROBE, "layers": None},
    "nullspace": {"control": True, "layers": False, "seed": 0},
    "shift": {"images": 1000},
}

#: The settings that its keys had, by their names there.
_KEYED = {"solver": "solvers", "noise": "noises", "shifts": "shifts"}

#: Settings of residual networks that untrained discriminators had too, without a meaning.
_RESNET = {"stem": "cifar", "representation": 0, "zero_init": False}
_DEPTHS = {"tiny": 10, "small": 18, "long": 18, "paper": 50}

#: The names there of the images that a result learns from.
_KNOWN = {"probe": "heads", "nullspace": "known"}


def earlier(step: Computation, splits: Splits) -> Earlier | None:
    """The name and key that a result had; None where its settings are others by now."""
    kind, settings = step.analysis.name(), step.analysis.config.identity()
    keyed = {theirs: settings.pop(ours) for ours, theirs in _KEYED.items() if ours in settings}
    if settings != _THEN[kind]:
        return None
    parts = {"held_out": splits["held_out"]}
    if kind in _KNOWN:
        parts[_KNOWN[kind]] = step.splits["train"]
    name = re.sub(r"untrained-(\d+)-discriminator", r"untrained-discriminator-\1", step.name)
    if kind == "shift":
        name = f"shift-{step.sources[0].training.name}"
    return Earlier(name, {"data": step.data, **parts, **keyed}, step.runs)


def earlier_run(step: Training, scale: str) -> str:
    """The name of the folder that untrained discriminators had; empty of every other run."""
    kind, _, seed = step.name.rpartition("-")
    if kind != "untrained":
        return ""
    network = {"width": step.config.model_dump()["width"], "depth": _DEPTHS[scale], **_RESNET}
    return untrained_then(step, f"untrained-discriminator-{seed}", "mgan:discriminator", network)
