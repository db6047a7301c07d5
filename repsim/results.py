"""Results: small frozen objects that save, load and tabulate without the networks they describe.

A result file is JSON (``format``, ``kind`` and the object's fields; NaN as null), so that it can be
read anywhere and redrawn years later. ``save`` writes a CSV of the numbers beside it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from repsim._version import __version__
from repsim.confidence import normal_quantile, t_quantile, wilson
from repsim.errors import MismatchError, StoreError, UsageError, choices
from repsim.files import refuse_existing, table, write_atomic

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "repsim-result"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Result:
    """What all results share: ``save``, ``load``, ``rows``, ``to_dataframe``."""

    kind: ClassVar[str] = ""

    def rows(self) -> list[dict[str, Any]]:
        """The numbers as records, one a line of the CSV."""
        raise NotImplementedError

    def to_dataframe(self) -> pd.DataFrame:
        """``rows`` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def to_dict(self) -> dict[str, Any]:
        """The whole result as JSON values; NaN and infinity become None."""
        content = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "repsim": __version__,
            **content,
        }

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write ``path`` (JSON) and the same name with ``.csv``; both paths are returned.

        Raises:
            UsageError: a file exists and ``overwrite`` is False, or ``path`` ends in .csv.
        """
        target = result_file(path)
        sheet = target.with_suffix(".csv")
        for file in (target, sheet):
            refuse_existing(file, overwrite)
        write_atomic(sheet, table(self.rows()))
        write_atomic(target, json.dumps(self.to_dict(), indent=1) + "\n")
        return [target, sheet]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a result file. On a subclass, of that kind only.

        Raises:
            StoreError: the file is absent, cut short, or not such a result.
        """
        content = _read(Path(path))
        from repsim.figure_data import FigureData  # itself a Result

        known = (SimilarityMap, ProbeCurve, NullSpaceReport, FigureData)
        kinds: dict[str, type[Result]] = {kind.kind: kind for kind in known}
        kind = kinds.get(str(content.get("kind")))
        if kind is None:
            raise StoreError(f"{path}: unknown kind of result {content.get('kind')!r}")
        if not issubclass(kind, cls):
            raise StoreError(f"{path} holds a {kind.kind}; expected a {cls.kind}")
        try:
            result = kind._from_dict(content)
            for f in fields(kind):
                _check_type(f.name, f.type, getattr(result, f.name))
            result.rows()
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{path}: not a whole {kind.kind} ({error!r})") from error
        return result

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> Any:
        values = {f.name: content[f.name] for f in fields(cls)}
        for f in fields(cls):
            if f.type == "float" and values[f.name] is None:
                values[f.name] = math.nan
        return cls(**values)


@dataclass(frozen=True, eq=False)
class SimilarityMap(Result):
    """CKA of every layer of a against every layer of b.

    Attributes:
        layers_a: addresses of the rows, in order of execution.
        layers_b: addresses of the columns.
        unbiased: (layers_a, layers_b) float64, from the unbiased HSIC; NaN where undefined.
        biased: the same from the biased HSIC, or None where only batches were seen.
        n: number of examples.
        name_a: what the rows belong to.
        name_b: what the columns belong to.
        kernel: ``"linear"`` or ``"rbf:FRACTION"``.
        notes: ``NAME:LAYER`` to the reason for a NaN, or a word to a warning.
        provenance: where the numbers come from.
        stderr: standard error of ``unbiased`` over draws of the examples, or of an average over
            the maps it is of; or None.
        p_value: how often permuted examples give at least the unbiased value, or None.
        p_value_max: the same corrected for having looked at all pairs, or None.
        maps: how many maps it is the average of; 1 for a map as it was measured.
    """

    kind: ClassVar[str] = "similarity-map"

    #: Fields of shape (layers_a, layers_b).
    TABLES: ClassVar[tuple[str, ...]] = ("unbiased", "biased", "stderr", "p_value", "p_value_max")

    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    unbiased: np.ndarray
    biased: np.ndarray | None
    n: int
    name_a: str
    name_b: str
    kernel: str
    notes: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    stderr: np.ndarray | None = None
    p_value: np.ndarray | None = None
    p_value_max: np.ndarray | None = None
    maps: int = 1

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> SimilarityMap:
        shape = (len(content["layers_a"]), len(content["layers_b"]))
        values: dict[str, Any] = {f.name: content[f.name] for f in fields(cls) if f.name in content}
        for key in ("layers_a", "layers_b"):
            values[key] = tuple(content[key])
        for key in cls.TABLES:
            if values.get(key) is not None:
                values[key] = np.array(values[key], dtype=np.float64).reshape(shape)  # None: NaN
        return cls(**values)

    @classmethod
    def average(cls, maps: Sequence[SimilarityMap], name_a: str, name_b: str) -> SimilarityMap:
        """The mean of maps of the same layers, as over seeds.

        ``stderr`` is the standard deviation over the maps divided by the root of their number; one
        map alone leaves None. A value that is NaN in one map is NaN in the mean. ``biased`` is
        there where all maps have it.

        Args:
            maps: at least one; all of the same layers, kernel, number of examples and pooling.
            name_a: what the rows belong to, whatever the seed.
            name_b: what the columns belong to.

        Raises:
            UsageError: no map.
            MismatchError: the maps differ in what must be the same.
        """
        if not maps:
            raise UsageError("no map arrived; expected at least one")
        first, count = maps[0], len(maps)
        for other in maps[1:]:
            for what in ("layers_a", "layers_b", "n", "kernel", "pooled"):
                one, two = getattr(first, what), getattr(other, what)
                if one != two:
                    raise MismatchError(
                        f"maps to average differ in {what}: {one!r:.60} and {two!r:.60}; "
                        "compare the same layers on the same examples for every seed"
                    )
        unbiased = np.stack([each.unbiased for each in maps])
        biased = [each.biased for each in maps if each.biased is not None]
        return cls(
            layers_a=first.layers_a,
            layers_b=first.layers_b,
            unbiased=unbiased.mean(0),
            biased=np.mean(biased, axis=0) if len(biased) == count else None,
            n=first.n,
            name_a=name_a,
            name_b=name_b,
            kernel=first.kernel,
            notes={key: note for each in maps for key, note in each.notes.items()},
            provenance={"average_of": [each.provenance for each in maps]},
            stderr=unbiased.std(0, ddof=1) / math.sqrt(count) if count > 1 else None,
            maps=count,
        )

    def values(self, estimator: str = "unbiased") -> np.ndarray:
        """The (layers_a, layers_b) values of one estimator.

        Raises:
            UsageError: an estimator that there is not, or that this map does not hold.
        """
        if estimator not in ("unbiased", "biased"):
            raise UsageError(
                f"unknown estimator {estimator!r}; {choices(estimator, ['unbiased', 'biased'])}"
            )
        found = getattr(self, estimator)
        if found is None:
            raise UsageError("a map from minibatches has no biased values; use the unbiased")
        return found

    @property
    def comparison(self) -> str:
        """What the columns are: layers of a network on the same images (``networks``), or of a on
        other augmented copies of them (``views``), or the labels of the images (``classes``).
        """
        return self.provenance.get("comparison", "networks")

    @property
    def pooled(self) -> str:
        """What to add to a title where layers were reduced before they were compared."""
        parts = self.provenance.get("average_of") or [self.provenance]  # all alike
        pooling = parts[0].get("a", {}).get("pooling", "none")
        if pooling == "none":
            return ""
        return ", averaged maps" if pooling == "avg" else f", pooling {pooling}"

    @property
    def augmented(self) -> str:
        """What to add to a title where the images were augmented."""
        augmentation = self.provenance.get("augmentation")
        return f", {augmentation} augmentation" if augmentation else ""

    def best_match(self, estimator: str = "unbiased") -> tuple[int | None, ...]:
        """For each layer of a, the index of the most similar layer of b; None if all are NaN."""
        return best_match(self.values(estimator))

    def diagonal(self, estimator: str = "unbiased") -> np.ndarray | None:
        """Values of corresponding layers; None unless both sides have the same layers."""
        return self.values(estimator).diagonal() if self.layers_a == self.layers_b else None

    def select(self, layers_a: tuple[str, ...], layers_b: tuple[str, ...]) -> SimilarityMap:
        """The part of the map at some layers."""
        at = np.ix_(
            [self.layers_a.index(layer) for layer in layers_a],
            [self.layers_b.index(layer) for layer in layers_b],
        )
        parts = {key: None if table is None else table[at] for key, table in self._tables().items()}
        return replace(self, layers_a=layers_a, layers_b=layers_b, **cast(dict[str, Any], parts))

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of a confidence interval of every unbiased value, (a, b) each.

        Fisher's transform: tanh(artanh v ± z s / (1 - v²)), with s the standard error, so that
        no interval leaves [-1, 1]. A layer against itself has an interval of no width. z is the
        normal quantile, for an average of k maps that of Student's t with k - 1 degrees of freedom.

        Args:
            level: how often such intervals cover, between 0 and 1.

        Raises:
            UsageError: a map without standard errors, or a level that cannot be.
        """
        if self.stderr is None:
            raise UsageError("this map has no standard errors; compute it with stderr=True")
        if not 0 < level < 1:
            raise UsageError(f"level is {level}; expected between 0 and 1, such as 0.95")
        z = t_quantile(level, self.maps - 1) if self.maps > 1 else normal_quantile(level)
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = np.arctanh(self.unbiased)
            reach = z * self.stderr / (1 - self.unbiased**2)
            low, high = np.tanh(centre - reach), np.tanh(centre + reach)
        certain = np.abs(self.unbiased) > 1 - 1e-9  # a layer and itself, or a rotation of it
        return (
            np.where(certain, self.unbiased, low),
            np.where(certain, self.unbiased, high),
        )

    def _tables(self) -> dict[str, np.ndarray | None]:
        return {key: getattr(self, key) for key in self.TABLES}

    def rows(self) -> list[dict[str, Any]]:
        tables = {key: table for key, table in self._tables().items() if table is not None}
        if self.stderr is not None:
            tables["low"], tables["high"] = self.interval()
        return [
            {
                "layer_a": layer_a,
                "layer_b": layer_b,
                **{key: float(table[i, j]) for key, table in tables.items()},
            }
            for i, layer_a in enumerate(self.layers_a)
            for j, layer_b in enumerate(self.layers_b)
        ]


def best_match(values: np.ndarray) -> tuple[int | None, ...]:
    """For each row of (a, b) values the column of the largest; None if all are NaN."""
    return tuple(None if np.isnan(row).all() else int(np.nanargmax(row)) for row in values)


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested values as lines: the dotted key, and the value as text."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += [(f"{key}.{inner}", text) for inner, text in facts(value)]
        else:
            found.append((str(key), f"{value:g}" if isinstance(value, float) else str(value)))
    return found


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
            {**entry, "per_class": [_or_nan(value) for value in entry["per_class"]]}
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


#: What is a number in an entry or a claim of a report.
_NUMBERS = (
    *("value", "low", "high", "chance", "chance_low", "chance_high", "against"),
    *("control", "control_low", "control_high"),
)


@dataclass(frozen=True, eq=False)
class NullSpaceReport(Result):
    """What a linear head y = A f + b can and cannot see of its features f.

    f = f_r + f_n with f_r = P f, P = A⁺A the projector onto the row space of A, and f_n in its
    null space, which no output of the head depends on (Mao et al., Propositions 4 and 5).

    Attributes:
        name: what the features belong to.
        n: number of examples.
        dim: columns of the features, d.
        rank: numerical rank r of A.
        tolerance: singular values of A at most this count as zero.
        singular_values: of A, in falling order.
        residual: largest |A f_n| relative to |A||f|; rounding alone.
        entries: a record a number: ``quantity``, ``part`` (of the space), ``group`` (of the
            examples), ``layer`` (where it is of another layer than the head), ``value``, ``low``
            and ``high`` (its 95 % interval), ``chance``, ``chance_low`` and ``chance_high``
            (median, 5th and 95th percentile over random subspaces of the same rank), ``note`` (why
            one is missing), and where there is an untrained network to compare with ``control``,
            ``control_low`` and ``control_high``.
        claims: a record a claim: ``claim``, ``quantity``, ``part``, ``group``, ``statement``,
            ``value``, ``low``, ``high``, ``side`` (``below`` or ``above``), ``against``, and
            ``verdict``: supported, not supported or undecided.
        examples: for figures, columns of some of the examples: ``group`` (``real`` or
            ``generated``), ``label``, ``null_share`` (of |f|²), and ``logit`` of a head with one or
            ``lambda`` of a head with several.
        alpha: α = p_g / p_r after each epoch of training, where it was recorded: ``epoch``,
            ``alpha_real``, ``alpha_real_cv``, ``alpha_fake``, ``alpha_fake_cv``.
        provenance: where the numbers come from.
    """

    kind: ClassVar[str] = "null-space-report"

    #: What a summary has: what to call it, quantity, part and group.
    SUMMARY: ClassVar[tuple[tuple[str, str, str, str], ...]] = (
        ("energy in the null space", "energy", "null", "all"),
        ("the same, centred", "energy_centred", "null", "all"),
        ("|std| / |mean| of the row part", "constancy", "row", "all"),
        ("within / between scatter, row part", "scatter_ratio", "row", "all"),
        ("within / between scatter, null part", "scatter_ratio", "null", "all"),
        ("scatter along the all-ones direction", "ones_share", "row", "all"),
        ("coefficient of variation of α", "alpha_cv", "row", "all"),
        ("real-generated gap in the row space", "gap", "row", "all"),
        ("probe on all features", "probe", "full", "clean"),
        ("probe on the row part", "probe", "row", "clean"),
        ("probe on the null part", "probe", "null", "clean"),
    )

    name: str
    n: int
    dim: int
    rank: int
    tolerance: float
    singular_values: list[float]
    residual: float
    entries: list[dict[str, Any]]
    claims: list[dict[str, Any]] = field(default_factory=list)
    examples: dict[str, list[Any]] = field(default_factory=dict)
    alpha: list[dict[str, float]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> NullSpaceReport:
        report = super()._from_dict(content)
        for f in fields(cls):  # before anything is made of them
            _check_type(f.name, f.type, getattr(report, f.name))
        return replace(
            report,
            entries=[_with_nan(entry, _NUMBERS) for entry in report.entries],
            claims=[_with_nan(claim, _NUMBERS) for claim in report.claims],
            alpha=[_with_nan(row, row) for row in report.alpha],
            examples={
                key: values if key in ("group", "label") else [_or_nan(value) for value in values]
                for key, values in report.examples.items()
            },
        )

    @property
    def chance(self) -> float:
        """r / d, the share of energy that isotropic features would have in the row space."""
        return self.rank / self.dim

    @property
    def probes(self) -> dict[str, float]:
        """Accuracy of a linear probe on each part of clean features, where there were labels."""
        return {
            entry["part"]: entry["value"]
            for entry in self.entries
            if (entry["quantity"], entry["group"]) == ("probe", "clean")
        }

    def find(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> dict[str, Any] | None:
        """The entry of a quantity, part and group (and layer), or None."""
        for entry in self.entries:
            keys = (entry["quantity"], entry["part"], entry["group"], entry.get("layer"))
            if keys == (quantity, part, group, layer):
                return entry
        return None

    def value(
        self, quantity: str, part: str, group: str = "all", layer: str | None = None
    ) -> float:
        """The value of that entry; NaN if there is none, as of a part that is empty."""
        entry = self.find(quantity, part, group, layer)
        return math.nan if entry is None else entry["value"]

    def summary(self) -> list[tuple[str, dict[str, Any]]]:
        """The numbers that say most, of those there are: what to call each, and its entry."""
        found = ((name, self.find(*key)) for name, *key in self.SUMMARY)
        return [(name, entry) for name, entry in found if entry is not None]

    def __str__(self) -> str:
        """The summary as a table in plain text."""
        title = f"{self.name}: n = {self.n:,}, rank {self.rank} of {self.dim}"
        lines = [f"{title:40} {'value':>9}  {'95 % interval':^20} {'chance':>9} {'untrained':>9}"]
        for name, entry in self.summary():
            value, low, high, chance, control = (
                math.nan if entry.get(key) is None else entry[key]
                for key in ("value", "low", "high", "chance", "control")
            )
            ends = f"{low:.4g} to {high:.4g}"
            lines.append(f"{name:40} {value:9.4g}  {ends:^20} {chance:9.4g} {control:9.4g}")
        return "\n".join(lines)

    def rows(self) -> list[dict[str, Any]]:
        """A row a number."""
        keys = (
            *("quantity", "part", "group", "layer", "value", "low", "high"),
            *("chance", "chance_low", "chance_high", "control", "control_low", "control_high"),
            "note",
        )
        return [
            {"network": self.name, **{key: entry.get(key) for key in keys}}
            for entry in self.entries
        ]


def _or_nan(value: Any) -> Any:
    """NaN for what a file holds as null."""
    return math.nan if value is None else value


def _with_nan(record: Mapping[str, Any], numbers: Iterable[str]) -> dict[str, Any]:
    """A record with NaN where the file has null for a number."""
    known = set(numbers)
    return {key: _or_nan(value) if key in known else value for key, value in record.items()}


def _terms(curve: ProbeCurve) -> str:
    return (
        f"{curve.networks()[0]} was probed with {curve.n_train} + {curve.n_test} examples of "
        f"{curve.classes} classes by {curve.solver}"
    )


def result_file(path: str | os.PathLike[str]) -> Path:
    """``path`` with the suffix .json of a result; its table has the same name with .csv.

    Raises:
        UsageError: ``path`` names no file, or a table.
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise UsageError(f"{os.fspath(path)!r} names no file; give the result a .json name")
    if target.suffix == ".csv":
        raise UsageError(f"{target} is the name of the table; give the result a .json name")
    return target if target.suffix == ".json" else target.with_name(f"{target.name}.json")


def _check_type(name: str, annotation: Any, value: Any) -> None:
    """Raise ``TypeError`` where a field of a result file is of another kind than it should be."""
    kinds: dict[str, Any] = {
        "int": int,
        "str": str,
        "float": (int, float),
        "dict": dict,
        "list": list,
        "tuple": tuple,
        "np.ndarray": np.ndarray,
    }
    expected = kinds[str(annotation).split("[")[0].split(" ")[0]]
    optional = "None" in str(annotation)
    if not isinstance(value, expected) and not (optional and value is None):
        raise TypeError(f"{name} is {value!r:.40}")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"there is no result {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is not a repsim result, or cut short ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StoreError(f"{path} is not a repsim result")
    version = content.get("format_version", 0)
    if not isinstance(version, int):
        raise StoreError(f"{path} is damaged: its format version is {version!r}")
    if version > FORMAT_VERSION:
        raise StoreError(
            f"{path} has format version {version}; this repsim reads up to "
            f"{FORMAT_VERSION}; a newer repsim will read it"
        )
    return content


def _plain(value: Any) -> Any:
    """JSON values of arrays, tuples and numbers."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
