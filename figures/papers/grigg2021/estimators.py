"""The estimators of CKA where the value is known, without any network."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, Literal

import numpy as np
import torch

from repsim.errors import RepsimWarning
from repsim.measures import MinibatchCKA, cka

#: Numbers of examples and features.
_SIZES = ((50, 5000), (256, 256), (256, 2048), (1000, 100))

_ESTIMATORS: tuple[Literal["biased", "unbiased"], ...] = ("biased", "unbiased")


@cache
def on_independent_features() -> list[dict[str, Any]]:
    """Both estimators on independent features, of four sizes."""
    return [gaussian_check(n, p) for n, p in _SIZES]


def gaussian_check(n: int, p: int) -> dict[str, Any]:
    """Both estimators on two layers of independent Gaussian features (n, p); means of ten draws.

    ``limit`` is p / (n + p), which the biased estimator tends to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # that the biased one is high is the point
        pairs = [_gaussians((n, p), (n, p), seed=seed) for seed in range(10)]
        means: dict[str, float] = {
            estimator: float(np.mean([float(cka(x, y, estimator=estimator)) for x, y in pairs]))
            for estimator in _ESTIMATORS
        }
    return {"n": n, "p": p, "limit": p / (n + p), **means}


def changes_by_rotation() -> list[float]:
    """The change of both estimators when features are rotated and scaled."""
    x, y, mixed = _gaussians((200, 30), (200, 40), (30, 30))
    y[:, :30] += x
    rotated = 3.0 * x @ np.linalg.qr(mixed)[0]
    return [
        abs(float(cka(x, y, estimator=each)) - float(cka(rotated, y, estimator=each)))
        for each in _ESTIMATORS
    ]


def distance_of_one_batch() -> list[float]:
    """The distance of minibatch CKA of a single batch from the unbiased estimator."""
    x, y = _gaussians((128, 300), (128, 20))
    y += x[:, :20]
    engine = MinibatchCKA(["x"], ["y"])
    engine.update({"x": torch.from_numpy(x)}, {"y": torch.from_numpy(y)})
    return [abs(float(engine.compute().unbiased[0, 0]) - float(cka(x, y)))]


def _gaussians(*shapes: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]
