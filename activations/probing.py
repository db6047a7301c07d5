"""Stores into probe curves and null-space reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from repsim.activations.reduction import Reduction
from repsim.activations.store import ActivationStore
from repsim.errors import MismatchError, UsageError, choices
from repsim.layers import select_layers
from repsim.nullspace import null_space
from repsim.probes import probe
from repsim.progress import Progress, silent
from repsim.results import NullSpaceReport, ProbeCurve

#: Rows read at once.
_BLOCK = 1024


def probe_layers(
    train: ActivationStore,
    test: ActivationStore,
    *,
    layers: str | Sequence[str] | None = None,
    solver: Any = "lbfgs",
    pooling: str = "avg",
    progress: Progress = silent,
) -> ProbeCurve:
    """A probe at every layer, trained on one store and scored on the other.

    Args:
        train: activations of the training part, with labels.
        test: of the held-out part, by the same network.
        layers: addresses or globs; by default all.
        solver: as for ``repsim.probe``.
        pooling: what a probe sees of a map; a store that kept averages serves for ``"avg"`` only.
        progress: told the layers done.

    Raises:
        UsageError: a store without labels, or pooled stores where every value is asked for.
        MismatchError: the stores share examples, or come from different networks.
    """
    _check_pair(train, test)
    if pooling == "none":
        for store in (train, test):
            if store.provenance().get("pooling", "none") != "none":
                raise UsageError(
                    f"{store.path} was harvested with --pooling {store.provenance()['pooling']}; "
                    "harvest it with --pooling none, or probe with --pooling avg"
                )
    chosen = select_layers(train.layers, layers, of=train.name)
    entries = []
    for done, layer in enumerate(chosen, start=1):
        features = _features(train, layer, pooling)
        found = probe(
            features,
            train.labels,
            test_features=_features(test, layer, pooling),
            test_labels=test.labels,
            solver=solver,
        )
        entries.append(
            {
                "network": train.name,
                "layer": layer,
                "depth": train.layers.index(layer),
                "features": features.shape[1],
                "accuracy": found.accuracy,
                "train_accuracy": found.train_accuracy,
                "converged": found.converged,
            }
        )
        progress(done, len(chosen), layer)
    return ProbeCurve(
        entries=entries,
        classes=found.classes,
        n_train=train.n,
        n_test=test.n,
        solver=solver,
        provenance={"train": train.provenance(), "test": test.provenance(), "pooling": pooling},
    )


def null_space_of(
    train: ActivationStore, test: ActivationStore, *, head: str | None = None
) -> NullSpaceReport:
    """The null-space report of a linear head, with probes trained on one store's features.

    Args:
        train: activations of the training part.
        test: of the held-out part; the report's numbers are of these.
        head: address of the head; by default the only one.

    Raises:
        UsageError: the network has no such linear head, or its features were not harvested.
    """
    _check_pair(train, test)
    heads = test.heads
    if not heads:
        raise UsageError(
            f"{test.name} has no linear head in its store; null spaces need one (a network whose "
            "head is nn.Linear, harvested with the layer that feeds it)"
        )
    name = head or next(iter(heads))
    if name not in heads:
        raise UsageError(f"{test.name} has no head {name!r}; {choices(name, heads)}")
    layer = heads[name]["input"]
    return null_space(
        _features(train, layer, "none"),
        heads[name]["weight"],
        labels=train.labels,
        test_features=_features(test, layer, "none"),
        test_labels=test.labels,
        name=test.name,
        provenance={"train": train.provenance(), "test": test.provenance(), "head": name},
    )


def _check_pair(train: ActivationStore, test: ActivationStore) -> None:
    for store in (train, test):
        if store.labels is None:
            raise UsageError(f"{store.path} has no labels; probes need them")
    networks = [
        [store.provenance().get(key) for key in ("checkpoint_sha256", "weights_sha256")]
        for store in (train, test)
    ]
    if networks[0] != networks[1]:
        raise MismatchError(f"{train.path} and {test.path} come from different networks")
    common = np.intersect1d(train.example_ids, test.example_ids)
    if common.size:
        raise MismatchError(
            f"{train.path} and {test.path} share {common.size} examples, such as "
            f"{common[0].decode()}; a probe must be scored on examples it has not seen"
        )


def _features(store: ActivationStore, layer: str, pooling: str) -> np.ndarray:
    """A layer's rows (n, features), pooled as they are read."""
    blocks = [
        Reduction(pooling)(torch.from_numpy(store.rows(layer, start, start + _BLOCK)))
        .flatten(1)
        .numpy()
        for start in range(0, store.n, _BLOCK)
    ]
    return np.concatenate(blocks)
