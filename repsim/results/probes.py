"""Accuracy of probes, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from repsim.confidence import wilson
from repsim.errors import MismatchError
from repsim.results.base import Result
from repsim.results.records import REQUIRED, Record


@dataclass(frozen=True, kw_only=True)
class ProbeEntry(Record):
    """One probe. Accuracies are fractions from 0 to 1.

    Attributes:
        network: name of the network that the features are of.
        layer: address of the layer.
        depth: position of the layer in order of execution, from 0.
        features: columns that the probe saw.
        solver: ``lbfgs``, ``knn`` or another, with its schedule as in ``sgd:mao2022``.
        component: ``full``, or ``row`` or ``null`` of a head.
        label_fraction: share of the training labels.
        labels: ``true``, or ``random`` for the control.
        seed: of the label fraction, the validation split, the initialisation and the permutation.
        n_train: training examples.
        accuracy: on the held-out examples.
        low: lower end of its 95 % interval.
        high: upper end.
        train_accuracy: on the training examples; None for nearest neighbours.
        l2: strength of the penalty; None where there is none.
        converged: the solver met its tolerance.
        per_class: held-out accuracy of each class; NaN for one without examples.
        history: held-out accuracy after each epoch of ``sgd`` or ``mlp``; empty for the others.
    """

    network: str
    layer: str
    depth: int
    features: int
    solver: str
    component: str = "full"
    label_fraction: float = 1.0
    labels: str = "true"
    seed: int = 0
    n_train: int
    accuracy: float
    low: float = math.nan
    high: float = math.nan
    train_accuracy: float | None = None
    l2: float | None = None
    converged: bool = True
    per_class: tuple[float, ...] = ()
    history: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProbePoint(Record):
    """The probes of one kind at one layer, over their seeds.

    Attributes:
        layer: address of the layer.
        depth: its position in order of execution, from 0.
        features: columns that the probes saw.
        seeds: number of probes.
        accuracy: mean over seeds.
        low: lower end of its 95 % interval over draws of the held-out examples.
        high: upper end.
        sd: standard deviation over seeds; NaN for one.
        train_accuracy: mean over seeds; None for nearest neighbours.
        l2: strength of the penalty of the first seed, or None.
        converged: all of them have.
    """

    layer: str
    depth: int
    features: int
    seeds: int
    accuracy: float
    low: float
    high: float
    sd: float
    train_accuracy: float | None
    l2: float | None
    converged: bool


@dataclass(frozen=True)
class ProbeSeries:
    """Probes of one kind on one network.

    Attributes:
        label: the network, and whatever else distinguishes it from the other series of its curve.
        network: its name.
        solver: of all points.
        component: ``full``, ``row`` or ``null``.
        label_fraction: share of the training labels.
        labels: ``true`` or ``random``.
        points: one for each layer, in order of depth.
    """

    label: str
    network: str
    solver: str
    component: str
    label_fraction: float
    labels: str
    points: list[ProbePoint]


#: Fields by which the series of a probe curve differ.
_KIND = ("network", "solver", "component", "label_fraction", "labels")


@dataclass(frozen=True, eq=False)
class ProbeCurve(Result):
    """Accuracy of probes at every layer of one or more networks.

    Attributes:
        entries: one for each probe.
        classes: number of classes; chance is 1 / classes for balanced ones.
        n_train: training examples before a label fraction is taken.
        n_test: held-out examples, on which ``accuracy`` is.
        solver: the names of the solvers, separated by commas.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = "probe-curve"

    entries: list[ProbeEntry]
    classes: int
    n_train: int
    n_test: int
    solver: str
    provenance: dict[str, Any] = field(default_factory=dict, metadata=REQUIRED)

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> ProbeCurve:
        # Entries of old files have neither, as there was one kind of probe in a curve.
        common = {key: content[key] for key in ("solver", "n_train")}
        entries = [{**common, **entry} for entry in content["entries"]]
        return super()._from_dict({**content, "entries": entries})

    @classmethod
    def join(cls, curves: Sequence[ProbeCurve]) -> ProbeCurve:
        """The curves of several networks as one result.

        Raises:
            MismatchError: they differ in numbers of examples, in classes or in solver, or two are
                of networks of one name.
        """
        first = curves[0]
        names = [name for curve in curves for name in curve.networks()]
        for name in names:
            if names.count(name) > 1:
                raise MismatchError(f"two networks are called {name!r}; rename one")
        for other in curves[1:]:
            if other._terms() != first._terms():
                raise MismatchError(
                    f"{first._in_words()}, {other._in_words()}; probe networks alike, on the same "
                    "examples"
                )
        return cls(
            entries=[entry for curve in curves for entry in curve.entries],
            classes=first.classes,
            n_train=first.n_train,
            n_test=first.n_test,
            solver=first.solver,
            provenance={name: c.provenance for c in curves for name in c.networks()},
        )

    def _terms(self) -> tuple[int, int, int, str]:
        return self.n_train, self.n_test, self.classes, self.solver

    def _in_words(self) -> str:
        return (
            f"{self.networks()[0]} was probed with {self.n_train} + {self.n_test} examples of "
            f"{self.classes} classes by {self.solver}"
        )

    def headline(self) -> str:
        names = self.networks()
        best = ", ".join(f"{name:.40}: {self._best(name)}" for name in names[:3])
        more = f" and {len(names) - 3} more networks" if len(names) > 3 else ""
        split = f"n = {self.n_train:,} + {self.n_test:,}, {self.classes} classes"
        return f"{len(self.entries)} probes, {split}; best {best}{more}"

    def _best(self, network: str) -> str:
        found = self.best(network)
        return f"{found.accuracy:.3f} at {found.layer:.40}"

    def preview(self) -> list[dict[str, Any]]:
        """The probes by layer, without the columns in which all are alike."""
        kept = ("network", "layer", "features", "solver", "accuracy", "low", "high")
        return [{key: getattr(entry, key) for key in kept} for entry in self.entries]

    def rows(self) -> list[dict[str, Any]]:
        """A row a probe, with a column for each class; without ``history``."""
        columns = [f.name for f in fields(ProbeEntry) if f.name not in ("per_class", "history")]
        return [
            {
                **{column: getattr(entry, column) for column in columns},
                **{f"class_{k}": value for k, value in enumerate(entry.per_class)},
            }
            for entry in self.entries
        ]

    def networks(self) -> list[str]:
        """Names of the networks, in order of appearance."""
        return list(dict.fromkeys(entry.network for entry in self.entries))

    def of(self, network: str) -> list[ProbeEntry]:
        """The entries of one network, in order of depth."""
        mine = [entry for entry in self.entries if entry.network == network]
        return sorted(mine, key=lambda entry: entry.depth)

    def best(self, network: str) -> ProbeEntry:
        """The entry of a network's most accurate layer."""
        return max(self.of(network), key=lambda entry: entry.accuracy)

    @property
    def unseen(self) -> int:
        """Held-out examples of classes that no training example has, which count as wrong."""
        records = [self.provenance, *self.provenance.values()]
        return max(int(each.get("unseen", 0)) for each in records if isinstance(each, Mapping))

    def series(self) -> list[ProbeSeries]:
        """The probes of the same kind on the same network, layer by layer, averaged over seeds."""
        found: dict[tuple[Any, ...], list[ProbeEntry]] = {}
        for entry in self.entries:
            found.setdefault(tuple(getattr(entry, key) for key in _KIND), []).append(entry)
        varied = [key for k, key in enumerate(_KIND) if len({kind[k] for kind in found}) > 1]
        return [
            ProbeSeries(
                label=_label(dict(zip(_KIND, kind, strict=True)), varied),
                points=self._points(entries),
                **dict(zip(_KIND, kind, strict=True)),
            )
            for kind, entries in found.items()
        ]

    def _points(self, entries: Sequence[ProbeEntry]) -> list[ProbePoint]:
        depth = attrgetter("depth")
        return [self._point([*same]) for _, same in groupby(sorted(entries, key=depth), depth)]

    def _point(self, entries: Sequence[ProbeEntry]) -> ProbePoint:
        """One layer, over its seeds."""
        first = entries[0]
        accuracies = [entry.accuracy for entry in entries]
        trained = [e.train_accuracy for e in entries if e.train_accuracy is not None]
        mean = float(np.mean(accuracies))
        low, high = wilson(mean, self.n_test)
        return ProbePoint(
            layer=first.layer,
            depth=first.depth,
            features=first.features,
            seeds=len(entries),
            accuracy=mean,
            low=low,
            high=high,
            sd=float(np.std(accuracies, ddof=1)) if len(entries) > 1 else math.nan,
            train_accuracy=float(np.mean(trained)) if len(trained) == len(entries) else None,
            l2=first.l2,
            converged=all(entry.converged for entry in entries),
        )


def _label(kind: Mapping[str, Any], varied: Sequence[str]) -> str:
    words = {
        "network": kind["network"],
        "solver": kind["solver"],
        "component": {"full": "all features"}.get(kind["component"], f"{kind['component']} space"),
        "label_fraction": f"{100 * kind['label_fraction']:g} % of labels",
        "labels": f"{kind['labels']} labels",
    }
    return ", ".join([kind["network"], *(words[key] for key in varied if key != "network")])
