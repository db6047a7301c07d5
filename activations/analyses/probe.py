"""Stores into probe curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch

from repsim.activations.capture.pooling import Reduction
from repsim.activations.store.parts import JoinedStore
from repsim.activations.store.reader import ActivationStore
from repsim.errors import MismatchError, UsageError, choices
from repsim.layers import select_layers
from repsim.nullspace import RowSpace, row_space
from repsim.probes import Features, probe
from repsim.probes.probe import check_solver
from repsim.probes.splits import check_fraction
from repsim.progress import Progress, silent
from repsim.results import ProbeCurve, ProbeEntry

Store = ActivationStore | JoinedStore

#: Parts of the features that a probe can be shown.
COMPONENTS = ("full", "row", "null")


@dataclass(frozen=True)
class ProbePlan:
    """Which probes to train at every layer: each combination of these.

    Attributes:
        solvers: names, ``sgd`` and ``mlp`` also with a schedule as in ``sgd:mao2022``.
        components: ``full``, and of the layer that feeds a linear head ``row`` and ``null``, what
            the head sees of the features and what it does not.
        label_fractions: shares of each class's training examples.
        seeds: of label fraction, validation split, initialisation and permutation.
        random_labels: whether to train each probe on permuted labels as well, as a control.
        pooling: what a probe sees of a map; steps as in harvesting, such as ``avg`` or ``grid:4``.
        options: passed on to ``repsim.probe``: ``l2``, ``k``, ``hidden``, ``dropout``.
    """

    solvers: Sequence[str] = ("lbfgs",)
    components: Sequence[str] = ("full",)
    label_fractions: Sequence[float] = (1.0,)
    seeds: Sequence[int] = (0,)
    random_labels: bool = False
    pooling: str = "avg"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("solvers", "components", "label_fractions", "seeds"):
            if not len(getattr(self, name)):
                raise UsageError(f"no {name} were given; expected at least one")
        for solver in self.solvers:
            check_solver(*_parsed(solver))
        for component in self.components:
            if component not in COMPONENTS:
                near = choices(component, COMPONENTS)
                raise UsageError(f"unknown component {component!r}; {near}")
        for fraction in self.label_fractions:
            check_fraction(fraction)
        Reduction.parse(self.pooling)

    def probes(self) -> list[dict[str, Any]]:
        """Every combination, as a record."""
        labels = ("true", "random") if self.random_labels else ("true",)
        keys = ("solver", "component", "label_fraction", "labels", "seed")
        each = (self.solvers, self.components, self.label_fractions, labels, self.seeds)
        return [dict(zip(keys, values, strict=True)) for values in product(*each)]


def probe_layers(
    train: Store,
    test: Store,
    *,
    layers: str | Sequence[str] | None = None,
    plan: ProbePlan | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> ProbeCurve:
    """Probes at every layer, trained on one store and scored on the other.

    Features are read from the stores in blocks; those that fit in memory, once for all probes of a
    layer.

    Args:
        train: activations of the training part, with labels.
        test: of the held-out part, by the same network.
        layers: addresses or globs; by default all, or where only components are asked for, those
            that feed a head.
        plan: which probes; by default a converged linear one.
        device: where to compute.
        progress: told the probes done.

    Raises:
        UsageError: a store without labels, pooled stores where more is asked for, or components of
            a layer that feeds no linear head.
        MismatchError: the stores share examples, or come from different networks.
    """
    plan = plan or ProbePlan()
    _check_pair(train, test)
    for store in (train, test):
        _check_pooling(store, plan.pooling)
    spaces = {
        head["input"]: row_space(torch.from_numpy(head["weight"])) for head in test.heads.values()
    }
    chosen = _chosen(train, layers, plan, spaces)
    probes = plan.probes()
    labels, test_labels = (torch.from_numpy(store.labels) for store in (train, test))
    entries: list[ProbeEntry] = []
    classes = 0
    for layer in chosen:
        sides = [_features(store, layer, plan.pooling, device).held() for store in (train, test)]
        for asked in probes:
            x, x_test = (_component(side, asked["component"], spaces.get(layer)) for side in sides)
            solver, schedule = _parsed(asked["solver"])
            found = probe(
                x,
                labels,
                test_features=x_test,
                test_labels=test_labels,
                solver=solver,  # type: ignore[arg-type]
                schedule=schedule,
                label_fraction=asked["label_fraction"],
                random_labels=asked["labels"] == "random",
                seed=asked["seed"],
                **plan.options,
            )
            classes = found.classes
            entries.append(
                ProbeEntry(
                    network=train.name,
                    layer=layer,
                    depth=train.layers.index(layer),
                    features=x.p,
                    **asked,
                    n_train=found.n_train,
                    accuracy=found.accuracy,
                    low=found.low,
                    high=found.high,
                    train_accuracy=found.train_accuracy,
                    l2=found.l2,
                    converged=found.converged,
                    per_class=tuple(found.per_class.tolist()),
                    history=found.history,
                )
            )
            progress(len(entries), len(chosen) * len(probes), layer)
    return ProbeCurve(
        entries=entries,
        classes=classes,
        n_train=train.n,
        n_test=test.n,
        solver=", ".join(plan.solvers),
        provenance={
            "train": train.provenance(),
            "test": test.provenance(),
            "pooling": plan.pooling,
            "options": plan.options,
        },
    )


def _parsed(solver: str) -> tuple[str, str | None]:
    """The solver and the schedule of ``sgd:mao2022``."""
    name, colon, schedule = solver.partition(":")
    return name, schedule if colon else None


def _check_pair(train: Store, test: Store) -> None:
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


def _check_pooling(store: Store, pooling: str) -> None:
    """Averages can be averaged again, but what was left out does not come back."""
    kept = store.provenance().get("pooling", "none")
    if pooling != "avg" and kept != "none":
        raise UsageError(
            f"{store.path} was harvested with pooling {kept}, and cannot be probed with {pooling}; "
            "harvest it with pooling none, or probe it with avg"
        )


def _chosen(
    store: Store,
    layers: str | Sequence[str] | None,
    plan: ProbePlan,
    spaces: dict[str, RowSpace],
) -> list[str]:
    """The layers to probe; only those that feed a head have a row and a null component."""
    parts = sorted(set(plan.components) - {"full"})
    if not parts:
        return select_layers(store.layers, layers, of=store.name)
    if not spaces:
        raise UsageError(
            f"{store.name} has no linear head in its store; the {' and '.join(parts)} components "
            "need one (a network whose head is nn.Linear, and head_input the layer that feeds it)"
        )
    chosen = list(spaces) if layers is None else select_layers(store.layers, layers, of=store.name)
    for layer in chosen:
        if layer not in spaces:
            raise UsageError(
                f"layer {layer!r} of {store.name} feeds no linear head, so it has no "
                f"{' and '.join(parts)} components; {choices(layer, spaces)}"
            )
    return chosen


class _Reduced:
    """A stored layer (n, ...) that is reduced as it is read."""

    def __init__(self, store: Store, layer: str, pooling: str, device: torch.device | str) -> None:
        self._layer = store[layer]
        self._reduce = Reduction(pooling)
        self._device = device
        self.shape = (store.n, *self[:1].shape[1:])

    def __getitem__(self, rows: slice) -> torch.Tensor:
        return self._reduce(torch.from_numpy(self._layer[rows]).to(self._device))


def _features(store: Store, layer: str, pooling: str, device: torch.device | str) -> Features:
    return Features.of(_Reduced(store, layer, pooling, device), f"layer {layer!r} of {store.name}")


def _component(rows: Features, component: str, space: RowSpace | None) -> Features:
    """What the head sees of the features, what it does not, or all."""
    if component == "full":
        return rows
    assert space is not None
    moved = space._replace(basis=space.basis.to(rows.device))
    return rows.map(lambda x: moved.part(x.double(), component), dtype=torch.float64)
