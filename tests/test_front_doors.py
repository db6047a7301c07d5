"""Attributes of the package in a fresh process: public names, and the packages within it."""

from __future__ import annotations

import os
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


def test_the_command_line_draws_without_the_backend_of_a_notebook() -> None:
    code = (
        "import sys; sys.argv = ['repsim', '--version']\n"
        "from repsim.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: import matplotlib; print(matplotlib.get_backend())\n"
    )
    env = {**os.environ, "MPLBACKEND": "module://missing.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.split()[-1].lower() == "agg", done.stderr
