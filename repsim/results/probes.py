"""Accuracy of probes, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from repsim.confidence import wilson
from repsim.errors import MismatchError
from repsim.results.base import Result, or_nan

#: What an entry of a probe curve means where it does not say: there was one probe at each layer.
_PLAIN = {"component": "full", "label_fraction": 1.0, "labels": "true", "seed": 0}


@dataclass(frozen=True, eq=False)
class ProbeCurve(Result):
    """Accuracy of probes at every layer of one or more networks.

    Attributes:
        entries: a record a probe with ``network``, ``layer``, ``depth`` (position in order of
            execution), ``features`` (columns the probe saw), ``solver``, ``component`` (``full``,
            or ``row`` or ``null`` of a head), ``label_fraction``, ``labels`` (``true``, or
            ``random`` for the control), ``seed``, ``n_train``, ``accuracy`` with ``low`` and
            ``high`` (its 95 % interval), ``train_accuracy`` (or None), ``l2`` (or None),
            ``converged``, ``per_class``, accuracies of each class, and ``history``, the held-out
            accuracy after each epoch of ``sgd`` or ``mlp``. Accuracies are fractions.
        classes: number of classes; chance is 1 / classes for balanced ones.
        n_train: training examples before a label fraction is taken.
        n_test: held-out examples, on which ``accuracy`` is.
        solver: the names of the solvers, separated by commas.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = "probe-curve"

    entries: list[dict[str, Any]]
    classes: int
    n_train: int
    n_test: int
    solver: str
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> ProbeCurve:
        curve = super()._from_dict(content)
        entries = [
            {**entry, "per_class": [or_nan(value) for value in entry["per_class"]]}
            if "per_class" in entry
            else entry
            for entry in curve.entries
        ]
        return replace(curve, entries=entries)

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
            same = (first.n_train, first.n_test, first.classes, first.solver)
            if (other.n_train, other.n_test, other.classes, other.solver) != same:
                raise MismatchError(
                    f"{_terms(first)}, {_terms(other)}; probe networks alike, on the same examples"
                )
        return cls(
            entries=[entry for curve in curves for entry in curve.entries],
            classes=first.classes,
            n_train=first.n_train,
            n_test=first.n_test,
            solver=first.solver,
            provenance={name: c.provenance for c in curves for name in c.networks()},
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row a probe, with a column for each class; without ``history``."""
        lists = ("per_class", "history")
        return [
            {
                **{key: value for key, value in entry.items() if key not in lists},
                **{f"class_{k}": value for k, value in enumerate(entry.get("per_class", ()))},
            }
            for entry in self.entries
        ]

    def networks(self) -> list[str]:
        """Names of the networks, in order of appearance."""
        return list(dict.fromkeys(entry["network"] for entry in self.entries))

    def of(self, network: str) -> list[dict[str, Any]]:
        """The entries of one network, in order of depth."""
        mine = [entry for entry in self.entries if entry["network"] == network]
        return sorted(mine, key=lambda entry: entry["depth"])

    def best(self, network: str) -> dict[str, Any]:
        """The entry of a network's most accurate layer."""
        return max(self.of(network), key=lambda entry: entry["accuracy"])

    def series(self) -> list[ProbeSeries]:
        """The probes of the same kind on the same network, layer by layer, averaged over seeds."""
        found: dict[tuple, dict[int, list[dict[str, Any]]]] = {}
        for entry in self.entries:
            kind = tuple(entry.get(key, _PLAIN.get(key, self.solver)) for key in _KIND)
            found.setdefault(kind, {}).setdefault(entry["depth"], []).append(entry)
        varied = [key for k, key in enumerate(_KIND) if len({kind[k] for kind in found}) > 1]
        return [
            ProbeSeries(
                label=_label(dict(zip(_KIND, kind, strict=True)), varied),
                points=[self._point(by_depth[depth]) for depth in sorted(by_depth)],
                **dict(zip(_KIND, kind, strict=True)),
            )
            for kind, by_depth in found.items()
        ]

    def _point(self, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One layer, over its seeds."""
        accuracies = [entry["accuracy"] for entry in entries]
        mean = float(np.mean(accuracies))
        trained: list[Any] = [entry.get("train_accuracy") for entry in entries]
        low, high = wilson(mean, self.n_test)
        return {
            **{key: entries[0].get(key) for key in ("layer", "depth", "features")},
            "seeds": len(entries),
            "accuracy": mean,
            "low": low,
            "high": high,
            "sd": float(np.std(accuracies, ddof=1)) if len(entries) > 1 else math.nan,
            "train_accuracy": None if None in trained else float(np.mean(trained)),
            "l2": entries[0].get("l2"),
            "converged": all(entry.get("converged", True) for entry in entries),
        }


#: What tells the series of a probe curve apart.
_KIND = ("network", "solver", "component", "label_fraction", "labels")


@dataclass(frozen=True)
class ProbeSeries:
    """Probes of one kind on one network.

    Attributes:
        label: the network, and what else tells it from the other series of its curve.
        network: its name.
        solver: of all points.
        component: ``full``, ``row`` or ``null``.
        label_fraction: share of the training labels.
        labels: ``true`` or ``random``.
        points: a record a layer: ``layer``, ``depth``, ``features``, ``seeds``, ``accuracy`` (mean
            over seeds), ``low`` and ``high`` (its 95 % interval over draws of the held-out
            examples), ``sd`` (standard deviation over seeds; NaN for one), ``train_accuracy``,
            ``l2`` (of the first seed) and ``converged`` (all of them).
    """

    label: str
    network: str
    solver: str
    component: str
    label_fraction: float
    labels: str
    points: list[dict[str, Any]]


def _label(kind: Mapping[str, Any], varied: Sequence[str]) -> str:
    words = {
        "network": kind["network"],
        "solver": kind["solver"],
        "component": {"full": "all features"}.get(kind["component"], f"{kind['component']} space"),
        "label_fraction": f"{100 * kind['label_fraction']:g} % of labels",
        "labels": f"{kind['labels']} labels",
    }
    return ", ".join([kind["network"], *(words[key] for key in varied if key != "network")])


def _terms(curve: ProbeCurve) -> str:
    return (
        f"{curve.networks()[0]} was probed with {curve.n_train} + {curve.n_test} examples of "
        f"{curve.classes} classes by {curve.solver}"
    )
