"""All that works where only torch, NumPy and SciPy are installed beside repsim; run as a script.

Each line is a promise of docs/library.md.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

import repsim
from repsim.errors import MissingLibraryError
from repsim.measures import MEASURES
from repsim.probes import SOLVERS

ABSENT = ("click", "h5py", "jaxtyping", "matplotlib", "PIL", "pydantic", "sklearn", "xxhash")


def check_measures(x: np.ndarray, y: np.ndarray) -> None:
    """Every measure, of a layer with itself and with another."""
    for name, measure in MEASURES.items():
        assert np.isfinite(measure.function(x, x)), name
        assert np.isfinite(measure.function(x, y)), name
    assert abs(repsim.cka(x, x, kernel=repsim.RBF()) - 1) < 1e-12
    assert repsim.influence(x, y).shape == (len(x),)


def check_maps(x: np.ndarray, y: np.ndarray) -> None:
    """Maps of layers, whole and by batches: alike where the batch holds all examples."""
    whole = repsim.cka_map({"x": x, "y": y}, {"x": x})
    assert abs(whole.values()[0, 0] - 1) < 1e-12
    stream = repsim.MinibatchCKA(["x"], ["y"])
    stream.update({"x": torch.tensor(x)}, {"y": torch.tensor(y)})
    assert abs(stream.compute().values()[0, 0] - repsim.cka(x, y)) < 1e-12


def check_networks(x: np.ndarray) -> None:
    """Two networks as they run."""
    make = torch.nn.Sequential
    one = make(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    batches = list(torch.tensor(x, dtype=torch.float32).split(50))
    found = repsim.compare(one, one, batches)
    assert np.allclose(np.diag(found.values()), 1, atol=1e-6)


def check_probes(x: np.ndarray, labels: np.ndarray) -> None:
    """Every solver of probes, and the null space of a head."""
    for solver in SOLVERS:
        assert 0 <= repsim.probe(x, labels, solver=solver).accuracy <= 1, solver
    report = repsim.null_space(x, np.random.default_rng(1).normal(size=(3, 10)))
    assert (report.rank, report.dim) == (3, 10)


def check_missing() -> None:
    """Names that need another library say which."""
    for name, library in (("harvest", "h5py"), ("open_store", "h5py")):
        said = ""
        try:
            getattr(repsim, name)
        except MissingLibraryError as error:
            said = str(error)
        assert f"needs {library}, which is not installed" in said, name


def main() -> None:
    """Check all of it."""
    present = [name for name in ABSENT if importlib.util.find_spec(name)]
    assert not present, f"meant to be absent: {present}"
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 10)), rng.normal(size=(100, 10))
    check_measures(x, y)
    check_maps(x, y)
    check_networks(x)
    check_probes(x, np.arange(100) % 3)
    check_missing()
    print("repsim", repsim.__version__, "with torch, NumPy and SciPy alone: as promised")


if __name__ == "__main__":
    main()
