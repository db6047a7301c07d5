"""For all tests: figures without a screen, a seeded generator, shapes that are checked.

The hook has to be in place before ``repsim.measures`` and the others are first imported.
"""

from __future__ import annotations

import os

import matplotlib
import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - with a BLAS of its own, beside NumPy's
import torch
from checked_shapes import Shapes
from threadpoolctl import threadpool_limits

matplotlib.use("Agg")
# On small tensors, threads only wait for each other: here and in the programs that tests start.
torch.set_num_threads(1)
threadpool_limits(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

Shapes(["repsim.measures", "repsim.nullspace", "repsim.probes"]).install()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)
