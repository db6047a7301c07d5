"""Attributes of the package in a fresh process: public names, and the packages within it."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "activations.trace",
    "activations.Capture",
    "activations.analyses.probe.probe_layers",
    "activations.store.exchange",
    "data.load",
    "errors.RepsimError",
    "figures",
    "measures.rsa",
    "networks",
    "nullspace.null_space",
    "probes.SCHEDULES",
    "results.ProbeCurve",
    "training",
)


def test_the_names_of_the_docs_need_no_import_of_their_own() -> None:
    code = "; ".join(["import repsim", *(f"repsim.{name}" for name in NAMES)])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
