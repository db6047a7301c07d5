"""The figures of a result, whatever its kind, and files from figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim._version import __version__
from repsim.figures.curves import probe_curves, similarity_curves
from repsim.figures.heatmap import heatmap
from repsim.figures.null_space import null_space_figures
from repsim.figures.style import WRITING
from repsim.files import atomic_path, refuse_existing
from repsim.results import NullSpaceReport, ProbeCurve, Result, SimilarityMap


def draw(
    result: Result, *, style: str = "column", estimator: str = "unbiased"
) -> dict[str, Figure]:
    """The figures that belong to a result, by the suffix of their file names."""
    if isinstance(result, SimilarityMap):
        curves = {"curves": similarity_curves(result, estimator=estimator, style=style)}
        if result.comparison == "classes":  # one column, which the curve is
            return curves
        return {"heatmap": heatmap(result, estimator=estimator, style=style), **curves}
    if isinstance(result, ProbeCurve):
        return {"curves": probe_curves(result, style=style)}
    if isinstance(result, NullSpaceReport):
        return null_space_figures(result, style=style)
    raise TypeError(f"no figure for a {type(result).__name__}")


def save(
    figure: Figure,
    stem: str | os.PathLike[str],
    *,
    provenance: dict | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write a figure as STEM.png and STEM.pdf, and close it; both paths are returned.

    The provenance goes into the files' metadata; no date does, so that the same figure gives the
    same file.
    """
    name = os.fspath(stem)
    name = name[:-4] if name.endswith((".png", ".pdf")) else name
    paths = [Path(f"{name}{suffix}") for suffix in (".png", ".pdf")]
    for path in paths:
        refuse_existing(path, overwrite)
    note = json.dumps(provenance or {}, sort_keys=True)
    described = {
        ".png": {"Software": f"repsim {__version__}", "Description": note},
        ".pdf": {"Creator": f"repsim {__version__}", "Subject": note, "CreationDate": None},
    }
    for path in paths:
        with mpl.rc_context(rc=cast(Any, WRITING)), atomic_path(path) as temporary:
            figure.savefig(temporary, metadata=described[path.suffix])
    plt.close(figure)
    return paths
