"""The keys of results of the first release that had this paper, by which they are found again.

Its keys had the image sets and few of the settings. A result is found where the other settings are
those of that time.
"""

from __future__ import annotations

from typing import Any

from repsim.figures.papers.engine.computation import Computation
from repsim.figures.papers.engine.earlier import PROBE, Earlier, untrained_then
from repsim.figures.papers.engine.paper import Splits
from repsim.figures.papers.engine.training import Training
from repsim.figures.papers.grigg2021.analyses import TO_OWN

_BATCHES = {"layers": None, "kernel": "linear", "batch_size": 256, "seed": 0}
_MAP = {"stderr": True, "permutations": 0}

#: The settings of that time, beside augmentations.
_THEN: dict[str, dict[str, Any]] = {
    "similarity": {"layers_a": None, "layers_b": None, **_MAP, **_BATCHES},
    "invariance": _BATCHES,
    "classes": {**_MAP, **_BATCHES},
    "probe": {**PROBE, "layers": "even,head", "solver": ["lbfgs"]},
    "layer_identification": {"layers": "even"},
}

_PREFIX = {
    "similarity": "cka",
    "invariance": "invariance",
    "classes": "classes",
    "probe": "probe",
    "layer_identification": "identification",
}


def earlier(step: Computation, splits: Splits) -> Earlier | None:
    """The name and key that a result had; None where there was none with its settings."""
    if step.name.startswith(TO_OWN):
        return None
    kind = step.analysis.name()
    settings = step.analysis.config.identity()
    shown, measure = settings.pop("augmentation", None), settings.pop("measure", None)
    if settings != _THEN[kind] or (kind == "similarity" and measure != "cka"):
        return None
    networks = [source.training for source in step.sources]
    name = "-".join([_PREFIX[kind], *(run.name for run in networks)])
    keyed: dict[str, Any] = {"data": step.data, "compared": splits["compared"]}
    if kind == "similarity":
        method = step.own.training.method if step.own and shown == "own" else None
        suffix = f"-augmented-{method}" if method else ""
        return Earlier(f"{name}{suffix}", {**keyed, "augmentation": method}, tuple(networks))
    if kind == "probe":
        parts = {part: splits[part] for part in ("probed", "held_out")}
        return Earlier(name, {**keyed, **parts}, tuple(networks))
    if kind == "layer_identification":
        return Earlier(name, {**keyed, "measures": measure}, tuple(networks))
    return Earlier(name, keyed, step.runs)


def earlier_run(step: Training, scale: str) -> str:
    """The name of the folder that untrained networks had; empty of every other run."""
    if step.name.startswith("untrained"):
        settings = ("depth", "width", "stem", "representation", "zero_init")
        network = {key: getattr(step.config, key) for key in settings}
        return untrained_then(step, step.name, step.method, network)
    return ""
