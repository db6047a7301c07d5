"""For all tests: figures without a screen, a seeded generator, shapes and types that are checked.

The hook has to be in place before ``repsim.measures`` and the others are first imported.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import beartype
import matplotlib
import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

matplotlib.use("Agg")
# On small tensors, threads only wait for each other: here and in the programs that tests start.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

_frozen = getattr(beartype, "FrozenDict", None) or beartype.BeartypeHintOverrides
# An int passes for a float, as for mypy. Names of estimators and solvers are literals for mypy, but
# any text may arrive at run time, where repsim answers with its own error.
_CONF = beartype.BeartypeConf(
    is_pep484_tower=True,
    hint_overrides=_frozen(
        {
            Literal["unbiased", "biased"]: str,
            Literal["gram", "features"]: str,
            Literal["lbfgs", "sgd", "mlp", "ridge", "knn"]: str,
        }
    ),
)


def checked(function: Any, *args: Any, **kwargs: Any) -> Any:
    """``function`` with its annotations checked at every call."""
    return beartype.beartype(function, *args, conf=_CONF, **kwargs)


install_import_hook(["repsim.measures", "repsim.nullspace", "repsim.probes"], "conftest.checked")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(0)
